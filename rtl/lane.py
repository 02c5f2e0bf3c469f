"""A lane: the weights of every P-th neuron, one multiplier, one accumulator.

One sweep updates, writes back, and uses each weight:

    W ← clip(W − q);  sum += W·x;  sign_sum += s·x

where q is ±share (stochastic rounding) or what the accumulator G gives off.
"""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden_model.network import ACT_BITS, SHIFT_MIN
from rtl.arithmetic import add_or_subtract, saturated, saturated_register
from rtl.config import CoreConfig
from rtl.delay import delayed
from rtl.mac16 import accumulated


class Lane(wiring.Component):
    """Equals golden_model.trainer.Trainer._update and golden_model.forward.weighted_sum.

    A token's signals enter at fixed clocks after its `address`:

    * clock 0: address; clock 2: share, previous_sign, plus, gives;
    * clock UPDATE: the new weight is written and multiplied, x enters; write_address is the
      token's address again; write is high when the memory takes the new values;
    * clock UPDATE + 1: sign, x_later, accumulate;
    * clock UPDATE + 2 of a group's last token: take and empty: both sums go to the output
      registers, and the next group's begin at 0.  No token may be a clock behind such a one.

    UPDATE is 3, or 5 with accumulators.  `share` is 0 where nothing is to change; with `plus`
    high it is added to the weight whatever the sign.  `gives`: weights change by what G gives
    off.  `empty` is high with `take`, and once before the first group.  `sum` has what rounds it
    half up to a pre-activation in it already.  `shift` loads the output registers from the next
    lane's (`chain_*`).
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        net = config.network
        self.UPDATE = self.update_latency(config)
        super().__init__(
            {
                "address": In(range(config.lane_words)),
                "share": In(signed(config.share_bits)),
                "previous_sign": In(1),
                "plus": In(1),
                "gives": In(1),
                "accumulates": In(1),
                "shift_right": In(6),
                "residual_mask": In(max(net.gradient_bits, 1)),
                "write": In(1),
                "write_address": In(range(config.lane_words)),
                "clear": In(1),
                "x": In(signed(ACT_BITS)),
                "sign": In(1),
                "x_later": In(signed(ACT_BITS)),
                "accumulate": In(1),
                "add_sign": In(1),
                "take": In(1),
                "empty": In(1),
                "shift": In(1),
                "chain_sum": In(signed(net.acc_bits)),
                "chain_sign_sum": In(signed(net.sign_sum_bits)),
                "sum": Out(signed(net.acc_bits)),
                "sign_sum": Out(signed(net.sign_sum_bits)),
                "new_weight": Out(signed(net.weight_bits)),
                "new_gradient": Out(signed(max(net.gradient_bits, 1))),
                "clipped": Out(1),
                "read_weight": Out(signed(net.weight_bits)),
            }
        )

    @staticmethod
    def update_latency(config: CoreConfig) -> int:
        """Clocks from a token's address to its new weight."""
        return 5 if config.network.accumulators else 3

    def elaborate(self, platform):
        m = Module()
        cfg, net = self.config, self.config.network

        # Clock 0 → 2: read.
        m.submodules.weights = weights = Memory(
            shape=signed(net.weight_bits), depth=cfg.lane_words, init=[]
        )
        write = weights.write_port()
        weight = self._read(m, weights)
        m.d.comb += self.read_weight.eq(weight)

        # The weight change, saturating: UPDATE − 1 → UPDATE.
        if net.accumulators:
            change, weight = self._accumulate(m, weight)
            moved = add_or_subtract(weight, change, Const(1))
        else:
            moved = add_or_subtract(weight, self.share, ~(self.previous_sign | self.plus))
        limited, clipped = saturated_register(m, moved, net.weight_bits)
        m.d.sync += self.clipped.eq(clipped)
        m.d.comb += [
            self.new_weight.eq(limited),
            write.addr.eq(self.write_address),
            write.data.eq(self.new_weight),
            write.en.eq(self.write),
        ]

        # Both sums begin anew behind the last token, by the registers' reset, and not before the
        # first, which would take a gate in front of every bit of the adders.  Taken in the same
        # clock: from the adders themselves, a clock before, an iCE40 needs one cell more a bit.
        # What rounds the sum is there from the start, which takes no adder.
        half = 1 << (net.pre_shift - 1 - (net.grid_frac - net.weight_frac))
        sign_sum = Signal(signed(net.sign_sum_bits), reset_less=True)
        signed_x = Mux(self.add_sign, self.x_later, 0)
        with m.If(self.empty):
            m.d.sync += sign_sum.eq(0)
        with m.Elif(self.accumulate):
            m.d.sync += sign_sum.eq(add_or_subtract(sign_sum, signed_x, self.sign))
        if cfg.mac16:
            total = accumulated(
                m,
                self.new_weight,
                self.x,
                accumulate=self.accumulate,
                empty=self.empty,
                first=half,
                bits=net.acc_bits,
            )
        else:
            # One register after the product, so that Yosys may take it into the DSP block (two
            # make iCE40 synthesis fail silently).
            product = Signal(signed(net.weight_bits + ACT_BITS), reset_less=True)
            total = Signal(signed(net.acc_bits), reset_less=True)
            m.d.sync += product.eq(self.new_weight * self.x)
            with m.If(self.empty):
                m.d.sync += total.eq(half)
            with m.Elif(self.accumulate):
                m.d.sync += total.eq(total + product)
        with m.If(self.take):
            m.d.sync += [self.sum.eq(total), self.sign_sum.eq(sign_sum)]
        with m.Elif(self.shift):
            m.d.sync += [self.sum.eq(self.chain_sum), self.sign_sum.eq(self.chain_sign_sum)]
        return m

    def _read(self, m: Module, memory: Memory):
        """What a memory holds at `address`, two clocks later: with a register behind the memory,
        whose output is slow, or before it, which all lanes then share."""
        read = memory.read_port()
        if self.config.memory_register:
            value = Signal.like(read.data)
            m.d.comb += read.addr.eq(self.address)
            m.d.sync += value.eq(read.data)
            return value
        m.d.comb += read.addr.eq(delayed(m, self.address, 1))
        return read.data

    def _accumulate(self, m: Module, weight):
        """G += s·v; when weights change, give off q = ⌊G·2^-S⌋ and keep G mod 2^S.

        Returns the change q and the weight it belongs to, two clocks later.
        """
        cfg, net = self.config, self.config.network
        m.submodules.gradients = gradients = Memory(
            shape=signed(net.gradient_bits), depth=cfg.lane_words, init=[]
        )
        write = gradients.write_port()
        gradient = self._read(m, gradients)

        # Without accumulation the share goes past G: 0 ± share where G ± share would be.
        accumulated = Signal(signed(net.gradient_bits))
        share = Mux(self.accumulates, self.share, 0)
        m.d.sync += accumulated.eq(add_or_subtract(gradient, share, self.previous_sign))
        direct = Signal(signed(cfg.share_bits + 1))
        past = Mux(self.accumulates, 0, self.share)
        m.d.sync += direct.eq(add_or_subtract(Const(0, 1), past, self.previous_sign | self.plus))
        gives = delayed(m, self.gives, 1)

        # ⌊G·2^-S⌋ with S >= SHIFT_MIN, then limited to more than what makes every weight clip.
        whole = Signal(signed(net.gradient_bits - SHIFT_MIN))
        change = Signal(signed(cfg.change_bits))
        m.d.comb += whole.eq((accumulated << -SHIFT_MIN) >> self.shift_right)
        kept = Signal(signed(net.gradient_bits))
        with m.If(gives):
            m.d.sync += [
                change.eq(saturated(whole, cfg.change_bits)[0]),
                kept.eq(accumulated & self.residual_mask),
            ]
        with m.Else():
            m.d.sync += [change.eq(saturated(direct, cfg.change_bits)[0]), kept.eq(accumulated)]
        m.d.sync += self.new_gradient.eq(kept)
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(Mux(self.clear, Const(0), self.new_gradient)),
            write.en.eq(self.write | self.clear),
        ]
        return change, delayed(m, weight, 2)
