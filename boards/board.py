"""A board: a frozen description with everything that a build needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mgd.boards.devices import DEVICES, Device
from mgd.boards.families.family import FpgaFamily
from mgd.golden_model.errors import UserError

NETLIST_CHECKED = "built and netlist-checked here"
BUILDS = "builds"
DESCRIPTION_ONLY = "description only"
TIERS = (NETLIST_CHECKED, BUILDS, DESCRIPTION_ONLY)


@dataclass(frozen=True)
class Pins:
    """A UART on pins without a USB converter behind them.

    rx, tx: names of the FPGA's balls, seen from the FPGA.  attrs: the platform's attributes of
    an I/O.  where: the label printed on the board.
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
    """The highest speed of the converter."""
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
    """For users, a sentence."""

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
    def fpga_family(self) -> FpgaFamily:
        return self.device.fpga_family

    def platform_class(self) -> Any:
        """The Amaranth platform.  Raises UserError where it cannot be imported."""
        return load(self.platform, "platform")


def load(location: str, noun: str) -> Any:
    """The object at 'module:name'.  Raises UserError, which says `noun`, without it."""
    module, _, name = location.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        remedy = (
            "pip install amaranth-boards" if "amaranth_boards" in location else "check its name"
        )
        raise UserError(f"{noun} {location}: no module {error.name!r}; {remedy}") from None
    except AttributeError:
        raise UserError(
            f"{noun} {location}: the module has no {name!r}; check its spelling"
        ) from None
    except Exception as error:
        # A user's file may raise anything when it is imported.
        kind = type(error).__name__
        raise UserError(f"{noun} {location}: {kind}: {error}; correct that file") from None
