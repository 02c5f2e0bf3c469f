"""From inputs to perturbed pre-activations: the forward half of a neuron."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from mgd.golden_model.forward import pre_activation
from mgd.golden_model.network import ACT_BITS, ACT_FRAC
from mgd.rtl.lib.adder_tree import add_tree, in_register, tree_latency
from mgd.rtl.lib.arithmetic import add_or_subtract
from mgd.rtl.lib.carry import either_sum, gated_sum
from mgd.rtl.lib.copies import kept_copy
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.product import product
from mgd.rtl.lib.unit import Unit
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.neuron import weights_layout
from mgd.rtl.spatial.sign_windows import sign_leap


def sign_of(value, sign):
    """−value where `sign` is 1."""
    return Mux(sign, -value, value)


class FirstSums(Unit):
    """The first layer: W·x by adders alone, and the perturbation beside it.

    `z` equals golden_model.forward.pre_activation of weighted_sum.  W·x takes the codes bit by
    bit, the highest first: `plane` is a bit of every code, `plane_first` and `plane_last` mark
    the first and the last of them, and no bit of a code is multiplied.  The sum holds until the
    next one is there.  A pipelined core takes all bits at once, from `codes`, and has an adder
    tree for each.  `codes` belong to a step that enters with or after its sample's last
    plane, and so does `unperturbed`, which leaves the perturbation out; the step's `signs` belong
    to the clock SIGNS_AFTER behind.  `z` of the one or two passes leaves `latency` clocks behind
    the codes; `scale` is grid_frac − delta_exp.
    """

    model = staticmethod(pre_activation)
    SIGNS_AFTER = 1
    """Planes and codes come from the one sample for all neurons, and go into registers first."""

    @staticmethod
    def weights_after(config: SpatialConfig) -> int:
        """Clocks from a plane to its weights.  Where a gate is a LUT of its own, the register is
        behind it, so that plane and weights meet at once; but not in a pipelined core, whose
        update_delay, and so its numbers, follow from this."""
        return FirstSums.SIGNS_AFTER if config.ccu2c or config.pipelined else 0

    def __init__(self, config: SpatialConfig) -> None:
        self.config = config
        self.latency = self.latency_of(config)
        net = config.network
        self.fan_in = net.layers[0]
        self.code_shape = signed(net.sample_bits) if net.sample_signed else net.sample_bits
        super().__init__(
            {
                "weights": In(weights_layout(config, self.fan_in)),
                "plane": In(self.fan_in),
                "plane_first": In(1),
                "plane_last": In(1),
                "codes": In(data.ArrayLayout(self.code_shape, self.fan_in)),
                "signs": In(sign_leap(config, self.fan_in)),
                "unperturbed": In(1),
                "scale": In(range(net.grid_frac + 1)),
                "z": Out(data.ArrayLayout(signed(config.pre_bits(0)), config.passes)),
            }
        )

    @classmethod
    def latency_of(cls, config: SpatialConfig) -> int:
        """Clocks from a step's codes to its pre-activations."""
        return _base_latency(config) + 2

    def elaborate(self, platform):
        m = Module()
        cfg, net = self.config, self.config.network
        count = self.fan_in + 1
        one = 1 << (ACT_FRAC - cfg.input_shift)
        # All in units of one code: 2^input_shift of an activation's.
        weights = [self.weights[j] for j in range(self.fan_in)]
        bias = self.weights[self.fan_in] * one
        if net.sample_bits == 1 and net.sample_signed:
            bias = -bias  # The only plane is the one that counts negative.
        weights.append(bias)
        bits = cfg.acc_bits(0)
        plane, plane_first, plane_last = (
            kept_copy(m, getattr(self, name), f"{name}_here")
            for name in ("plane", "plane_first", "plane_last")
        )
        codes = plane
        if net.sample_bits > 1:
            # A code of one bit is its only plane.
            codes = kept_copy(m, self.codes.as_value(), "codes_here")
        codes = data.View(self.codes.shape(), codes)
        gates = Cat(plane, plane_last)
        if not self.weights_after(cfg):
            gates = Const(~0, count)
            early = Cat(self.plane, self.plane_last)
            weights = [
                kept_copy(m, Mux(early[j], weight, 0), f"gated_{j}")
                for j, weight in enumerate(weights)
            ]
        if net.sample_bits > cfg.planes:
            base = self._all_planes(m, weights, codes, bits)
        else:
            base = total = self._gated_tree(m, weights, gates, bits)
            if cfg.planes > 1:
                first, last = (
                    delayed(m, s, tree_latency(count)) for s in (plane_first, plane_last)
                )
                sum_so_far, base = Signal(signed(bits)), Signal(signed(bits))
                so_far = add_or_subtract(
                    Mux(first, 0, sum_so_far << 1), total, first & net.sample_signed
                )
                m.d.sync += sum_so_far.eq(so_far)
                with m.If(last):
                    m.d.sync += base.eq(so_far)
            elif net.sample_signed:
                base = -total

        if cfg.nodes:
            sign_sum = sign_of(Const(one, signed(one.bit_length() + 1)), self.signs[0])
            sign_sum = delayed(m, sign_sum, _base_latency(cfg) - self.SIGNS_AFTER)
        else:
            after = _base_latency(cfg) - self.SIGNS_AFTER - tree_latency(count)
            sign_sum = self._sign_sum(m, codes, one, after)
        unperturbed = delayed(m, self.unperturbed, _base_latency(cfg) - 1)
        z = perturbed(
            m, cfg, 0, base << cfg.input_shift, sign_sum << cfg.input_shift, unperturbed, self.scale
        )
        m.d.comb += [self.z[k].eq(value) for k, value in enumerate(z)]
        return m

    def _all_planes(self, m: Module, weights, codes: data.View, bits: int):
        """Σ W·x: 2^k times the sum of plane k.  The last weight is the bias, which counts once."""
        net, terms = self.config.network, []
        for k in range(net.sample_bits):
            gates = [Value.cast(codes[j])[k] for j in range(self.fan_in)]
            total = self._gated_tree(m, weights, Cat(*gates, k == 0), bits)
            highest = k == net.sample_bits - 1 and net.sample_signed
            terms.append(-(total << k) if highest else total << k)
        return add_tree(m, terms, bits)

    def _gated_tree(self, m: Module, weights, gates, bits: int):
        """Σ of the weights whose gate is 1, tree_latency() clocks later."""
        ccu2c = self.config.ccu2c
        sums = []
        for k in range(0, len(weights), 4):
            # Two adders one behind the other, as between the registers of a tree; in carry cells
            # with inputs to spare, three of the four gates take no LUT.
            some, open_gates = weights[k : k + 4], gates[k : k + 4]
            width = max(map(len, some)) + (len(some) - 1).bit_length()
            total = Signal(signed(width), name=f"first_{k}")
            m.d.comb += total.eq(Mux(open_gates[0], some[0], 0))
            if len(some) > 1:
                total = gated_sum(m, total, some[1], open_gates[1], ccu2c=ccu2c)
            if len(some) > 2:
                rest, gate = some[2], open_gates[2]
                if len(some) > 3:
                    rest = either_sum(m, some[2:], open_gates[2:], ccu2c=ccu2c)
                    gate = open_gates[2:].any()
                total = gated_sum(m, total, rest, gate, ccu2c=ccu2c)
            sums.append(in_register(m, total, bits))
        return add_tree(m, sums, bits, ccu2c=ccu2c) if len(sums) > 1 else sums[0]

    def _sign_sum(self, m: Module, codes: data.View, one: int, after: int):
        """Σ s·x over inputs and bias in units of one code, tree_latency() + after clocks later."""
        bits = self.config.sign_sum_bits(0)
        codes = [codes[j] for j in range(self.fan_in)]
        if self.config.gated_codes:
            # Σ s·x = Σ x − 2·Σ x·(s < 0): two counts of ones.
            minus = Cat(code & sign for code, sign in zip(codes, self.signs, strict=False))
            plus = add_tree(m, [*codes, Const(one)], bits)
            less = add_tree(m, [*minus, Mux(self.signs[-1], one, 0)], bits)
            return delayed(m, plus - (less << 1), after)
        leaves = [sign_of(code, self.signs[j]) for j, code in enumerate(codes)]
        leaves.append(sign_of(Const(one, signed(one.bit_length() + 1)), self.signs[-1]))
        # Where there is a clock to spare, a register between sign and sum.
        return add_tree(m, [delayed(m, leaf, after) for leaf in leaves], bits)


