"""How a folded core is built, and the widths of its signals."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from amaranth import Shape, unsigned

from mgd.golden_model.limits import TAU_MAX
from mgd.golden_model.network import ACT_FRAC, DELTA_EXP_MAX, Network
from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.perturbations.waves import Waves, phase_bits
from mgd.golden_model.settings import METHODS, Settings
from mgd.protocol.fixed_settings import longest
from mgd.protocol.layout.folded import FoldedLayout
from mgd.rtl.units.activation import has_table
from mgd.rtl.units.activations import KINDS, Tabulated

NONZERO_WORD = 8
"""Inputs that rtl.folded.program.nonzero_inputs looks at in a clock."""


def change_bits(network: Network) -> int:
    """Width of a weight change.  It is limited to ±2^weight_bits or more: that moves any weight
    beyond its range, so that clipping and its count are those of the exact change."""
    return network.weight_bits + 2


@dataclass(frozen=True)
class CoreConfig(FoldedLayout):
    """A folded core's layout, its DSP blocks and registers, and the widths that follow.

    Raises UserError as FoldedLayout does.
    """

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

    # -- fixed settings ---------------------------------------------------------------------

    @cached_property
    def _is_fixed(self) -> dict[str, str | int]:
        return dict(self.fixed)

    @property
    def methods(self) -> tuple[str, ...]:
        """Those that the core has: 'wp' and 'np', or the one that is fixed or that sums per node
        need."""
        if self.variant.by_node:
            return ("np",)
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

    @property
    def tau_theta_max(self) -> int:
        """Largest tau_theta: sums per node have room for any."""
        return TAU_MAX if self.variant.by_node else self.network.tau_theta_max

    @property
    def node_sum_bits(self) -> int:
        """Width of a node's sum of ±D over tau_theta_max steps."""
        return self.network.delta_cost_bits + TAU_MAX.bit_length()

    @classmethod
    def of_layout(cls, layout: FoldedLayout, **options: Any) -> CoreConfig:
        """The core with this layout; options: the other fields."""
        if isinstance(layout, cls):
            return layout
        return cls(**{f.name: getattr(layout, f.name) for f in fields(FoldedLayout)}, **options)

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
        and the next of those only when its result is there; with sums per node they come before
        it."""
        if self.variant.by_node:
            return False
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

    @cached_property
    def phase_bits(self) -> int:
        """Bits of the phase that each weight has beside it; 0 where the perturbation is no wave."""
        if not issubclass(PERTURBATIONS[self.variant.perturbation], Waves):
            return 0
        settings = Settings(method="wp", trainable=self.variant.trainable)
        return max(phase_bits(n.total) for n in settings.numbering(self.network) if n is not None)

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

    @property
    def gradient_bits(self) -> int:
        """Width of an accumulator; 0 where there is none."""
        return self.network.gradient_bits

    @property
    def gate_words(self) -> int:
        """Bits of rtl.folded.lanes.input_gate: two sets of one for each hidden node; 0 where there
        is no gate."""
        if not self.variant.gate_zeros:
            return 0
        return 2 << (max(self.hidden_nodes, 2) - 1).bit_length()

    @property
    def nonzero_words(self) -> int:
        """Words of rtl.folded.program.nonzero_inputs, of NONZERO_WORD bits: room for four samples;
        0 where it is not built."""
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
