"""The numbers that a host gives a core with Command.CODES before a run.

A perturbation other than random signs, and a sample order other than the memory's, are sequences:
a core computes the next element from the last one, and needs a number of at most STATE_BITS bits to
begin somewhere in the sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.perturbations import Numbering
from mgd.golden_model.perturbations.sequential import stride_and_start
from mgd.golden_model.perturbations.walsh import code_bits
from mgd.golden_model.perturbations.waves import phase_bits
from mgd.golden_model.samples.order import KEYS, RANDOM, words_window
from mgd.golden_model.seeds import start_state, words
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions

PERTURBATION, SAMPLE_COUNTS, SAMPLE_WINDOW = range(3)
"""SIGN_LAYER in a CODES: which number SEED holds."""
PAIR_BITS = 30
"""Of the lower of two numbers that share a SEED."""
PLACE_BITS = 16
"""Of a sample's place among the training samples."""
SAMPLES_MAX = 1 << PLACE_BITS
COUNTS_BITS = {"count": PLACE_BITS + 1, "place": PLACE_BITS, "low": PLACE_BITS, "half": 4}
"""Fields of SAMPLE_COUNTS and their widths, the first in the lowest bits: the number of training
samples, the place of the next one in its epoch, 2^m − 1 and h of the permutation (docs/numerics.md,
Sample order)."""


def total(numbering: list[Numbering | None]) -> int:
    """N, how many quantities are numbered."""
    return next(numbers.total for numbers in numbering if numbers is not None)


def sequential_code(count: int, seed: int, draw: int) -> int:
    """The quantity that draw number `draw` perturbs, then the stride to the next one."""
    stride, start = stride_and_start(count, seed)
    return (start + stride * draw) % count | stride << PAIR_BITS


def walsh_code(count: int, seed: int, draw: int) -> int:
    """The factor that makes a quantity's row of its number, then the draw's number."""
    bits = code_bits(count)
    factor = int(words(2, seed, "codes")[1]) % (1 << bits) | 1
    return factor | draw % (2 << bits) << PAIR_BITS


def wave_code(count: int, seed: int, draw: int) -> int:
    """Number of the draw before the next one: a core's memory holds its phases."""
    return (draw - 1) % (1 << phase_bits(count))


@dataclass(frozen=True)
class PerturbationCode:
    """How a core begins in the middle of a perturbation's sequence of draws."""

    code: Callable[[int, int, int], int]
    """The number for SEED, of N quantities, the run's seed and the number of the next draw."""
    draws_advance_streams: bool = True
    """Whether each draw advances the neurons' sign streams; else they stay at their start."""


PERTURBATION_CODES = {
    "sequential": PerturbationCode(sequential_code),
    "walsh": PerturbationCode(walsh_code),
    "square": PerturbationCode(wave_code, draws_advance_streams=False),
    "sine": PerturbationCode(wave_code, draws_advance_streams=False),
}
"""By the name that a task file gives; random signs need none."""


def perturbation_code(network: Network, settings: Settings, seed: int, draw: int) -> int:
    """The number for a core whose next draw is number `draw`."""
    count = total(settings.numbering(network))
    return PERTURBATION_CODES[settings.perturbation].code(count, seed, draw)


def sample_codes(kind: str, network: Network, seed: int, count: int, used: int) -> list[int]:
    """The numbers for SAMPLE_COUNTS and SAMPLE_WINDOW.

    count: training samples.  used: samples that the run has used before.  Raises UserError for
    more than SAMPLES_MAX samples.
    """
    if count > SAMPLES_MAX:
        raise UserError(
            f"sample_order = {kind!r} with {count:,} training samples: a core numbers "
            f"{SAMPLES_MAX:,}; train on fewer, use --backend golden or sample_order = 'cycle'"
        )
    epochs, place = divmod(used, count)
    bits = (count - 1).bit_length()
    fields = {"count": count, "place": place, "low": (1 << bits) - 1, "half": (bits + 1) // 2}
    counts, offset = 0, 0
    for name, width in COUNTS_BITS.items():
        counts |= fields[name] << offset
        offset += width
    drawn = used if kind == RANDOM else KEYS * epochs
    return [counts, words_window(network, start_state(seed), drawn)]


def run_codes(
    network: Network, settings: Settings, seed: int, samples: int, step: int = 0
) -> list[tuple[int, int]]:
    """(SIGN_LAYER, SEED) of each CODES that a run with these settings needs, in this order.

    samples: for training.  step: the next one.  Raises UserError where a core cannot number so many
    samples.
    """
    options = BuildOptions.of(settings)
    codes = []
    if options.perturbation != "random":
        draw = step // settings.tau_p
        codes.append((PERTURBATION, perturbation_code(network, settings, seed, draw)))
    if options.ordered:
        used = step // settings.tau_x
        counts, window = sample_codes(options.sample_order, network, seed, samples, used)
        codes += [(SAMPLE_COUNTS, counts), (SAMPLE_WINDOW, window)]
    return codes