def _base_latency(config: SpatialConfig) -> int:
    """Clocks from a sample's last plane to W·x."""
    net = config.network
    planes = int(net.sample_bits > 1)
    if net.sample_bits > config.planes:
        planes = tree_latency(net.sample_bits)
    return FirstSums.SIGNS_AFTER + tree_latency(net.layers[0] + 1) + planes


class LaterSums(Unit):
    """A later layer: W·x for each pass, by multipliers.

    `z` equals golden_model.forward.pre_activation of weighted_sum.  `x` is the activations of the
    layer before, pass after pass; `z` leaves `latency` clocks later; `signs` belong to the clock
    of x.
    """

    model = staticmethod(pre_activation)
    SIGNS_AFTER = 0

    def __init__(self, config: SpatialConfig, layer: int) -> None:
        self.config = config
        self.layer = layer
        self.latency = self.latency_of(config, layer)
        net = config.network
        self.fan_in = net.layers[layer]
        inputs = data.ArrayLayout(signed(ACT_BITS), self.fan_in)
        super().__init__(
            {
                "weights": In(weights_layout(config, self.fan_in)),
                "x": In(data.ArrayLayout(inputs, config.passes)),
                "signs": In(sign_leap(config, self.fan_in)),
                "unperturbed": In(1),
                "scale": In(range(net.grid_frac + 1)),
                "z": Out(data.ArrayLayout(signed(config.pre_bits(layer)), config.passes)),
            }
        )

    @classmethod
    def latency_of(cls, config: SpatialConfig, layer: int) -> int:
        """Clocks from activations to pre-activations."""
        return PRODUCT_LATENCY + tree_latency(config.network.layers[layer] + 1) + 2

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        first, count = PRODUCT_LATENCY, self.fan_in + 1
        sums = first + tree_latency(count)
        unperturbed = delayed(m, self.unperturbed, sums - 1)
        signs = delayed(m, self.signs, first)
        if not cfg.nodes:
            # Σ s·x = Σ (x XOR s) + the number of inputs whose sign is −: it has room beside the
            # bias, whose term is a multiple of 2^ACT_FRAC.
            minus = Signal(range(self.fan_in + 1), reset_less=True)
            early = delayed(m, self.signs, first - 1)
            m.d.sync += minus.eq(sum(early[j] for j in range(self.fan_in)))
        bias = self.weights[self.fan_in]
        if cfg.pipelined:
            # The bias of the clock in which the products' weights were read: the weights change in
            # every clock.
            bias = delayed(m, bias, first)
        for k in range(cfg.passes):
            x = [self.x[k][j] for j in range(self.fan_in)]
            terms = [self._product(m, self.weights[j], x[j]) for j in range(self.fan_in)]
            terms.append(bias << ACT_FRAC)
            base = add_tree(m, terms, cfg.acc_bits(self.layer), ccu2c=cfg.ccu2c)
            one = Const(1 << ACT_FRAC, signed(ACT_BITS))
            if cfg.nodes:
                sign_sum = delayed(m, sign_of(one, signs[0]), tree_latency(count))
            else:
                x_delayed = [delayed(m, value, first) for value in x]
                leaves = [
                    v ^ signs[j].replicate(len(v)).as_signed() for j, v in enumerate(x_delayed)
                ]
                leaves.append(sign_of(one, signs[-1]) | minus)
                bits = cfg.sign_sum_bits(self.layer)
                sign_sum = add_tree(m, leaves, bits, ccu2c=cfg.ccu2c)
            z = perturbed(m, cfg, self.layer, base, sign_sum, unperturbed, self.scale, only=k)
            m.d.comb += self.z[k].eq(z[0])
        return m

    def _product(self, m: Module, weight, x):
        # Without a reset it can be the multiplier's own register.
        later = Signal(signed(ACT_BITS), name="x_later", reset_less=True)
        m.d.sync += later.eq(x)
        # Multipliers are in few columns, often far from the adders: the route has a clock of its
        # own.
        moved = Signal(signed(len(weight) + ACT_BITS), name="product", reset_less=True)
        m.d.sync += moved.eq(product(m, later, weight, dsp=self.config.product_dsp))
        return moved


