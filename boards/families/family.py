"""The interface of an FPGA family to builds, estimates and netlist simulations."""

from __future__ import annotations

import inspect
import re
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from amaranth import Instance, Signal, Value

from mgd.boards.families.pll import Pll
from mgd.boards.families.program import Program
from mgd.boards.families.usage import Area, MemoryUsage

LUTRAM_COST = 4
"""Yosys' cost of a LUT RAM of 16 words of 4 bits, in flip-flops."""

STATIC_PLACER = ("--placer", "static")
HEAP_PLACER = ("--placer", "heap", "--placer-heap-timingweight", "30")
"""nextpnr's two placers.  The static one spreads cells evenly.  The other one, the default, crowds
connected cells, the more so at this timing weight, and is faster until nets must take detours
around each other; in a full device it may leave nets that cannot be routed at all."""

# Yosys protects a memory that is read and written in the same clock against a read of the word
# that is being written.  None of our memories is read so (docs/architecture.md), so the protection
# can be left out.  A port without a clock has none.
NO_COLLISIONS = "setparam -set COLLISION_X_MASK 1'1 */t:$memrd_v2 */r:CLK_ENABLE=1 %i; "
# Registers with the attribute keep are deliberate copies, each for some of the readers of a
# signal with too high a fan-out; synthesis would merge equal cells into one.
KEEP_COPIES = "setattr -set keep 1 a:keep=1 w:* %i %ci1 t:$dff %i; "


@dataclass(frozen=True)
class CellModels:
    """Verilog models of a family's cells, for simulating a netlist.

    shipped: files below Yosys' share folder.  own: our file in boards/netlist/cells, whose models
    replace shipped ones that are black boxes or too lenient.  prelude: Verilog before all models.
    The others are regular expressions for memory cells in a netlist: their names, the parameters
    with their contents, and their write enables.
    """

    shipped: tuple[str, ...]
    own: str
    memories: str
    contents: str
    write_enables: str
    prelude: str = ""


@dataclass(frozen=True)
class NetlistCells:
    """The cells of a family's netlists: how they are counted, checked and simulated.

    reference_board: the board whose whole design is synthesised for estimates and simulations.
    block_rams, single_port_rams, lut_rams: bits that a cell of each type stores.
    area: counts the cells of a flat module of Yosys' JSON netlist.
    """

    reference_board: str
    multiplier: str
    block_rams: Mapping[str, int]
    single_port_rams: Mapping[str, int]
    lut_rams: Mapping[str, int]
    area: Callable[[dict[str, Any]], Area]
    models: CellModels


