"""host.link.transport on pseudo-terminals."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import time
import tty

import pytest

from mgd.golden_model.errors import UserError
from mgd.host.link import transport as module
from mgd.host.link.board_link import Link
from mgd.host.link.transport import PortError, RateError, SerialTransport
from tests.support.paths import ROOT


@pytest.fixture
def terminal():
    """Our end of a pseudo-terminal and the name of the other."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    yield ours, os.ttyname(theirs)
    for handle in (ours, theirs):
        try:
            os.close(handle)
        except OSError:
            pass


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def receive(transport: SerialTransport, count: int) -> bytes:
    """At least `count` bytes: a read may return fewer than were sent."""
    got = b""
    while len(got) < count:
        part = transport.read(5)
        assert part, f"only {got!r} arrived"
        got += part
    return got


def test_bytes_go_both_ways(terminal):
    ours, name = terminal
    transport = SerialTransport(name)
    assert transport.name == name
    data = bytes(range(256))
    transport.write(data)
    got = b""
    while len(got) < 256:
        got += os.read(ours, 256)
    assert got == data
    os.write(ours, data)
    assert receive(transport, 256) == data
    transport.close()
    transport.close()


def test_nothing_in_time_is_empty(terminal):
    _, name = terminal
    assert SerialTransport(name).read(0.01) == b""


def test_discard(terminal):
    ours, name = terminal
    transport = SerialTransport(name)
    os.write(ours, b"old")
    assert receive(transport, 3) == b"old"
    os.write(ours, b"older")
    # The kernel hands bytes over in its own time; only what has arrived can be discarded.
    for _ in range(1000):
        if transport._serial.in_waiting == 5:
            break
        time.sleep(0.005)
    transport.discard()
    os.write(ours, b"new")
    assert receive(transport, 3) == b"new"


def test_missing_port():
    with pytest.raises(UserError, match="port /dev/ttyNONE9 does not exist: plug") as error:
        SerialTransport("/dev/ttyNONE9")
    one_line(error)


def test_no_serial_port(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(UserError, match="file is no serial port") as error:
        SerialTransport(str(path))
    one_line(error)


def test_busy_port(terminal):
    _, name = terminal
    first = SerialTransport(name)
    with pytest.raises(UserError, match=f"port {name} is in use by another program") as error:
        SerialTransport(name)
    one_line(error)
    first.close()
    SerialTransport(name).close()


def test_port_used_by_another_process(terminal):
    _, name = terminal
    program = (
        "import sys; from mgd.host.link.transport import SerialTransport;"
        f"port = SerialTransport({name!r}); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(UserError, match="in use"):
            SerialTransport(name)
        other.stdin.close()
        other.wait(10)
    SerialTransport(name).close()


def test_forbidden_port(monkeypatch):
    # Permissions do not bind root, as which tests may run.
    def refuse(*_args, **_keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("serial.serialposix.os.open", refuse)
    with pytest.raises(UserError, match=re.escape('usermod -a -G dialout "$USER"')) as error:
        SerialTransport("/dev/ttyUSB0")
    assert "`mgd flash --udev`" in one_line(error)


def test_vanished_port(terminal):
    ours, name = terminal
    transport = SerialTransport(name)
    os.close(ours)
    with pytest.raises(UserError, match=f"port {name} is gone") as error:
        transport.read(1)
    one_line(error)
    with pytest.raises(UserError, match=f"port {name} is gone"):
        transport.write(b"x")
    transport.close()


def test_low_latency_is_asked_for(terminal, monkeypatch):
    _, name = terminal
    assert not SerialTransport(name).low_latency  # a pseudo-terminal has no such thing
    asked = []
    monkeypatch.setattr(
        "serial.Serial.set_low_latency_mode", lambda _port, wanted: asked.append(wanted)
    )
    assert SerialTransport(name).low_latency
    assert asked == [True]


def test_a_system_without_low_latency(terminal, monkeypatch):
    _, name = terminal
    monkeypatch.delattr("serial.serialposix.PlatformSpecific.set_low_latency_mode")
    assert not SerialTransport(name).low_latency


def test_latency_timer(terminal, monkeypatch, tmp_path):
    _, name = terminal
    monkeypatch.setattr(module, "USB_SERIAL_DEVICES", tmp_path)
    transport = SerialTransport(name)
    assert transport.latency_ms() is None
    device = tmp_path / os.path.basename(name)
    device.mkdir()
    (device / "latency_timer").write_text("16\n")
    assert transport.latency_ms() == 16
    # By a link such as those in /dev/serial/by-id.
    link = tmp_path / "by-id"
    link.symlink_to(name)
    transport.close()
    assert SerialTransport(str(link)).latency_ms() == 16


def test_change_baud(terminal):
    _, name = terminal
    transport = SerialTransport(name, 3_000_000)
    with open(name, "rb", buffering=0) as other:
        assert termios.tcgetattr(other)[5] == termios.B3000000
        transport.change_baud(115_200)
        assert termios.tcgetattr(other)[5] == termios.B115200
    assert transport.baud == 115_200
    assert "115200 baud" in transport.hint()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (termios.error(5, "Input/output error"), PortError, "is gone: check the cable"),
        (termios.error(22, "Invalid argument"), RateError, "cannot be used at 9000000 baud"),
        (ValueError("Failed to set custom baud rate"), RateError, "use a lower rate"),
    ],
)
def test_port_that_cannot_be_set_up(terminal, monkeypatch, error, kind, message):
    _, name = terminal

    def fail(*_args, **_keywords):
        raise error

    transport = SerialTransport(name, 1_000_000)
    monkeypatch.setattr("serial.serialposix.Serial._reconfigure_port", fail)
    with pytest.raises(kind, match=message) as caught:
        transport.change_baud(9_000_000)
    one_line(caught)
    assert transport.baud == 1_000_000
    transport.close()
    with pytest.raises(kind, match=message):
        SerialTransport(name, 9_000_000)


def test_port_that_vanishes_while_it_is_opened(terminal, monkeypatch):
    _, name = terminal

    def gone(_self):
        raise termios.error(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("serial.Serial.reset_input_buffer", gone)
        with pytest.raises(PortError, match=f"port {name} is gone"):
            SerialTransport(name)
    SerialTransport(name).close()  # it was closed, else it were in use


def test_other_errors_are_not_hidden(terminal, monkeypatch):
    _, name = terminal

    def broken(*_args, **_keywords):
        raise ZeroDivisionError

    monkeypatch.setattr("serial.Serial", broken)
    with pytest.raises(ZeroDivisionError):
        SerialTransport(name)


def test_a_port_that_nobody_answers_on(terminal):
    _, name = terminal
    link = Link(SerialTransport(name, 1_000_000), timeout_s=0.02, attempts=2)
    with pytest.raises(UserError, match=f"no answer from the board on {name} to 2 .*") as error:
        link.identify()
    assert "1000000 baud" in one_line(error)
    link.close()
