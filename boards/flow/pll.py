"""Clocks out of a PLL: the search for dividers, and the cell for each family of FPGAs.

The search is a pure function.  It gives the setting with the highest output that is not above
the wanted one and keeps the limits of the maker's data sheet; among equals the one that divides
the input least, as a fast phase detector has the least jitter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from amaranth import Const, Instance, Signal

from mgd.boards.devices import ECP5, GOWIN, ICE40
from mgd.golden_model.errors import UserError

MHZ = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What a PLL may do, in Hz: (lowest, highest)."""

    input: tuple[int, int]
    phase: tuple[int, int]
    """Frequency at the phase detector."""
    vco: tuple[int, int]
    output: tuple[int, int]


LIMITS = {
    # iCE40 UltraPlus family data sheet FPGA-DS-02008, sysCLOCK PLL timing.
    ICE40: Limits((10 * MHZ, 133 * MHZ), (10 * MHZ, 133 * MHZ), (533 * MHZ, 1066 * MHZ),
                  (16 * MHZ, 275 * MHZ)),
    # ECP5 family data sheet FPGA-DS-02012, sysCLOCK PLL timing.
    ECP5: Limits((8 * MHZ, 400 * MHZ), (10 * MHZ, 400 * MHZ), (400 * MHZ, 800 * MHZ),
                 (3_125_000, 400 * MHZ)),
    # GW1NR-9 C6/I5 data sheet DS117; the GW2A of the C8/I7 grade can do more.
    GOWIN: Limits((3 * MHZ, 400 * MHZ), (3 * MHZ, 400 * MHZ), (400 * MHZ, 1200 * MHZ),
                  (3_125_000, 600 * MHZ)),
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Dividers of a PLL.  All are the numbers that divide, not the bits that say so."""

    family: str
    input_hz: int
    divide: int
    """Input clocks per clock of the phase detector."""
    multiply: int
    """Clocks of the fed back output, per clock of the phase detector."""
    feedback: int
    """VCO clocks per clock of the fed back output; 1 for the iCE40, which feeds back the VCO."""
    post: int
    """VCO clocks per clock of the output."""

    @property
    def phase_hz(self) -> Fraction:
        return Fraction(self.input_hz, self.divide)

    @property
    def vco_hz(self) -> Fraction:
        return self.phase_hz * self.multiply * self.feedback

    @property
    def output_hz(self) -> Fraction:
        return self.vco_hz / self.post

    def within_limits(self) -> bool:
        limits = LIMITS[self.family]
        # What is fed back is an output, too; the iCE40's is the VCO itself.
        fed_back = limits.vco if self.family == ICE40 else limits.output
        return all(
            low <= value <= high
            for (low, high), value in (
                (limits.input, self.input_hz),
                (limits.phase, self.phase_hz),
                (limits.vco, self.vco_hz),
                (limits.output, self.output_hz),
                (fed_back, self.vco_hz / self.feedback),
            )
        )


def search(family: str, input_hz: int, wanted_hz: float | Fraction) -> Setting:
    """The setting with the highest output of at most `wanted_hz`; no candidate is above it.

    Raises UserError where the input is out of the PLL's range or its lowest output is above.
    """
    limits = LIMITS[family]
    low, high = limits.input
    if not low <= input_hz <= high:
        raise UserError(
            f"a PLL cannot take {input_hz / MHZ:g} MHz: its input must be {low / MHZ:g} to "
            f"{high / MHZ:g} MHz; use another clock of the board"
        )
    wanted = min(Fraction(wanted_hz), Fraction(limits.output[1]))
    usable = [
        setting
        for divide in range(1, input_hz // limits.phase[0] + 1)
        for setting in _CANDIDATES[family](input_hz, divide, wanted)
        if setting.within_limits()
    ]
    if not usable:
        raise UserError(
            f"no PLL setting gives {float(wanted) / MHZ:.3f} MHz or less from "
            f"{input_hz / MHZ:g} MHz: outputs start at {limits.output[0] / MHZ:g} MHz; ask for a "
            "faster clock"
        )
    # The middle of the VCO's range is where it is most at ease.
    middle = Fraction(sum(limits.vco), 2)
    return min(usable, key=lambda s: (-s.output_hz, s.divide, abs(s.vco_hz - middle)))


def _ice40_candidates(input_hz: int, divide: int, wanted: Fraction) -> Iterator[Setting]:
    """Output = VCO / 2, 4, … 64; the VCO is a multiple, up to 128, of the phase detector's."""
    for exponent in range(1, 7):
        top = min(wanted * (1 << exponent), Fraction(LIMITS[ICE40].vco[1]))
        multiply = min(128, int(top * divide / input_hz))
        if divide <= 16 and multiply >= 1:
            yield Setting(ICE40, input_hz, divide, multiply, 1, 1 << exponent)


def _ecp5_candidates(input_hz: int, divide: int, wanted: Fraction) -> Iterator[Setting]:
    """One output, as slow as the phase detector, is fed back; the other is the VCO divided by
    any number up to 128.  That reaches many more frequencies than feeding back the output used.
    """
    for feedback in range(1, 129):
        post = -int(-Fraction(input_hz, divide) * feedback / wanted // 1)
        if divide <= 128 and 1 <= post <= 128:
            yield Setting(ECP5, input_hz, divide, 1, feedback, post)


def _gowin_candidates(input_hz: int, divide: int, wanted: Fraction) -> Iterator[Setting]:
    multiply = min(64, int(wanted * divide / input_hz))
    for post in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128):
        if divide <= 64 and multiply >= 1:
            yield Setting(GOWIN, input_hz, divide, multiply, post, post)


_CANDIDATES: dict[str, Callable[[int, int, Fraction], Iterator[Setting]]] = {
    ICE40: _ice40_candidates,
    ECP5: _ecp5_candidates,
    GOWIN: _gowin_candidates,
}


def instance(setting: Setting, source, output: Signal, lock: Signal, device: str) -> Instance:
    """The PLL's cell.

    source: the pad (iCE40, whose pin then has no buffer) or the buffered clock (others).
    lock is asynchronous.  device: what a Gowin PLL wants to know.
    """
    return _INSTANCES[setting.family](setting, source, output, lock, device)


def _ice40_instance(setting: Setting, source, output, lock, _device) -> Instance:
    bounds = (17, 26, 44, 66, 101)
    filter_range = 1 + sum(setting.phase_hz >= bound * MHZ for bound in bounds)
    return Instance(
        "SB_PLL40_PAD",
        p_FEEDBACK_PATH="SIMPLE",
        p_DIVR=Const(setting.divide - 1, 4),
        p_DIVF=Const(setting.multiply - 1, 7),
        p_DIVQ=Const(setting.post.bit_length() - 1, 3),
        p_FILTER_RANGE=Const(filter_range, 3),
        i_PACKAGEPIN=source,
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=output,
        o_LOCK=lock,
    )


def _ecp5_instance(setting: Setting, source, output, lock, _device) -> Instance:
    fed_back = Signal()
    return Instance(
        "EHXPLLL",
        # The loop filter that Lattice's own tool writes for dividers of this size.
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_CLKI_DIV=setting.divide,
        p_CLKFB_DIV=setting.multiply,
        p_FEEDBK_PATH="CLKOP",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=setting.feedback,
        p_CLKOP_CPHASE=setting.feedback // 2,
        p_CLKOP_FPHASE=0,
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOS_DIV=setting.post,
        p_CLKOS_CPHASE=setting.post // 2,
        p_CLKOS_FPHASE=0,
        i_CLKI=source,
        i_CLKFB=fed_back,
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_PHASESEL0=Const(0),
        i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(1),
        i_PHASESTEP=Const(1),
        i_PHASELOADREG=Const(1),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        o_CLKOP=fed_back,
        o_CLKOS=output,
        o_LOCK=lock,
    )


def _gowin_instance(setting: Setting, source, output, lock, device) -> Instance:
    return Instance(
        "rPLL",
        p_FCLKIN=f"{setting.input_hz / MHZ:g}",
        p_DEVICE=device,
        p_IDIV_SEL=setting.divide - 1,
        p_FBDIV_SEL=setting.multiply - 1,
        p_ODIV_SEL=setting.post,
        p_DYN_IDIV_SEL="false",
        p_DYN_FBDIV_SEL="false",
        p_DYN_ODIV_SEL="false",
        p_DYN_DA_EN="false",
        p_PSDA_SEL="0000",
        p_DUTYDA_SEL="1000",
        p_CLKFB_SEL="internal",
        p_CLKOUT_BYPASS="false",
        p_CLKOUTP_BYPASS="false",
        p_CLKOUTD_BYPASS="false",
        i_CLKIN=source,
        i_CLKFB=Const(0),
        i_FBDSEL=Const(0, 6),
        i_IDSEL=Const(0, 6),
        i_ODSEL=Const(0, 6),
        i_DUTYDA=Const(0, 4),
        i_PSDA=Const(0, 4),
        i_FDLY=Const(0, 4),
        i_RESET=Const(0),
        i_RESET_P=Const(0),
        o_CLKOUT=output,
        o_LOCK=lock,
    )


_INSTANCES = {ICE40: _ice40_instance, ECP5: _ecp5_instance, GOWIN: _gowin_instance}
