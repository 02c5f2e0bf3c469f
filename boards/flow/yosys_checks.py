"""Lines of Yosys' log that mean a broken netlist although it exits with 0.

Also a check of the netlist's cells against the least that the core needs: a design of which Yosys
trimmed a part away gives no error either, it is only small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mgd.boards.design import Design
from mgd.boards.estimate.kinds import kind_of
from mgd.golden_model.errors import UserError


@dataclass(frozen=True)
class _Rule:
    pattern: re.Pattern[str]
    means: str
    cure: str


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
    _Rule(
        re.compile(r"(?:^|\s)ERROR:"), "Yosys gave up", "correct the design at the place it names"
    ),
)

# Details follow a warning indented; the first few name the cells.
_DETAIL = re.compile(r"^ {4,}\S")
_DETAILS_READ = 4

_NOT_MAPPED = re.compile(r"^\$(?!scopeinfo$|print$|check$)")


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
                    f'yosys says, in line {number} of its log, "{said}": {rule.means}; {rule.cure}'
                )
    if not whole:
        raise UserError(
            "the log of yosys stops before the end of its script: it was stopped, or this is not "
            "the file that it writes with -l"
        )


def check_log(log: str | Iterable[str]) -> None:
    """Read a Yosys log, as a text or line by line, to its end.

    Raises UserError at the first line about conflicting drivers, a latch, a logic loop,
    a signal without a driver, or an error, and where the log is not whole.
    """
    for _ in checked(log.splitlines() if isinstance(log, str) else log):
        pass


def check_cells(cells: Mapping[str, int], design: Design) -> None:
    """Compare a netlist with the least that the design's core can be made of; nothing for an FPGA
    family of which no cells are known.

    cells: number of cells by type, of the whole design after synth_ice40 or synth_ecp5 with
    -flatten (num_cells_by_type of `stat -json`).

    Raises UserError where cells were not mapped or are latches, and where multipliers, memory
    blocks or bits of storage are missing: some of the core was then trimmed away.
    """
    if design.board.fpga_family.netlist_cells is None:
        return
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
    core = kind_of(design.config)(design.board, design.config)
    core.check_netlist(cells, design.sample_memory)
