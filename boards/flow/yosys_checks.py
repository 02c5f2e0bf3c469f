"""What Yosys says, and exits 0 after: lines of its log that mean a broken netlist.

Also a check of the cells that came out against what the core must at least have: a design of
which Yosys trimmed a part away gives no error either, it is only small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mgd.golden_model.errors import UserError
from mgd.golden_model.signs.sequence import STATE_BITS
from mgd.rtl.core_kinds import AnyConfig
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.spatial.config import SpatialConfig


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    means: str
    mend: str


_RULES = (
    _Rule(
        re.compile(r"Driver-driver conflict"),
        "it puts a constant there and removes what drives it",
        "on iCE40 with -dsp keep a single register after a product, else drive the signal once",
    ),
    _Rule(
        re.compile(r"multiple conflicting drivers|Drivers conflicting with a constant"),
        "two sources drive one signal",
        "assign it in one module and one domain",
    ),
    _Rule(
        re.compile(r"(?<!No )[Ll]atch inferred"),
        "a latch is not registered logic and no core here wants one",
        "assign the signal in every branch",
    ),
    _Rule(
        re.compile(r"found logic loop|found \d*[1-9]\d* SCC"),
        "a signal depends on itself without a register between",
        "put a register into the loop",
    ),
    _Rule(
        re.compile(r"is used but has no driver"),
        "its value is undefined and Yosys may choose any",
        "drive it, or remove what reads it",
    ),
    _Rule(re.compile(r"(?:^|\s)ERROR:"), "Yosys gave up", "mend the design at the place it names"),
)

# Details follow a warning indented; the first few name the cells.
_DETAIL = re.compile(r"^ {4,}\S")
_DETAILS_READ = 4

_NOT_MAPPED = re.compile(r"^\$(?!scopeinfo$|print$|check$)")

# Bits of storage per cell.
_BLOCKS = {"SB_RAM40_4K": 4096, "DP16KD": 18432, "PDPW16KD": 18432}
_BIG_BLOCKS = {"SB_SPRAM256KA": 1 << 18}
_DISTRIBUTED = {"TRELLIS_DPR16X4": 64}
_MULTIPLIERS = ("SB_MAC16", "MULT18X18D")
_FLIP_FLOP = re.compile(r"^(SB_DFF\w*|TRELLIS_FF)$")


def checked(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a Yosys log, one by one as they come, until one means a broken netlist.

    lines: with or without line ends, of the file that Yosys writes with `-l`.  (Not its standard
    output: the one from PyPI prints nothing there after it has called ABC.)  The bad line and
    its details are still given, so a copy of the log ends with them.  Raises UserError that
    names the line and its number, or where the log is not whole.
    """
    stream = enumerate(lines, 1)
    whole = False
    for number, line in stream:
        yield line
        whole = whole or line.startswith("End of script.")
        for rule in _RULES:
            if rule.pattern.search(line):
                details: list[str] = []
                for _, detail in stream:
                    yield detail
                    if not _DETAIL.match(detail) or len(details) == _DETAILS_READ:
                        break
                    details.append(detail.strip())
                said = " ".join([line.strip(), "; ".join(details)]).strip()
                raise UserError(
                    f'yosys says, in line {number} of its log, "{said}": {rule.means}; {rule.mend}'
                )
    if not whole:
        raise UserError(
            "the log of yosys stops before the end of its script: it was stopped, or this is not "
            "the file that it writes with -l"
        )


def check_log(log: str | Iterable[str]) -> None:
    """Read a Yosys log, as a text or line by line, to its end.

    Raises UserError at the first line that tells of conflicting drivers, a latch, a logic loop,
    a signal without a driver, or an error, and where the log is not whole.
    """
    for _ in checked(log.splitlines() if isinstance(log, str) else log):
        pass


