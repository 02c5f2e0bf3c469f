"""What is fixed when a spatial core is built, and the widths that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ONE, Network, signed_bits
from mgd.golden_model.settings import PIPELINED, Settings, schedule_of
from mgd.protocol.build_options import PLAIN, Variant, shown
from mgd.protocol.link_protocol import WIRING
from mgd.rtl.fixed_settings import (
    Fixed,
    check_fixed,
    check_settings,
    fixed_of_words,
    fixed_words,
    longest,
)
from mgd.rtl.folded.config import change_bits

PARAMETERS_MAX = 4096
"""Far beyond what an FPGA holds: a mistake is told before it takes all memory."""
FIXABLE = ("delta_exp", "eta_exp", "tau_x", "tau_p", "tau_theta")
"""Settings that are registers here, and may be wiring instead (protocol.link_protocol.FIXABLE)."""
FOLDED_ONLY = {
    "scope": "it measures all layers' changes at once, in one clock",
    "perturbation": "its synapses have random signs",
    "gate_zeros": "its synapses do not keep whether they had an input",
    "skip_zeros": "it visits no weight by itself, and has nothing to skip",
    "sample_order": "its samples follow each other in memory",
    "difference": "it has no filter for its costs",
    "momentum_exp": "its synapses take all that their accumulators have",
    "decay_exp": "its synapses take all that their accumulators have",
}
"""Settings of which it has the default alone, and why."""


@dataclass(frozen=True)
class SpatialConfig:
    """A network in space: every synapse is a lane of its own, with one word.

    The method, the difference and the place of the inputs' binary point are wiring here, and of
    the update shift S only `shift_low` to `shift_high` is there; all else stays a register, but
    for what is `fixed`.
    Raises UserError where the network is too large.
    """

    network: Network
    nodes: bool
    """Node perturbation; else weight perturbation."""
    antithetic: bool
    """Two passes side by side; else one, and C0 takes a clock of its own."""
    input_shift: int
    shift_low: int
    shift_high: int
    """0 or more: the accumulators hold G·2^(shift_high − S), so that the part that a weight
    takes is always the same bits.  Without accumulators any S goes."""
    product_dsp: bool = True
    """Weights times activations in DSP blocks; else in logic."""
    table_dsp: bool = True
    """So the products of the piecewise linear functions and the squares of the cost."""
    share_dsp: bool = True
    """So the products D·x of node perturbation."""
    ccu2c: bool = False
    """Accumulators add in the ECP5's carry cells, which only a netlist can show."""
    variant: Variant = PLAIN
    """Which of the family of methods it is built for."""
    fixed: Fixed = ()
    """Which of FIXABLE are wiring, too; what only another value needs is not built."""
    update_delay: int = 0
    """Settings.update_delay.  0: a window waits for the update of the one before.  Else it never
    waits, and this is what rtl.spatial.timing.update_delay gives."""

    def __post_init__(self) -> None:
        self.variant.layers(self.network)
        check_fixed(self.fixed, FIXABLE)
        count = self.network.parameters
        if count > PARAMETERS_MAX:
            raise UserError(
                f"core = 'spatial': {self.network.describe()} has {count:,} parameters, each "
                f"would be a circuit of its own, and {PARAMETERS_MAX:,} are the limit; use the "
                "folded core, which takes its weights from memory"
            )

    @classmethod
    def of(
        cls, network: Network, settings: Settings, fixed: Fixed = (), **options: bool
    ) -> SpatialConfig:
        """The core for a network with these settings, and others of the same update shift S.

        fixed: what is wiring beside; what is so in every spatial core may be among it.
        """
        shift = settings.shift(network)
        cls._check_rate(network, settings)
        if network.accumulators and not settings.accumulates:
            raise UserError(
                "core = 'spatial' with accumulators and rounding = 'stochastic': its weights take "
                "from their accumulators alone; use rounding = 'residual', or accumulators = false"
            )
        return cls(
            network,
            nodes=settings.perturbs_nodes,
            antithetic=settings.antithetic,
            input_shift=settings.input_shift,
            shift_low=shift,
            shift_high=max(shift, 0),
            variant=cls._variant(settings),
            fixed=tuple(pair for pair in fixed if pair[0] in FIXABLE),
            update_delay=settings.update_delay,
            **options,
        )

    def check(self, settings: Settings) -> None:
        """Raise UserError where the core that is built cannot take these settings."""
        shift = settings.shift(self.network)
        for name, built, wanted in (
            ("method", "np" if self.nodes else "wp", settings.method),
            ("difference", "antithetic" if self.antithetic else "forward", settings.difference),
            ("input_shift", self.input_shift, settings.input_shift),
            (
                "rounding",
                "residual" if self.network.accumulators else "stochastic",
                settings.rounding,
            ),
        ):
            if built != wanted:
                raise UserError(
                    f"{name} = {wanted!r}: this spatial core was built for {built!r}, which is "
                    "wiring there; build it for this task, or use a folded core, which takes both"
                )
        built, wanted = self.schedule, settings.schedule
        if built != wanted:
            raise UserError(
                f"schedule = {wanted!r}: this spatial core was built for {built!r}, which is "
                f"wiring there; build it for this task, or train with schedule = {built!r}"
            )
        if self.update_delay != settings.update_delay:
            raise UserError(
                f"schedule = 'pipelined': the updates of this spatial core are {self.update_delay} "
                f"steps late, this task's would be {settings.update_delay}, which changes what is "
                "learnt; build it for this task, with this version of the program"
            )
        self.variant.check(settings)
        check_settings(self.fixed, settings)
        self._check_rate(self.network, settings)
        if self.network.accumulators and not self.shift_low <= shift <= self.shift_high:
            raise UserError(
                f"eta_exp = {settings.eta_exp} with delta_exp = {settings.delta_exp} makes an "
                f"update shift of {shift}; this spatial core was built for {self.shift_low} to "
                f"{self.shift_high}: change both together, or build it for this task"
            )

    @staticmethod
    def _variant(settings: Settings) -> Variant:
        variant = Variant.of(settings)
        for name, why in FOLDED_ONLY.items():
            if getattr(variant, name) != getattr(PLAIN, name):
                raise UserError(
                    f"{name} = {shown(getattr(settings, name))} with core = 'spatial': {why}; use "
                    f"the folded core, or {name} = {shown(getattr(Settings, name))}"
                )
        return variant

    @staticmethod
    def _check_rate(network: Network, settings: Settings) -> None:
        for name in ("halve_every", "warmup_exp"):
            if network.accumulators and (value := getattr(settings, name)):
                raise UserError(
                    f"{name} = {value}: the accumulators of a spatial core hold what the weights "
                    "leave over in units of one learning rate, so it cannot change in a run; use "
                    f"the folded core, rounding = 'stochastic', or leave {name} out"
                )

    def longest(self, name: str, most: int) -> int:
        """The largest value of a time constant, of `most` where it is a register."""
        return longest(self.fixed, name, most)

    @property
    def constants(self) -> dict[str, int]:
        """What is fixed, as fields of rtl.folded.step_control.SETTINGS_LAYOUT."""
        return {name: int(value) for name, value in self.fixed}

    @property
    def pipelined(self) -> bool:
        """Whether a step enters without waiting for any update."""
        return self.schedule == PIPELINED

    @property
    def schedule(self) -> str:
        return schedule_of(self.update_delay)

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

    # -- as the host sees it -----------------------------------------------------------------

    @property
    def lanes(self) -> int:
        """To the host it is one lane, whose words are the weights: layer after layer, neuron
        after neuron, the bias last."""
        return 1

    @property
    def lane_words(self) -> int:
        return self.network.parameters

    def to_lanes(self, weights: list[np.ndarray]) -> np.ndarray:
        """Weights per layer (nodes, fan_in + 1) to (1, lane_words)."""
        return np.concatenate([np.asarray(w, dtype=np.int64).reshape(-1) for w in weights])[None]

    def from_lanes(self, memory: np.ndarray) -> list[np.ndarray]:
        """Inverse of to_lanes."""
        weights, start = [], 0
        for fan_in, nodes in pairwise(self.network.layers):
            stop = start + nodes * (fan_in + 1)
            weights.append(memory[0, start:stop].reshape(nodes, fan_in + 1))
            start = stop
        return weights

    @property
    def host_gradient_bits(self) -> int:
        """0: the host has no way to accumulators, which would take a multiplexer for every bit."""
        return 0

    @property
    def wiring(self) -> tuple[int, ...]:
        """What the host must know besides the network (protocol.link_protocol.WIRING, then
        FIXABLE)."""
        return (*(int(getattr(self, name)) for name in WIRING), *fixed_words(self.fixed))

    @classmethod
    def wired(
        cls, network: Network, wiring: Sequence[int], variant: Variant = PLAIN
    ) -> SpatialConfig:
        """The inverse of `wiring`: the core that a board says it holds."""
        fields = dict(zip(WIRING, wiring, strict=False))
        return cls(
            network,
            nodes=bool(fields["nodes"]),
            antithetic=bool(fields["antithetic"]),
            input_shift=fields["input_shift"],
            shift_low=fields["shift_low"],
            shift_high=fields["shift_high"],
            update_delay=fields["update_delay"],
            variant=variant,
            fixed=fixed_of_words(wiring[len(WIRING) :]),
        )

    def place(self, _lane: int, word: int) -> tuple[int, int, int]:
        """(layer, node, input) of a weight, each from 0."""
        for layer, (fan_in, nodes) in enumerate(pairwise(self.network.layers)):
            if word < nodes * (fan_in + 1):
                return layer, *divmod(word, fan_in + 1)
            word -= nodes * (fan_in + 1)
        raise IndexError(word)

    # -- widths -----------------------------------------------------------------------------
    # Those of golden_model.network.Network hold for any layer, input and method; here each layer
    # has its own, and what is wiring makes them narrower.

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

    @property
    def word_widths(self) -> list[int]:
        """Bits that are used of each 16-bit word of a sample's record: the label, then codes."""
        net = self.network
        inputs, per_word = net.layers[0], net.codes_per_word
        codes = [min(per_word, inputs - k) for k in range(0, inputs, per_word)]
        return [net.label_bits, *(count * net.sample_bits for count in codes)]

    @property
    def record_stride(self) -> int:
        """16-bit words from one sample's record to the next, as the host counts: a power of two,
        so that the number of a record is some of its address' bits."""
        return 1 << max((self.network.sample_words - 1).bit_length(), 1)


def _signed(bound: int) -> int:
    """Bits of a signed number of at most this size."""
    return signed_bits(-bound, bound)