PRODUCT_LATENCY = 3


def perturbed(
    m: Module,
    cfg: SpatialConfig,
    layer: int,
    base,
    sign_sum,
    unperturbed,
    scale,
    only: int | None = None,
) -> list:
    """round(W·x ± δ·Σ s·x), half up, 2 clocks later: + for pass 0, − for pass 1; both, or `only`
    one.  `unperturbed` comes a clock before the sums, because a copy of it is a register here."""
    net = cfg.network
    unperturbed, scale = (
        kept_copy(m, unperturbed, "unperturbed_here"),
        kept_copy(m, scale, "scale_here"),
    )
    left = net.grid_frac - net.weight_frac
    wide, shifted = (Signal(signed(cfg.sum_bits(layer)), name=n) for n in ("wide", "shifted"))
    half = Const(1 << (net.pre_shift - 1), net.pre_shift)
    m.d.sync += [
        wide.eq((base << left) + half),
        shifted.eq(Mux(unperturbed, 0, sign_sum << scale)),
    ]
    results = []
    for k in range(cfg.passes) if only is None else (only,):
        z = Signal(signed(cfg.pre_bits(layer)), name=f"z_{k}")
        m.d.sync += z.eq((wide - shifted if k else wide + shifted) >> net.pre_shift)
        results.append(z)
    return results
