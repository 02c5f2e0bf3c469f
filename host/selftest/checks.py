"""The checks of `mgd selftest`, one per part of a board.

Overwrites the board's weights and samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mgd.golden_model.errors import UserError
from mgd.host.link.board_link import Link
from mgd.host.link.transport import PortError, Transport
from mgd.host.selftest.check import Check
from mgd.host.selftest.link_speed import check_link, damaged_frames
from mgd.host.selftest.memory_check import check_samples, check_weights
from mgd.host.selftest.training_check import TestRun
from mgd.host.session.board import BoardSession
from mgd.host.task.names import builtin_names
from mgd.host.task.task import Task
from mgd.protocol.identity import VERSION, Identity


def self_test(transport: Transport, task: Task | None, backend: str) -> Iterator[Check]:
    """Check the board behind `transport`; yields each result when it is there.

    task: the task that the board was built for; None tries the built-in tasks.  backend: the name
    in messages.  A board of another network, one that does not answer and a port that is gone
    end it early.  Closes the transport.
    """
    identity = None
    try:
        identity = Link(transport).identify()
        found = task or _builtin_task(identity)
        session = BoardSession(transport, found.spec.network, backend)
        before = damaged_frames(session)
    except UserError as error:
        transport.close()
        others = [other.name for other in tasks_of(identity)] if identity and task else []
        remedy = f"the board was built for {' or '.join(others)}" if others else ""
        yield Check("identity", False, str(error), remedy)
        return
    with session:
        yield check_identity(session, found)
        run = TestRun(session, found)
        checks: tuple[tuple[str, Callable[[], Check]], ...] = (
            ("weights", lambda: check_weights(session)),
            ("samples", lambda: check_samples(session)),
            ("training", run.check_weights),
            ("counters", run.check_counters),
            ("link", lambda: check_link(session, before)),
        )
        for name, check in checks:
            try:
                yield check()
            except PortError as error:
                yield Check(name, False, str(error))
                return
            except UserError as error:
                yield Check(name, False, str(error))


def tasks_of(identity: Identity) -> list[Task]:
    """The built-in tasks whose network a board holds.

    A record of identity does not hold all of a network, but its digest.
    """
    tasks = (Task.load(name) for name in builtin_names())
    return [t for t in tasks if int(t.spec.network.digest()[:16], 16) == identity.digest]


def _builtin_task(identity: Identity) -> Task:
    for task in tasks_of(identity):
        return task
    raise UserError(
        f"the board's network, {describe(identity)}, is that of no built-in task: name the task "
        "that it was built for, mgd selftest TASK_OR_TOML"
    )


def describe(identity: Identity) -> str:
    """The network of an identity record in a few words."""
    layers = "-".join(map(str, identity.layers))
    kinds = f"{layers}, {identity.hidden}, {identity.output}, {identity.cost}"
    return f"{kinds}, {identity.weight_bits}-bit weights"


def check_identity(session: BoardSession, task: Task) -> Check:
    """Network, lanes, clock and protocol version; the sizes must be those of the network."""
    identity, expected = session.identity, session.layout.lane_words
    measured = {
        "network_of": task.name,
        "digest": f"{identity.digest:016x}",
        "layers": list(identity.layers),
        "lanes": identity.lanes,
        "sample_memory": identity.sample_memory,
        "clock_hz": identity.clock_hz,
        "protocol_version": VERSION,
    }
    detail = (
        f"network of {task.name}: {describe(identity)}; {identity.lanes} lanes, "
        f"{identity.sample_memory:,} sample words, {identity.clock_hz / 1e6:g} MHz, "
        f"protocol {VERSION}, digest {identity.digest:016x}"
    )
    wrong = []
    if identity.lane_words != expected:
        wrong.append(f"{identity.lane_words} words a lane, the network needs {expected}")
    if identity.sample_memory < 2 * session.layout.record_stride:
        wrong.append("a sample memory that holds no two samples")
    if wrong:
        detail = f"{detail}; it says {' and '.join(wrong)}"
        return Check("identity", False, detail, "build and flash the design again", measured)
    return Check("identity", True, detail, measured=measured)
