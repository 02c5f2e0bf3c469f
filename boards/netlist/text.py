"""Undefined bits of a netlist become noise before it is simulated.

A simulator with two states would take them as zeros, and zeros hide mistakes.
"""

from __future__ import annotations

import random
import re

from mgd.boards.families.family import CellModels

_UNKNOWN = re.compile(r"\b(\d+)'([hb])([0-9a-f]*x[0-9a-fx]*)")


def powered_up(verilog: str, models: CellModels, seed: int) -> str:
    """A netlist with random bits in place of x, and in memories that start as zero.

    Contents are not changed where a memory is never written or holds a one: it may be a table.  The
    same seed gives the same bits.
    """
    noise = random.Random(seed)
    memory = re.compile(rf"^  ({models.memories}) #\(\n.*?^  \);$", re.M | re.S)
    filled = memory.sub(lambda found: _noisy(found[0], models, noise), verilog)
    return _UNKNOWN.sub(lambda found: _without_x(found, noise), filled)


def _noisy(cell: str, models: CellModels, noise: random.Random) -> str:
    enables = re.findall(rf"\.(?:{models.write_enables})\(([^)]*)\)", cell)
    contents = re.compile(rf"\.({models.contents})\((\d+)'h([0-9a-fx]+)\)")
    written = any(enable != "1'h0" for enable in enables)
    ones = any(set(found[2]) - set("0x") for found in contents.findall(cell))
    if ones or not written:
        return cell
    return contents.sub(lambda found: f".{found[1]}({_bits(int(found[2]), noise)})", cell)


def _without_x(found: re.Match[str], noise: random.Random) -> str:
    width, base, digits = found.groups()
    each = 4 if base == "h" else 1
    drawn = "".join(f"{noise.getrandbits(each):x}" if d == "x" else d for d in digits)
    # The first digit of a width that is no multiple of four has fewer bits.
    value = int(drawn, 1 << each) & ((1 << int(width)) - 1)
    return f"{width}'h{value:x}"


def _bits(width: int, noise: random.Random) -> str:
    return f"{width}'h{noise.getrandbits(width):0{-(-width // 4)}x}"
