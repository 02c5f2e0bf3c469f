"""Bytes to and from a board."""

from __future__ import annotations

import errno
import os
import time
from abc import ABC, abstractmethod
from pathlib import Path

import serial

from mgd.golden_model.errors import UserError

BAUD = 3_000_000
"""The rate of designs whose board's UART is not slower."""
POLL_S = 0.02
"""pySerial changes its time-out by a system call, so the time-out is fixed and read() loops."""
WRITE_TIMEOUT_S = 10.0
USB_SERIAL_DEVICES = Path("/sys/bus/usb-serial/devices")


class PortError(UserError):
    """The port itself cannot be used, whatever is behind it."""


class RateError(PortError):
    """The port cannot do this baud rate; a lower one may work."""


class Transport(ABC):
    """A connection that carries bytes both ways, may lose some, and never reorders them."""

    name: str
    """Its name in messages: the port's name."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send all of `data`.  Raises PortError where the connection is gone."""

    @abstractmethod
    def read(self, timeout_s: float) -> bytes:
        """The bytes that have arrived, at least one; empty where none came in `timeout_s` seconds.

        Raises PortError where the connection is gone.
        """

    @abstractmethod
    def discard(self) -> None:
        """Discard bytes that have arrived and were not read."""

    @abstractmethod
    def close(self) -> None:
        """Release the connection.  May be called twice."""

    def hint(self) -> str:
        """Advice for a board that does not answer."""
        return "check that it runs and that nothing else uses it"


class SerialTransport(Transport):
    """A serial port or a pseudo-terminal, eight bits, no parity, one stop bit.

    The port is locked: a second program that opens it in this way is refused.  Raises PortError
    where the port is missing, in use, not permitted, or cannot do `baud` bits per second.
    low_latency: whether the port could be set to deliver received bytes at once.
    """

    def __init__(self, port: str, baud: int = BAUD):
        self.name = port
        self.baud = baud
        try:
            self._serial = serial.Serial(
                port, baud, timeout=POLL_S, write_timeout=WRITE_TIMEOUT_S, exclusive=True
            )
        except Exception as error:
            if not _of_a_port(error):
                raise
            raise _open_error(port, baud, error) from error
        try:
            # USB adapters otherwise keep received bytes back for up to 16 ms.
            self._serial.set_low_latency_mode(True)
            self.low_latency = True
        except (AttributeError, NotImplementedError, OSError, ValueError):
            self.low_latency = False  # no adapter, or none that has the setting
        try:
            self.discard()
        except BaseException:
            self.close()
            raise

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise PortError(
                f"port {self.name} took no bytes for {WRITE_TIMEOUT_S:g} s: unplug the board, "
                "plug it in again and start over"
            ) from error
        except (OSError, TypeError) as error:
            raise self._gone(error) from error

    def read(self, timeout_s: float) -> bytes:
        end = time.monotonic() + timeout_s
        try:
            while True:
                data = self._serial.read(1)
                if data:
                    # Not more than are there: read(n) waits for n bytes or its time-out.
                    return data + self._serial.read(self._serial.in_waiting)
                if time.monotonic() >= end:
                    return b""
        except (OSError, TypeError) as error:  # TypeError: the port was closed meanwhile
            raise self._gone(error) from error

    def discard(self) -> None:
        try:
            self._serial.reset_input_buffer()
        except Exception as error:  # termios.error is no OSError and does not exist everywhere
            raise self._gone(error) from error

    def close(self) -> None:
        try:
            self._serial.close()
        except OSError:
            pass  # it is gone already

    def change_baud(self, baud: int) -> None:
        """Go on at another rate.  Raises PortError where the port cannot do it."""
        try:
            self._serial.baudrate = baud
        except Exception as error:
            if not _of_a_port(error):
                raise
            raise _open_error(self.name, baud, error) from error
        self.baud = baud
        self.discard()

    def latency_ms(self) -> int | None:
        """How long an FTDI adapter may keep received bytes back; None where nothing says so."""
        device = os.path.basename(os.path.realpath(self.name))
        try:
            return int((USB_SERIAL_DEVICES / device / "latency_timer").read_text())
        except (OSError, ValueError):
            return None

    def hint(self) -> str:
        return (
            "check that the board has power and holds our design, that this is its port "
            f"(python -m serial.tools.list_ports), and that the design was built for {self.baud} "
            "baud"
        )

    def _gone(self, error: Exception) -> PortError:
        return PortError(
            f"port {self.name} is gone ({_reason(error)}): check the cable and the board's power, "
            "then start again"
        )


def _of_a_port(error: Exception) -> bool:
    """Whether a port raised `error`: SerialException is an OSError, termios.error is none."""
    return isinstance(error, (OSError, ValueError)) or type(error).__module__ == "termios"


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _open_error(port: str, baud: int, error: Exception) -> PortError:
    # termios.error has no attribute for its number.
    number = getattr(error, "errno", error.args[0] if error.args else None)
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return PortError(
            f"port {port} does not exist: plug the board in, and list the ports with "
            "python -m serial.tools.list_ports"
        )
    if number in (errno.EACCES, errno.EPERM):
        return PortError(
            f"port {port} may not be opened by this user: add yourself to the group that owns it "
            '(sudo usermod -a -G dialout "$USER", then log in again) or install the udev rules '
            "that `mgd flash --udev` prints"
        )
    if number in (errno.EBUSY, errno.EAGAIN):
        return PortError(f"port {port} is in use by another program: close that one first")
    if number == errno.EIO:
        return PortError(
            f"port {port} is gone: check the cable and the board's power, then start again"
        )
    if isinstance(error, ValueError) or number == errno.EINVAL:
        return RateError(
            f"port {port} cannot be used at {baud} baud ({_reason(error)}): use a lower rate"
        )
    return PortError(
        f"port {port} is no serial port ({_reason(error)}): give one such as /dev/ttyUSB0"
    )
