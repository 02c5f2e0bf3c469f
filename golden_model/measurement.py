"""The forward passes of a step: from the sample and a draw of perturbations to costs."""

from __future__ import annotations

import numpy as np

from mgd.golden_model.activations import activate
from mgd.golden_model.forward import accumulator_units, output_values, pre_activation
from mgd.golden_model.imperfections import ImperfectHardware
from mgd.golden_model.layers import layers_of
from mgd.golden_model.network import Network
from mgd.golden_model.passes import BASELINE_AND_FORWARD, FORWARD, Passes
from mgd.golden_model.settings import Settings


class Measurement:
    """Measures costs for several seeds, and stores the inputs that updates use.

    layer_inputs: per layer (seeds, inputs) of the pass that its update goes by.  nonzero: per layer
    whether an input (seeds, inputs) was not 0 in one of the passes that the cost change is made
    of; stored only where updates need it (Settings.gates_inputs).  saturations: activations that
    left their format, per seed.
    """

    def __init__(
        self,
        network: Network,
        settings: Settings,
        seeds: int,
        hardware: ImperfectHardware | None = None,
    ) -> None:
        self.network = network
        self.settings = settings
        self.hardware = hardware
        self.layers = layers_of(network.layers)
        trained = [numbers is not None for numbers in settings.numbering(network)]
        self.passes = Passes(trained, settings.by_layer)
        self.saturations = np.zeros(seeds, dtype=np.int64)
        self.layer_inputs: list[np.ndarray] = []
        self._gates = settings.gates_inputs
        nothing = [np.zeros((seeds, k.parameters[1]), dtype=bool) for k in self.layers]
        self.nonzero, self._baseline_nonzero = nothing, list(nothing)

    def costs(
        self,
        kind: str,
        weights: list[np.ndarray],
        draw: list[np.ndarray | None],
        x: np.ndarray,
        labels: np.ndarray,
    ) -> np.ndarray:
        """Costs (passes, seeds) of the passes of that kind; they share the first layer's sums.

        weights: per layer (seeds, nodes, inputs); draw: the perturbation's values per layer, None
        for one that is not trained; x: the first layer's inputs (seeds, inputs); labels: (seeds,).
        """
        net, s, last = self.network, self.settings, self.network.depth - 1
        passes = self.passes.of(kind)
        exp = s.delta_exp + s.value_frac
        x = x[..., None]
        layer_inputs = []
        for number, (layer, values) in enumerate(zip(self.layers, draw, strict=True)):
            layer_inputs.append(x[..., min(passes.own[number], x.shape[-1] - 1)])
            if self._gates:
                self._note_nonzero(kind, number, x)
            used = weights[number]
            if self.hardware is not None:
                used = self.hardware.used(number, used)
            base = accumulator_units(layer.sums(used, x), net)
            moved: np.ndarray | int = 0
            if values is not None:
                moved = s.learning.perturbation_sums(layer, values, x)
            z = pre_activation(base, moved, passes.factors[number], exp, net)
            if self.hardware is not None:
                z = self.hardware.neurons(number, z, axis=1)
            if number < last:
                y, over = activate(net.hidden, z, net.pre_frac)
                x = self.layers[number + 1].inputs(y, axis=1)
            else:
                y, over = output_values(z, net)
            if over.any():
                self.saturations += over.sum(axis=(1, 2))
        if kind != FORWARD:
            self.layer_inputs = layer_inputs
        repeated = np.repeat(labels[:, None], y.shape[-1], axis=1)
        found = net.cost_kind.exact(np.swapaxes(y, 1, 2), repeated, net).T
        return found if self.hardware is None else self.hardware.costs(found)

    def _note_nonzero(self, kind: str, number: int, x: np.ndarray) -> None:
        """Note for layer `number` which inputs x (seeds, inputs, passes) are not 0 in a pass that
        D is made of; C0's count for all D that are made of it."""
        used = x if x.shape[-1] == 1 else x[..., self.passes.of(kind).measuring[number]]
        found = (used != 0).any(axis=-1)
        if kind == BASELINE_AND_FORWARD:
            self._baseline_nonzero[number] = x[..., 0] != 0
        elif kind == FORWARD:
            found |= self._baseline_nonzero[number]
        self.nonzero[number] = found
