"""Opening a board's port at the rate that its design was built for."""

from __future__ import annotations

from mgd.golden_model.errors import UserError
from mgd.host.link.board_link import Link
from mgd.host.link.transfer import RefusedError
from mgd.host.link.transport import BAUD, PortError, RateError, SerialTransport
from mgd.protocol.framing import Space

BAUDS = (BAUD, 2_000_000, 1_000_000, 921_600, 500_000, 460_800, 230_400, 115_200)
"""Rates to try, the usual one first: a board counts bytes at a wrong rate as damaged frames."""
PROBE_SECONDS = 0.25
"""A frame and its reply take 45 ms at 115,200 baud, and an adapter may add 32 ms."""


class NoAnswerError(UserError):
    """The port works, and no board of ours answers on it."""


def open_port(name: str, baud: int | None = None) -> SerialTransport:
    """Open port `name` at `baud` bits per second; None looks for the rate of the board.

    Raises PortError where the port cannot be used, NoAnswerError where no board answers at any
    rate.  With a rate given, nothing is sent yet.
    """
    if baud is not None:
        return SerialTransport(name, baud)
    transport: SerialTransport | None = None
    tried: list[int] = []
    for rate in BAUDS:
        try:
            if transport is None:
                transport = SerialTransport(name, rate)
            else:
                transport.change_baud(rate)
            tried.append(rate)
            if _answers(transport):
                return transport
        except RateError:
            continue  # this adapter is slower than that
        except BaseException:
            if transport is not None:
                transport.close()
            raise
    if transport is None:
        raise PortError(f"port {name} can do none of the rates {_listed(BAUDS)} baud: use another")
    transport.close()
    raise NoAnswerError(
        f"no answer from the board on {name} at {_listed(tried)} baud: check that the board has "
        "power and holds our design, and that this is its port (python -m serial.tools.list_ports, "
        "a board may have two); where it was built for another rate, give it by --baud"
    )


def _answers(transport: SerialTransport) -> bool:
    try:
        Link(transport, timeout_s=PROBE_SECONDS, attempts=2).read(Space.IDENTITY, 0, 1)
    except PortError:
        raise
    except RefusedError:
        return True
    except UserError:
        return False
    return True


def _listed(rates: tuple[int, ...] | list[int]) -> str:
    return ", ".join(f"{rate:,}".replace(",", " ") for rate in rates)
