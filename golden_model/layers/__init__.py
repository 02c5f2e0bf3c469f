"""Kinds of layers, one a module.  A new kind is a module here and an entry of LAYERS."""

from __future__ import annotations

from itertools import pairwise

from mgd.golden_model.layers.base import Layer
from mgd.golden_model.layers.dense import Dense

__all__ = ["LAYERS", "Dense", "Layer", "layers_of"]

LAYERS: dict[str, type[Layer]] = {kind.kind: kind for kind in (Dense,)}
"""Every kind of layer by its name."""


def layers_of(sizes: tuple[int, ...]) -> list[Layer]:
    """The layers of weights of a network with these numbers of nodes, inputs first."""
    return [Dense(fan_in, nodes) for fan_in, nodes in pairwise(sizes)]
