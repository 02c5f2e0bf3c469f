"""What the text of a netlist leaves open is filled with noise before it is simulated.

A simulator with two states would make zeros of it, and zeros are what hides a mistake.
"""

from __future__ import annotations

import random
import re

_UNKNOWN = re.compile(r"\b(\d+)'([hb])([0-9a-f]*x[0-9a-fx]*)")
_MEMORY = re.compile(r"^  (SB_RAM40_4K\w*|DP16KD|TRELLIS_DPR16X4) #\(\n.*?^  \);$", re.M | re.S)
_CONTENTS = re.compile(r"\.(INIT_[0-9A-F]|INITVAL\w*)\((\d+)'h([0-9a-fx]+)\)")
_WRITE_ENABLE = re.compile(r"\.(?:WE|WEA|WEB|WRE)\(([^)]*)\)")


def powered_up(verilog: str, seed: int) -> str:
    """A netlist with bits where it has x, and with other contents where memories start as zero.

    Contents are kept where a memory is never written or holds a one: it may be a table.  The
    same seed gives the same bits.
    """
    noise = random.Random(seed)
    filled = _MEMORY.sub(lambda found: _noisy(found[0], noise), verilog)
    return _UNKNOWN.sub(lambda found: _without_x(found, noise), filled)


def _noisy(cell: str, noise: random.Random) -> str:
    written = any(enable != "1'h0" for enable in _WRITE_ENABLE.findall(cell))
    ones = any(set(found[2]) - set("0x") for found in _CONTENTS.findall(cell))
    if ones or not written:
        return cell
    return _CONTENTS.sub(lambda found: f".{found[1]}({_bits(int(found[2]), noise)})", cell)


def _without_x(found: re.Match[str], noise: random.Random) -> str:
    width, base, digits = found.groups()
    each = 4 if base == "h" else 1
    drawn = "".join(f"{noise.getrandbits(each):x}" if d == "x" else d for d in digits)
    # The first digit of a width that is no multiple of four has fewer bits.
    value = int(drawn, 1 << each) & ((1 << int(width)) - 1)
    return f"{width}'h{value:x}"


def _bits(width: int, noise: random.Random) -> str:
    return f"{width}'h{noise.getrandbits(width):0{-(-width // 4)}x}"
