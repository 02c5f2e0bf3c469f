"""A host that only opens a serial port loads no gateware."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap

PROGRAM = """
    import sys

    def gateware():
        return sorted(
            name for name in sys.modules if name.split(".")[0] == "amaranth"
            or name == "mgd.rtl" or name.startswith("mgd.rtl.")
        )

    import mgd.host.session.board
    import mgd.host.link.ports
    assert gateware() == [], gateware()

    from mgd.host.link.transport import SerialTransport
    SerialTransport(sys.argv[1]).close()
    assert gateware() == [], gateware()

    from mgd import Task
    from mgd.api.backends import for_core, sample_words
    for options in ({}, {"core": "spatial"}):
        task = for_core(Task.load("xor").with_overrides(**options))
        task.core_layout(), sample_words(task)
    assert gateware() == [], gateware()
    print("done")
"""


def test_opening_a_port_loads_no_gateware():
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), os.ttyname(theirs)],
            capture_output=True,
            text=True,
            timeout=300,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