class FpgaFamily(ABC):
    """One family.  Class attributes are its data; a subclass is a file of this folder."""

    name: ClassVar[str]
    pll: ClassVar[Pll]

    # -- tools ---------------------------------------------------------------------------------

    synthesis: ClassVar[str]
    """Yosys commands, on one line, from the module `top` to a netlist."""
    router: ClassVar[Program]
    packer: ClassVar[Program]
    placers: ClassVar[tuple[tuple[str, ...], ...]] = ((),)
    """nextpnr arguments of each placer; they take turns, seed after seed."""
    constraints_file: ClassVar[str]
    routed_file: ClassVar[str]
    bitstream_file: ClassVar[str]
    helpers: ClassVar[tuple[ModuleType, ...]] = ()
    """Modules beside the family's own that decide how a netlist is changed."""

    # -- nextpnr's report ----------------------------------------------------------------------

    report_cells: ClassVar[Mapping[str, tuple[str, ...]]]
    """lut, ff, dsp, ram, spram: the cell types that nextpnr counts for each."""
    cell_titles: ClassVar[Mapping[str, str]] = {}
    """Cell type: its name in messages."""
    flip_flop: ClassVar[re.Pattern[str]]
    """Matches the cell types of flip-flops after synthesis."""
    knows_dsp_delays: ClassVar[bool] = True
    """Whether nextpnr's timing covers paths through DSP blocks."""

    # -- clock ---------------------------------------------------------------------------------

    pad_drives_pll: ClassVar[bool] = False
    """Whether the PLL contains the input buffer of the clock's pad."""
    gates_clock: ClassVar[bool] = False
    """Whether a design starts its clock late, by clock_gate(), and has no reset in turn."""

    # -- cells that the cores use --------------------------------------------------------------

    mac16: ClassVar[bool] = False
    """Whether lanes can accumulate in the iCE40's DSP block (rtl.lib.mac16)."""
    memory_register: ClassVar[bool] = True
    """Whether the folded core has registers behind its memories
    (rtl.folded.config.CoreConfig.memory_register)."""
    ccu2c: ClassVar[bool] = False
    """Whether spatial accumulators use the ECP5's carry cells."""

    # -- estimates -----------------------------------------------------------------------------

    block_ram_cost: ClassVar[int] = 128
    """Yosys' cost of a block RAM, in flip-flops."""
    dsp_holds_sum: ClassVar[bool] = True
    """Whether synthesis moves a lane's sum register into its DSP block."""
    block_ram_logic: ClassVar[bool] = True
    """Whether the logic estimate grows with the width of memories in block RAM."""
    spatial_cells_per_lut: ClassVar[float] = 1.25
    """Logic cells of a spatial core for one LUT of it on an ECP5, where its parts were measured:
    no carry cell with room for sign and gate, no wide LUTs, hardly a DSP block."""
    spatial_calibrated: ClassVar[bool] = False
    """Whether spatial_cells_per_lut is measured."""

    logic_model: ClassVar[str] = ""
    """Name of another family whose coefficients in boards/estimate/logic_cells.json are used;
    empty: its own."""

    netlist_cells: ClassVar[NetlistCells | None] = None
    """None: netlists are not counted, checked or simulated."""

    @property
    def programs(self) -> tuple[Program, ...]:
        return (self.router, self.packer)

    def clock_gate(self, clock: Value, enable: Value, output: Signal) -> Instance:
        """A gate in front of a clock network, of a family with gates_clock."""
        raise NotImplementedError(f"{self.name} has no clock gate")

    @abstractmethod
    def device_arguments(self, platform: Any) -> tuple[str, ...]:
        """nextpnr arguments that name the device of an Amaranth platform.

        They come from Amaranth's own tables, which are not a public interface but exist nowhere
        else.
        """

    def packer_device(self, platform: Any) -> str:
        """The packer's name of the device; empty where the routed design contains it."""
        return ""

    @abstractmethod
    def file_arguments(self) -> tuple[str, ...]:
        """nextpnr arguments for constraints, result and router."""

    @abstractmethod
    def pack_arguments(self, options: tuple[str, ...], device: str) -> tuple[str, ...]:
        """Arguments of the packer.  options: the board's; device: of packer_device()."""

    @abstractmethod
    def is_bitstream(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes is a bitstream of this family."""

    def finish_netlist(self, netlist: Path, *, simulated: bool = False) -> None:  # noqa: B027
        """Rewrite Yosys' JSON netlist before it is placed.  Raises OSError.

        simulated: it will become Verilog, where an open output would be tied to a constant.
        """

    def memory_in_logic(self, words: int, width: int) -> tuple[MemoryUsage, float]:
        """A memory without block RAM, and Yosys' cost of it in flip-flops: by default in LUTs."""
        deep = -(-words // 16)
        count = deep * -(-width // 4)
        return MemoryUsage(lutrams=count), LUTRAM_COST * count + width * (deep - 1) / 2

    def dsp_blocks(self, width: int) -> int:
        """DSP blocks of a product of `width` bits with about 16."""
        return -(-width // 18)

    def sources(self) -> str:
        """Source text that decides the inputs of this family's tools, for a cache's key."""
        own = sys.modules[type(self).__module__]
        return "".join(map(inspect.getsource, (own, *self.helpers)))


def cell_types(module: dict[str, Any]) -> Counter[str]:
    """Number of cells by type of one module of a JSON netlist."""
    return Counter(cell["type"] for cell in module["cells"].values())
