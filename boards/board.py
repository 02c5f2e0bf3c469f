"""What a board is: a frozen description, from which a build takes all it needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mgd.boards.devices import DEVICES, Device
from mgd.golden_model.errors import UserError

NETLIST_CHECKED = "built and netlist-checked here"
BUILDS = "builds"
DESCRIPTION_ONLY = "description only"
TIERS = (NETLIST_CHECKED, BUILDS, DESCRIPTION_ONLY)


@dataclass(frozen=True)
class Pins:
    """A UART on pins without a USB converter behind them.

    rx, tx: names of the FPGA's balls, seen from the FPGA.  attrs: what the platform wants to
    know of an I/O.  where: what people find printed on the board.
    """

    rx: str
    tx: str
    attrs: tuple[tuple[str, str], ...]
    where: str


@dataclass(frozen=True)
class Board:
    """A board.  Files in boards/known/ make one each; so may files of a user's own.

    Raises UserError where device or tier are unknown.
    """

    name: str
    """As --board takes it: lower case, digits and hyphens."""
    title: str
    platform: str
    """'module:Class' of an Amaranth platform without parameters."""
    device_name: str
    """A key of boards.devices.DEVICES."""
    clock_hz: int
    """Frequency of the platform's default clock."""
    serial: str
    """How a computer reaches the UART, for people."""
    flash: str
    """Command line that loads a bitstream; {bitstream} stands for the file."""
    baud: int = 3_000_000
    """Default speed of the link."""
    baud_max: int = 3_000_000
    """The most that the converter can."""
    led: tuple[str, int, str] | None = ("led", 0, "")
    """Resource, number and subsignal of the LED that shows training; None: there is none."""
    uart: Pins | None = None
    """None: the platform's own resource ('uart', 0)."""
    tier: str = BUILDS
    pack_options: tuple[str, ...] = ()
    """More arguments of the packer."""
    dfu: tuple[int, int] | None = None
    """USB vendor and product that a DFU boot loader looks for at the end of the file."""
    note: str = ""
    """What people have to know, a sentence."""

    def __post_init__(self) -> None:
        if self.device_name not in DEVICES:
            raise UserError(
                f"board {self.name}: device {self.device_name!r} is unknown; there are "
                f"{', '.join(DEVICES)}, and boards/devices.py is where to add one"
            )
        if self.tier not in TIERS:
            raise UserError(
                f"board {self.name}: tier {self.tier!r}: must be one of {', '.join(TIERS)}"
            )

    @property
    def device(self) -> Device:
        return DEVICES[self.device_name]

    @property
    def family(self) -> str:
        return self.device.family

    def platform_class(self) -> Any:
        """The Amaranth platform.  Raises UserError where it cannot be imported."""
        return load(self.platform, "platform")


def load(place: str, what: str) -> Any:
    """The object at 'module:name'.  Raises UserError, with `what` it should be, if it is not."""
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        remedy = "pip install amaranth-boards" if "amaranth_boards" in place else "check its name"
        raise UserError(f"{what} {place}: no module {error.name!r}; {remedy}") from None
    except AttributeError:
        raise UserError(f"{what} {place}: the module has no {name!r}; check its spelling") from None
    except Exception as error:
        # Whatever a file of the user's own does wrong when it is imported.
        kind = type(error).__name__
        raise UserError(f"{what} {place}: {kind}: {error}; mend that file") from None
