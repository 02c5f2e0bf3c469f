"""How a network is laid out in a folded core: what a lane holds, and where.

Lane p computes the neurons p, p+P, p+2P, … of every layer, one group of P neurons at a time.
A group is one sweep over the inputs of its layer, the bias last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from amaranth import Shape, unsigned

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ACT_FRAC, DELTA_EXP_MAX, Network
from mgd.golden_model.perturbations import FAMILIES
from mgd.golden_model.perturbations.waves import Waves, phase_bits
from mgd.golden_model.settings import METHODS, Settings
from mgd.protocol.build_options import FIELDS, PLAIN, Variant, shown
from mgd.rtl.fixed_settings import (
    Fixed,
    check_fixed,
    check_settings,
    fixed_of_words,
    fixed_words,
    longest,
)
from mgd.rtl.units.activation import has_table
from mgd.rtl.units.activations import KINDS, Tabulated

NONZERO_WORD = 8
"""Inputs that rtl.folded.nonzero_inputs looks at in a clock."""


def change_bits(network: Network) -> int:
    """Width of a weight change.  It is limited to ±2^weight_bits or more: that moves any weight
    beyond its range, so that clipping and its count are those of the exact change."""
    return network.weight_bits + 2


class CoreLayout(Protocol):
    """What host and link must know of a core, whichever it is."""

    @property
    def network(self) -> Network: ...

    @property
    def lanes(self) -> int: ...

    @property
    def lane_words(self) -> int: ...

    @property
    def host_gradient_bits(self) -> int:
        """Width of the accumulators that the host may access; 0 where it may access none."""
        ...

    @property
    def record_stride(self) -> int: ...

    @property
    def variant(self) -> Variant: ...

    @property
    def fixed(self) -> Fixed: ...

    @property
    def wiring(self) -> tuple[int, ...]: ...

    def to_lanes(self, weights: list[np.ndarray]) -> np.ndarray: ...

    def from_lanes(self, memory: np.ndarray) -> list[np.ndarray]: ...


@dataclass(frozen=True)
class CoreConfig:
    """A network and the number of lanes it is folded onto.

    Raises UserError where the lanes are out of range, or where what is to be fixed cannot be.
    """

    network: Network
    lanes: int = 8
    shared_dsps: int = 4
    """DSP blocks that the lanes leave to the other units: two for the broadcast if there are two
    or more, then one for the cost (or the shared tables) and one for the activation: so they save
    the most.  A unit without makes its products in logic."""

    mac16: bool = False
    """Lanes accumulate in the iCE40's DSP blocks (rtl.lib.mac16), which only a netlist can show."""

    memory_register: bool = True
    """A register follows each of the lanes' memories, a weight's sum with its share, the
    broadcast's product, the position in an activation's table, and an output's pre-activation on
    its way to the cost.  Without, the lanes' address has one, which is once for all lanes: smaller,
    and on an iCE40 no slower than the rest."""

    table_memory: bool = False
    """The activation's tables, which the cost may share, are in block RAM, else in logic."""

    fixed: Fixed = ()
    """Settings (protocol.link_protocol.FIXABLE) that are wiring: (name, value) of each; see
    fixed_settings. What only another value needs is not built."""

    variant: Variant = PLAIN
    """Which of the family of methods it is built for."""

    def __post_init__(self) -> None:
        self.variant.layers(self.network)
        widest = max(self.network.layers[1:])
        if not 1 <= self.lanes <= 256:
            raise UserError(f"lanes = {self.lanes}: must be between 1 and 256")
        if self.lanes > widest:
            raise UserError(
                f"lanes = {self.lanes}: the widest layer of {self.network.describe()} has {widest} "
                "neurons, more lanes would never work; lower lanes"
            )
        if self.fixed and self.variant != PLAIN:
            names = ", ".join(name for name, _ in self.fixed)
            other = next(
                f.name for f in FIELDS if getattr(self.variant, f.name) != getattr(PLAIN, f.name)
            )
            raise UserError(
                f"fixed = {names} with {other} = {shown(getattr(self.variant, other))}: a core "
                "that is built for that has no setting fixed; leave fixed out"
            )
        if self.variant.value_frac and not self.network.accumulators:
            raise UserError(
                f"perturbation = {self.variant.perturbation!r} on a core without accumulators: its "
                "values are parts of a sign, which whole weight units do not have; set "
                "accumulators = true in the task's [core] section"
            )
        for name in ("momentum_exp", "decay_exp"):
            if not self.network.accumulators and (value := getattr(self.variant, name)):
                raise UserError(
                    f"{name} = {value} without accumulators: it works on what they hold; "
                    "set accumulators = true in the task's [core] section"
                )
        check_fixed(self.fixed)

    # -- what is wiring ---------------------------------------------------------------------

    @cached_property
    def _is_fixed(self) -> dict[str, str | int]:
        return dict(self.fixed)

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that the core has: 'wp' and 'np', or the one that is fixed."""
        return (str(self._is_fixed["method"]),) if "method" in self._is_fixed else METHODS

    @property
    def nodes_only(self) -> bool:
        """Whether it perturbs nodes and never weights: Σ s·x is then ±1.0, the bias' sign."""
        return self.methods == ("np",)

    @property
    def weights_only(self) -> bool:
        """Whether it perturbs weights and never nodes: every input has the share of a bias."""
        return self.methods == ("wp",)

    @property
    def fixed_rate(self) -> bool:
        """Whether the update shift S is wiring, but for the choice of the rounding."""
        return {"delta_exp", "eta_exp"} <= self._is_fixed.keys()

    def longest(self, name: str, most: int) -> int:
        """The largest value of a time constant, of `most` where it is a register."""
        return longest(self.fixed, name, most)

    def check(self, settings: Settings) -> None:
        """Raise UserError where the core that is built cannot take these settings."""
        check_settings(self.fixed, settings)
        if settings.update_delay:
            raise UserError(
                f"updates that are {settings.update_delay} steps late (schedule = 'pipelined') on "
                "a folded core: it makes each update in the sweep of the next step; use core = "
                "'spatial', or schedule = 'sequential'"
            )

    @property
    def wiring(self) -> tuple[int, ...]:
        """What the host must know besides network and lanes: nothing, or a number for each of
        protocol.link_protocol.FIXABLE."""
        return fixed_words(self.fixed)

    @classmethod
    def wired(
        cls, network: Network, lanes: int, wiring: Sequence[int], variant: Variant = PLAIN
    ) -> CoreConfig:
        """The inverse of `wiring`: the core that a board says it holds."""
        return cls(network, lanes, fixed=fixed_of_words(wiring), variant=variant)

    # -- DSP blocks beside the lanes' ----------------------------------------------------------

    @property
    def broadcast_dsp(self) -> bool:
        return self.shared_dsps >= 2

    @property
    def cost_dsp(self) -> bool:
        return self.shared_dsps == 1 or self.shared_dsps >= 3

    @property
    def shared_tables(self) -> bool:
        """Whether activation and cost have one interpolator.  They never want it in the same clock:
        the cross-entropy begins behind the last output, which comes after all hidden nodes' values,
        and the next of those only when its result is there."""
        net = self.network
        tabulated = isinstance(KINDS[net.hidden], Tabulated)
        return net.cost == "cross_entropy" and net.depth > 1 and tabulated

    @property
    def position_register(self) -> bool:
        """Whether rtl.units.activation.Activation has that register: the table is far from the
        sums."""
        return self.memory_register and has_table(self.network)

    @property
    def operand_clocks(self) -> int:
        """Registers of a lane's own in front of its multiplier and of its sum of signs: x reaches
        more than eight lanes in no less than a clock."""
        return int(self.memory_register and self.lanes > 8)

    @property
    def cost_register(self) -> bool:
        """Whether there is one in front of the cost: where it reads pre-activations it begins with
        a comparison, which decides what many registers do."""
        return self.memory_register and self.network.reads_sums

    @property
    def activation_dsp(self) -> bool:
        return self.shared_dsps >= 4

    # -- weights ----------------------------------------------------------------------------

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Groups of neurons per layer of weights."""
        return tuple(-(-n // self.lanes) for n in self.network.layers[1:])

    @cached_property
    def first_group(self) -> tuple[int, ...]:
        """Number of each layer's first group, counted through the whole network."""
        return tuple(sum(self.groups[:k]) for k in range(self.network.depth))

    @cached_property
    def first_word(self) -> tuple[int, ...]:
        """Address in a lane's weight memory of each layer's first weight."""
        sizes = [g * (f + 1) for g, f in zip(self.groups, self.network.layers, strict=False)]
        return tuple(sum(sizes[:k]) for k in range(self.network.depth))

    @property
    def lane_words(self) -> int:
        """Weights per lane."""
        return sum(g * (f + 1) for g, f in zip(self.groups, self.network.layers, strict=False))

    @cached_property
    def phase_bits(self) -> int:
        """Bits of the phase that each weight has beside it; 0 where the perturbation is no wave."""
        if not issubclass(FAMILIES[self.variant.perturbation], Waves):
            return 0
        settings = Settings(method="wp", trainable=self.variant.trainable)
        return max(phase_bits(n.total) for n in settings.numbering(self.network) if n is not None)

    def active(self, layer: int, group: int) -> int:
        """Lanes that hold a neuron in this group of this layer."""
        return min(self.lanes, self.network.layers[layer + 1] - group * self.lanes)

    @cached_property
    def group_table(self) -> tuple[dict[str, int], ...]:
        """Of each group, counted through the whole network: its `layer`; `node`, its first
        one among all hidden nodes or the outputs; `active`; `last` of its layer; `output`, of the
        last layer."""
        return tuple(
            {
                "node": (self.hidden_offset(layer) if layer < self.network.depth - 1 else 0)
                + group * self.lanes,
                "active": self.active(layer, group),
                "last": int(group == groups - 1),
                "output": int(layer == self.network.depth - 1),
                "layer": layer,
            }
            for layer, groups in enumerate(self.groups)
            for group in range(groups)
        )

    def to_lanes(self, weights: list[np.ndarray]) -> np.ndarray:
        """Weights per layer (nodes, fan_in+1) to the lanes' memories (lanes, lane_words)."""
        memory = np.zeros((self.lanes, self.lane_words), dtype=np.int64)
        for layer, w in enumerate(weights):
            nodes, width = w.shape
            padded = np.zeros((self.groups[layer] * self.lanes, width), dtype=np.int64)
            padded[:nodes] = w
            by_group = padded.reshape(self.groups[layer], self.lanes, width)
            start = self.first_word[layer]
            stop = start + self.groups[layer] * width
            memory[:, start:stop] = by_group.transpose(1, 0, 2).reshape(self.lanes, -1)
        return memory

    def from_lanes(self, memory: np.ndarray) -> list[np.ndarray]:
        """Inverse of to_lanes."""
        weights = []
        for layer, nodes in enumerate(self.network.layers[1:]):
            width = self.network.layers[layer] + 1
            start = self.first_word[layer]
            stop = start + self.groups[layer] * width
            by_group = memory[:, start:stop].reshape(self.lanes, self.groups[layer], width)
            weights.append(by_group.transpose(1, 0, 2).reshape(-1, width)[:nodes])
        return weights

    def place(self, lane: int, word: int) -> tuple[int, int, int]:
        """(layer, node, input) of a weight, each from 0."""
        net = self.network
        layer = max(k for k in range(net.depth) if self.first_word[k] <= word)
        group, position = divmod(word - self.first_word[layer], net.layers[layer] + 1)
        return layer, group * self.lanes + lane, position

    @property
    def record_stride(self) -> int:
        """16-bit words from one sample's record to the next."""
        return self.network.sample_words

    @property
    def gradient_bits(self) -> int:
        """Width of an accumulator; 0 where there is none."""
        return self.network.gradient_bits

    @property
    def host_gradient_bits(self) -> int:
        """Width of the accumulators that the host may access: all of them."""
        return self.network.gradient_bits

    @property
    def gate_words(self) -> int:
        """Bits of rtl.folded.input_gate: two sets of one for each hidden node; 0 where there is no
        gate."""
        if not self.variant.gate_zeros:
            return 0
        return 2 << (max(self.hidden_nodes, 2) - 1).bit_length()

    @property
    def nonzero_words(self) -> int:
        """Words of rtl.folded.nonzero_inputs, of NONZERO_WORD bits: room for four samples; 0 where
        it is not built."""
        if not self.variant.skip_zeros:
            return 0
        return 4 << (self.network.layers[0] // NONZERO_WORD).bit_length()

    # -- sums -------------------------------------------------------------------------------

    @property
    def sum_cut(self) -> int:
        """Low bits of a sum of products that stay in the lane: below what a pre-activation holds,
        where the perturbation has no bits there either.  All of a weight is above them."""
        if not self.nodes_only:
            return 0
        net = self.network
        cut = min(net.pre_shift, ACT_FRAC + net.grid_frac - DELTA_EXP_MAX)
        return min(cut - (net.grid_frac - net.weight_frac), ACT_FRAC)

    @property
    def sum_start(self) -> int:
        """Where a sum of products begins: half of a pre-activation's unit, which rounds it."""
        net = self.network
        return 1 << (net.pre_shift - 1 - (net.grid_frac - net.weight_frac))

    @property
    def out_bits(self) -> int:
        """Width of a sum of products as it leaves its lane."""
        return self.network.acc_bits - self.sum_cut

    @property
    def sign_sum_bits(self) -> int:
        """Width of Σ s·x, in units of the values' last bit; with node perturbation alone of its
        sign, 1 for −1.0."""
        if self.nodes_only:
            return 1
        return self.network.sign_sum_bits + self.variant.value_frac

    @property
    def value_clocks(self) -> int:
        """Clocks for products with the perturbation's values; 0 where these are signs."""
        return 1 if self.variant.value_frac else 0

    # -- activations ------------------------------------------------------------------------

    @property
    def hidden_nodes(self) -> int:
        return sum(self.network.layers[1:-1])

    def hidden_offset(self, layer: int) -> int:
        """Where the outputs of hidden layer `layer` start among all hidden activations."""
        return sum(self.network.layers[1 : layer + 1])

    @property
    def plus_words(self) -> int:
        """Activation memory of the first pass: three samples, two sets of hidden activations.

        Three samples: the one in use, the one before (its update rides on this step's
        sweep) and the next one, being loaded.
        """
        return 3 * self.network.layers[0] + 2 * self.hidden_nodes

    @property
    def cost_shape(self) -> Shape:
        """A training cost as it is measured."""
        return unsigned(self.network.cost_bits)

    @property
    def change_bits(self) -> int:
        """change_bits() of the network."""
        return change_bits(self.network)

    @property
    def share_bits(self) -> int:
        """Width of the broadcast share: a weight change, or a contribution to an accumulator."""
        if self.network.accumulators:
            return max(self.change_bits, self.network.contribution_bits)
        return self.change_bits

    @property
    def lane_share_bits(self) -> int:
        """Width of a lane's own share: of the broadcast one times its perturbation's value."""
        return self.share_bits + self.variant.value_frac
