"""How a spatial core is built, and the widths of its signals."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from mgd.golden_model.network import ONE, signed_bits
from mgd.golden_model.settings import Settings
from mgd.protocol.fixed_settings import constant_fields, longest
from mgd.protocol.layout.spatial import SpatialLayout
from mgd.protocol.record import word_widths
from mgd.rtl.folded.config import change_bits


@dataclass(frozen=True)
class SpatialConfig(SpatialLayout):
    """A spatial core's layout, its DSP blocks and carry cells, and the widths that follow.

    Raises UserError as SpatialLayout does.
    """

    product_dsp: bool = True
    """Weights times activations in DSP blocks; else in logic."""
    table_dsp: bool = True
    """So the products of the piecewise linear functions and the squares of the cost."""
    share_dsp: bool = True
    """So the products D·x of node perturbation."""
    ccu2c: bool = False
    """Accumulators add in the ECP5's carry cells, which only a netlist can show."""

    @classmethod
    def of_layout(cls, layout: SpatialLayout, **options: Any) -> SpatialConfig:
        """The core with this layout; options: the other fields."""
        if isinstance(layout, cls):
            return layout
        return cls(**{f.name: getattr(layout, f.name) for f in fields(SpatialLayout)}, **options)

    def longest(self, name: str, most: int) -> int:
        """The largest value of a time constant, of `most` where it is a register."""
        return longest(self.fixed, name, most)

    @property
    def constants(self) -> dict[str, int]:
        """The fixed settings, as fields of rtl.interface.SETTINGS_LAYOUT."""
        return constant_fields(self.fixed)

    @property
    def passes(self) -> int:
        """Perturbed passes side by side."""
        return 2 if self.antithetic else 1

    @property
    def planes(self) -> int:
        """Clocks in which a sample's codes enter, a bit of each in every one; a pipelined core
        takes all bits at once."""
        return 1 if self.pipelined else self.network.sample_bits

    @property
    def gated_codes(self) -> bool:
        """Whether an input code is one bit, 0 or 2^input_shift."""
        return self.network.sample_bits == 1 and not self.network.sample_signed

    def nodes_before(self, layer: int) -> int:
        """Number of a layer's first neuron among all."""
        return sum(self.network.layers[1 : layer + 1])

    @property
    def word_widths(self) -> list[int]:
        """Bits that are used of each word of a sample's record (protocol.record.word_widths)."""
        return word_widths(self.network)

    # -- widths -----------------------------------------------------------------------------
    # Those of golden_model.network.Network hold for any layer, input and method; here each layer
    # has its own, narrower ones, and so do the constants of the build.

    def input_bound(self, layer: int) -> int:
        """Largest |x| that enters a layer of weights."""
        net = self.network
        if layer:
            return net.input_bound(layer)
        return max(-net.code_min, net.code_max) << self.input_shift

    def sum_bits(self, layer: int) -> int:
        """Width of the perturbed sums of a layer, in accumulator units."""
        return _signed(self._layer_bound(layer))

    def acc_bits(self, layer: int) -> int:
        """Width of a layer's sums of products in weight units (no perturbation)."""
        net = self.network
        return _signed(self._layer_bound(layer) >> (net.grid_frac - net.weight_frac))

    def sign_sum_bits(self, layer: int) -> int:
        """Width of Σ s·x over the inputs and the bias of a layer's neuron."""
        return _signed(self.network.layers[layer] * self.input_bound(layer) + ONE)

    def pre_bits(self, layer: int) -> int:
        """Width of a layer's pre-activations."""
        return _signed((self._layer_bound(layer) >> self.network.pre_shift) + 1)

    def _layer_bound(self, layer: int) -> int:
        return self.network.layer_bound(layer, self.input_bound(layer))

    @property
    def delta_bound(self) -> int:
        """Largest |D|: C⁺ − C⁻, or twice C − C0."""
        return self.network.cost_bound * (1 if self.antithetic else 2)

    @property
    def delta_bits(self) -> int:
        """Width of D."""
        return _signed(self.delta_bound)

    @cached_property
    def contribution_bound(self) -> int:
        """Largest |contribution| to an accumulator: D, or D·x rounded."""
        if not self.nodes:
            return self.delta_bound
        return -(-self.delta_bound * self.x_bound // ONE)

    @cached_property
    def x_bound(self) -> int:
        """Largest |x| of a synapse, the bias among them."""
        return max(ONE, *(self.input_bound(k) for k in range(self.network.depth)))

    @property
    def align_max(self) -> int:
        """Largest shift_high − S."""
        return self.shift_high - self.shift_low

    @cached_property
    def share_bits(self) -> int:
        """Width of what a step broadcasts: a contribution at its place in G, or a change."""
        net = self.network
        if not net.accumulators:
            return self.change_bits
        return _signed(self.contribution_bound) + self.align_max

    @property
    def change_bits(self) -> int:
        """rtl.folded.config.change_bits() of the network."""
        return change_bits(self.network)

    @cached_property
    def gradient_bits(self) -> int:
        """Width of an accumulator; 0 where there is none."""
        net = self.network
        if not net.accumulators:
            return 0
        window = net.tau_theta_max * self.contribution_bound << self.align_max
        # What a window leaves, what it adds, and the weight that is taken from both in its place.
        weight = 1 << (net.weight_bits - 1)
        return _signed((1 + weight << self.shift_high) + window)

    def gradient_scale(self, settings: Settings) -> int:
        """An accumulator holds G times this."""
        return 1 << (self.shift_high - settings.shift(self.network))


def _signed(bound: int) -> int:
    """Bits of a signed number of at most this size."""
    return signed_bits(-bound, bound)