def check_cells(
    cells: Mapping[str, int],
    config: AnyConfig,
    sample_memory: int = 0,
) -> None:
    """Compare a netlist with the least that a core of this config can be made of.

    cells: number of cells by type, of the whole design after synth_ice40 or synth_ecp5 with
    -flatten (num_cells_by_type of `stat -json`).  sample_memory: 16-bit words.

    Raises UserError where cells were not mapped or are latches, and where multipliers, memory
    blocks or bits of storage are missing: some of the core was then trimmed away.
    """
    for name in cells:
        if "LATCH" in name.upper():
            raise UserError(
                f"the netlist has {cells[name]} latches ({name}): a core has none; assign the "
                "signal in every branch"
            )
        if _NOT_MAPPED.match(name):
            raise UserError(
                f"the netlist has {cells[name]} cells of type {name}, which no FPGA has: synthesis "
                "did not finish; run the whole synth_ice40 or synth_ecp5 with -flatten"
            )
    if isinstance(config, SpatialConfig):
        _check_synapses(cells, config)
        return
    _check_multipliers(cells, config)
    _check_storage(cells, config, sample_memory)


_TRIMMED = "Yosys trimmed it away; look in its log for constants, undriven and unused signals"


def _check_synapses(cells: Mapping[str, int], config: SpatialConfig) -> None:
    network = config.network
    needed = network.parameters * (network.weight_bits + config.gradient_bits)
    needed += 2 * network.neurons * STATE_BITS
    found = sum(n for name, n in cells.items() if _FLIP_FLOP.match(name))
    if found < needed:
        raise UserError(
            f"the netlist has {found:,} flip-flops: {network.parameters} synapses and the signs of "
            f"{network.neurons} neurons alone take {needed:,}; {_TRIMMED}"
        )


def _check_multipliers(cells: Mapping[str, int], config: CoreConfig) -> None:
    wanted = config.lanes
    dsps = sum(cells.get(name, 0) for name in _MULTIPLIERS)
    if dsps < wanted:
        raise UserError(
            f"the netlist has {dsps} DSP blocks: {wanted} lanes multiply in one each; {_TRIMMED}, "
            "or give -dsp to synth_ice40"
        )


def _check_storage(cells: Mapping[str, int], config: CoreConfig, sample_memory: int) -> None:
    network = config.network
    widths = {"weights": network.weight_bits}
    if network.accumulators:
        widths["accumulators"] = network.gradient_bits
    count = {name: n for name, n in cells.items() if n}
    block_bits = max((bits for name, bits in _BLOCKS.items() if name in count), default=4096)
    blocks = sum(count.get(name, 0) for name in _BLOCKS)
    big = sum(bits * count.get(name, 0) for name, bits in _BIG_BLOCKS.items())
    loose = sum(n for name, n in count.items() if _FLIP_FLOP.match(name))
    loose += sum(bits * count.get(name, 0) for name, bits in _DISTRIBUTED.items())

    # Each lane has memories of its own; Yosys may make small ones of flip-flops or LUTs.
    least = -(-max(16 * sample_memory - big, 0) // block_bits)
    for width in widths.values():
        least += config.lanes * -(-config.lane_words * width // block_bits)
    lane_bits = config.lane_words * min(widths.values())
    if blocks < least and loose < (least - blocks) * min(lane_bits, block_bits):
        samples = f" and {sample_memory:,} words of samples" if sample_memory else ""
        raise UserError(
            f"the netlist has {blocks} memory blocks: {' and '.join(widths)} of {config.lanes} "
            f"lanes with {config.lane_words:,} words each{samples} take {least}; {_TRIMMED}"
        )
    held = loose + big + sum(bits * count.get(name, 0) for name, bits in _BLOCKS.items())
    needed = config.lanes * config.lane_words * sum(widths.values()) + 16 * sample_memory
    if held < needed:
        raise UserError(
            f"the netlist can hold {held:,} bits: weights and samples alone take {needed:,}; "
            f"{_TRIMMED}"
        )
