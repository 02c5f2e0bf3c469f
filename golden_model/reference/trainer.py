"""Multiplexed gradient descent in float64, beside the fixed-point trainer.

McCaughan et al. 2023 (APL Machine Learning 1, 026118) and Oripov et al. 2025, Algorithm 1, with
the perturbations and the schedule of golden_model.trainer.Trainer, but without rounding,
saturation or tables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mgd.golden_model.network import Network
from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.reference.network import cost, forward
from mgd.golden_model.samples.nonzero import nonzero_signs
from mgd.golden_model.samples.order import SampleOrder
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.golden_model.update.adam import averaging_exp


class FloatTrainer:
    """Multiplexed gradient descent in float64, all arrays with the seeds as first axis.

    Draws, samples and updates happen at the steps at which Trainer has them, with the same
    perturbations; settings.rounding and the widths of `network` mean nothing here.

    x: (samples, inputs); labels: (samples,); weights: per layer (seeds, nodes, fan_in + 1),
    float64; order: (seeds, samples) permutations, or None for the order given.
    """

    def __init__(
        self,
        network: Network,
        settings: Settings,
        x: np.ndarray,
        labels: np.ndarray,
        weights: list[np.ndarray],
        seeds: Sequence[int],
        order: np.ndarray | None = None,
    ) -> None:
        self.network = network
        self.settings = settings
        self.x = np.asarray(x, dtype=np.float64)
        self.labels = np.asarray(labels, dtype=np.int64)
        self.order = (
            np.tile(np.arange(len(self.labels)), (len(seeds), 1)) if order is None else order
        )
        self.weights = [np.array(w, dtype=np.float64) for w in weights]
        self.accumulators = [np.zeros_like(w) for w in self.weights]
        """Σ ΔC·s/δ (·x_j for node perturbation, unless nodes sum up) since the last update:
        tau_theta times G."""
        numbering = settings.numbering(network)
        self.perturbation = PERTURBATIONS[settings.perturbation](network, numbering, seeds)
        trained = [layer for layer, numbers in enumerate(numbering) if numbers is not None]
        states = [start_state(s) for s in seeds]
        self.sample_order = SampleOrder(
            settings.sample_order, network, states, len(self.labels), settings.window
        )
        self._trained = trained
        self._groups = [[layer] for layer in trained] if settings.by_layer else [trained]
        self.delta = 2.0**-settings.delta_exp
        self.step_number = 0
        self.means = [np.zeros_like(w) for w in self.weights]
        self.squares = [np.zeros_like(w) for w in self.weights]
        self._changes = 0
        self._drawn: list[np.ndarray] = []
        self.draw: list[np.ndarray] = []
        """The draw of this step, matched to the sample: per layer (seeds, nodes, inputs or 1)."""
        self._sample = np.zeros(len(seeds), dtype=np.int64)
        self._baseline = np.zeros(len(seeds))
        self._before = np.zeros(len(seeds))
        self._filtered = np.zeros(len(seeds))
        self._inputs: list[np.ndarray] = []
        self._update_inputs: dict[int, np.ndarray] = {}
        """Per layer those of the pass that the update of its last step uses."""
        self._weights_changed = True

    def step(self) -> np.ndarray:
        """One step; returns ΔC, (seeds,), or (trained layers, seeds) for scope = "layer"."""
        s, t = self.settings, self.step_number
        new_sample = t % s.tau_x == 0
        if new_sample:
            self._sample = self.order[np.arange(len(self.order)), self.sample_order.take()]
        if t % s.tau_p == 0:
            unit = 2.0**-s.value_frac
            # Layers that are not trained are never read.
            self._drawn = [np.zeros(0) if v is None else v * unit for v in self.perturbation.draw()]
        if new_sample or t % s.tau_p == 0:
            self.draw = list(self._drawn)
            if s.skips_inputs and 0 in self._trained:
                x = self.x[self._sample]
                self.draw[0] = nonzero_signs(self.draw[0], np.insert(x, x.shape[1], 1.0, axis=1))
        if s.difference == "forward" and (new_sample or self._weights_changed):
            self._baseline, self._inputs = self._cost(0, [])
        changes = [self._measure(group) for group in self._groups]
        self._weights_changed = (t + 1) % s.tau_theta == 0
        if self._weights_changed:
            self._changes += 1
            for layer in self._trained:
                self._change(layer, 2.0 ** -(s.eta_exp + s.slowed(t)))
        self.step_number += 1
        return np.array(changes) if s.by_layer else changes[0]

    def train(self, until_step: int) -> None:
        """Steps up to number `until_step`."""
        while self.step_number < until_step:
            self.step()

    def _measure(self, group: list[int]) -> np.ndarray:
        """ΔC with the layers of `group` perturbed; their accumulators take their update terms."""
        s = self.settings
        if s.antithetic:
            plus, self._inputs = self._cost(+1, group)
            minus, others = self._cost(-1, group)
            change = (plus - minus) / 2
        elif s.continuous:
            plus, self._inputs = self._cost(+1, group)
            others = self._inputs
            before = plus if self.step_number == 0 else self._before
            self._filtered = (1 - 2.0**-s.highpass_exp) * (self._filtered + plus - before)
            self._before, change = plus, self._filtered
        else:
            plus, others = self._cost(+1, group)
            change = plus - self._baseline
        for layer in group:
            term = (change / self.delta)[:, None, None] * self.draw[layer]
            self._update_inputs[layer] = self._inputs[layer]
            if s.learning.reads_inputs and not s.by_node:
                term = term * self._inputs[layer][:, None, :]
            elif s.gate_zeros:
                term = term * ((self._inputs[layer] != 0) | (others[layer] != 0))[:, None, :]
            self.accumulators[layer] += term
        return change

    def _change(self, layer: int, rate: float) -> None:
        """Apply a layer's accumulators to its weights."""
        s, w, g = self.settings, self.weights[layer], self.accumulators[layer]
        if s.by_node:
            w -= rate * g * self._update_inputs[layer][:, None, :]
            g[:] = 0.0
            return
        if s.adam:
            m, v = self.means[layer], self.squares[layer]
            m += (g - m) * 2.0 ** -averaging_exp(self._changes, s.adam_mean_exp)
            v += (g**2 - v) * 2.0 ** -averaging_exp(self._changes, s.adam_square_exp)
            w -= rate * m / np.sqrt(np.where(v > 0, v, 1.0))
            g[:] = 0.0
            return
        if s.decay_exp:
            g += w * 2.0**-s.decay_exp / rate
        applied = g * 2.0**-s.momentum_exp
        w -= rate * applied
        g -= applied

    def _cost(self, factor: int, group: list[int]) -> tuple[np.ndarray, list[np.ndarray]]:
        weights = list(self.weights)
        added = [np.zeros(w.shape[:2]) for w in weights]
        for layer in group:
            displacement = factor * self.delta * self.draw[layer]
            weights[layer], added[layer] = self.settings.learning.displaced(
                weights[layer], displacement
            )
        result = forward(weights, self.x[self._sample], self.network, added)
        return cost(result.outputs, self.labels[self._sample], self.network), result.inputs
