"""What a host tells a core of a variant before a run, with Command.CODES."""

from __future__ import annotations

from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import Variant
from mgd.rtl.folded.perturbations import FAMILIES
from mgd.rtl.memory import sample_order

PERTURBATION = 0
"""Part, as sample_order.PARTS are."""


def run_codes(
    network: Network, settings: Settings, seed: int, samples: int, step: int = 0
) -> list[tuple[int, int]]:
    """(SIGN_LAYER, SEED) of each CODES that a run of these settings needs, in this order.

    samples: for training.  step: the one that comes next.  Raises UserError where a core cannot
    number so many samples.
    """
    variant = Variant.of(settings)
    parts = []
    if variant.perturbation != "random":
        family, draw = FAMILIES[variant.perturbation], step // settings.tau_p
        parts.append((PERTURBATION, family.codes(network, settings, seed, draw)))
    if variant.ordered:
        taken = step // settings.tau_x
        order = sample_order.codes(variant.sample_order, network, seed, samples, taken)
        parts += zip(sample_order.PARTS, order, strict=True)
    return parts
