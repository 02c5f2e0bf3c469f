"""A lane: the weights of every P-th neuron, one multiplier, one accumulator.

One sweep updates, writes back, and uses each weight:

    W ← clip(W − q);  sum += W·x;  sign_sum += s·x

where q is ± the update term (stochastic rounding) or what the accumulator G gives off.
"""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ACT_BITS, SHIFT_MIN
from mgd.golden_model.update.memory import WeightMemory
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.update_rule import (
    applied_change,
    decay_clocks,
    decayed,
    remaining_gradient,
)
from mgd.rtl.lib.arithmetic import add_or_subtract, add_with_carry, saturated, saturated_register
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.mac16 import accumulated
from mgd.rtl.lib.unit import Unit

SUM_CONTROL = data.StructLayout({"accumulate": 1, "take": 1, "empty": 1, "shift": 1})
"""Of a sum and its output register."""


class Lane(Unit):
    """golden_model.update.memory.WeightMemory of its weights, and their weighted_sum.

    A token's signals enter at fixed clocks after its `address`:

    * clock 0: address; clock 2 (TERM): update_term, previous_sign, apply_accumulator;
    * clock UPDATE: the new weight is written and multiplied, x enters; write_address is the
      token's address again; write is high when the memory takes the new values; sign, add_sign
      and signs.accumulate are those of the token;
    * clock UPDATE + 1: products.accumulate; of a group's last token signs.take and signs.empty:
      sign_sum goes to its output register, and the next group's begins at 0;
    * clock UPDATE + 2 of a group's last token: products.take and products.empty, the same for
      sum.  No token may be a clock behind such a one.

    UPDATE is `latency`: 5 with accumulators, 6 where weights decay; else 4, or 3 without
    memory_register.
    With CoreConfig.operand_clocks all that has to do with the sums, but x, sign and add_sign, comes
    a clock later.
    `update_term` is 0 where nothing is to change; with previous_sign 1, for −1.0, it is added to
    the weight.  `apply_accumulator`: weights change by what G gives off.  `empty` is high with
    `take`, and once before the first group.  `sum` has what rounds it half up to a pre-activation
    in it already, and leaves out CoreConfig.sum_cut low bits.  `shift` loads an output register
    from the next lane's (`chain_*`).  A core that perturbs nodes alone has no sign sum: sign_sum is
    the last token's sign, 1 for −1.0.  Where the perturbation has values between 0 and 1
    (BuildOptions.value_frac), `update_term` comes multiplied by their magnitude, and so does
    `value_x`, which the sign sum takes in the place of x.

    `read_gradient` is there 2 clocks after an address; it is 0 where `hide_gradient` is high in the
    2 clocks behind it.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        net = config.network
        self.latency = self.latency_of(config)
        out = signed(config.out_bits)
        sign_out = 1 if config.nodes_only else signed(config.sign_sum_bits)
        fine = config.variant.value_frac
        value_x = {"value_x": In(signed(ACT_BITS + fine))} if fine else {}
        super().__init__(
            {
                "address": In(range(config.lane_words)),
                "update_term": In(signed(config.lane_share_bits)),
                "previous_sign": In(1),
                "apply_accumulator": In(1),
                "accumulates": In(1),
                "shift_right": In(6),
                "residual_mask": In(max(net.gradient_bits, 1)),
                "write": In(1),
                "write_address": In(range(config.lane_words)),
                "host_write_gradient": In(1),
                "host_gradient": In(signed(max(net.gradient_bits, 1))),
                "hide_gradient": In(1),
                "clear": In(1),
                "x": In(signed(ACT_BITS)),
                "sign": In(1),
                "add_sign": In(1),
                "signs": In(SUM_CONTROL),
                "products": In(SUM_CONTROL),
                "chain_sum": In(out),
                "chain_sign_sum": In(sign_out),
                "sum": Out(out),
                "sign_sum": Out(sign_out),
                "new_weight": Out(signed(net.weight_bits)),
                "new_gradient": Out(signed(max(net.gradient_bits, 1))),
                "clipped": Out(1),
                "read_gradient": Out(signed(max(net.gradient_bits, 1))),
                **self._ports(),
                **value_x,
            }
        )

    model = WeightMemory
    TERM = 2
    """Clocks from a token's address to its update term."""

    @classmethod
    def latency_of(cls, config: CoreConfig) -> int:
        """Clocks from a token's address to its new weight."""
        if config.network.accumulators:
            return 5 + decay_clocks(config)
        return 3 + config.memory_register

    @staticmethod
    def turnaround(config: CoreConfig) -> int:
        """Clocks from a token's address to the first one that may be the same: a weight is written
        when it is there, and no memory is read and written in one clock at one address."""
        return Lane.latency_of(config) + 1

    @staticmethod
    def change_latency(config: CoreConfig) -> int:
        """Clocks from a token's address to the sum of its weight and the change."""
        apart = config.memory_register and not config.network.accumulators
        return Lane.latency_of(config) - 1 - apart

    def elaborate(self, platform):
        m = Module()
        cfg, net = self.config, self.config.network

        # Clock 0 → 2: read.
        m.submodules.weights = weights = Memory(
            shape=signed(net.weight_bits), depth=cfg.lane_words, init=[]
        )
        write = weights.write_port()
        weight, _ = self._read(m, weights)

        # The weight change, saturating: UPDATE − 1 → UPDATE.
        if net.accumulators:
            change, weight = self._accumulate(m, weight)
            moved = self._moved(weight, change, Const(1))
        else:
            moved = self._moved(weight, *self._change())
            if cfg.memory_register:
                # The term comes to all lanes from far away: limiting the sum has its own clock.
                moved = delayed(m, moved, 1)
        limited, clipped = saturated_register(m, moved, net.weight_bits)
        m.d.sync += self.clipped.eq(clipped)
        m.d.comb += [
            self.new_weight.eq(self._kept(m, limited)),
            write.addr.eq(self.write_address),
            write.data.eq(self.new_weight),
            write.en.eq(self.write),
        ]

        # Both sums begin anew behind the last token, by the registers' reset, and not before the
        # first, which would take a gate in front of every bit of the adders.  Taken in the same
        # clock: from the adders themselves, a clock before, an iCE40 needs one cell more a bit.
        # What rounds the sum is there from the start, which takes no adder.
        later = cfg.operand_clocks
        sign, sign_sum = delayed(m, self.sign, later), Signal.like(self.sign_sum, reset_less=True)
        if cfg.nodes_only:
            m.d.sync += sign_sum.eq(sign)
        else:
            x = self.value_x if cfg.variant.value_frac else self.x
            added = Mux(self.add_sign, x, 0)
            added = delayed(m, Mux(self.sign, ~added, added).as_signed(), later)
            with m.If(self.signs.empty):
                m.d.sync += sign_sum.eq(0)
            with m.Elif(self.signs.accumulate):
                m.d.sync += sign_sum.eq(add_with_carry(sign_sum, added, sign))
        seen = self._seen(m)
        if cfg.mac16:
            assert not later
            total = accumulated(
                m,
                seen,
                self.x,
                accumulate=self.products.accumulate,
                empty=self.products.empty,
                first=cfg.sum_start,
                bits=net.acc_bits,
            )
        else:
            # One register after the product, so that Yosys may take it into the DSP block (two
            # make iCE40 synthesis fail silently).
            product = Signal(signed(len(seen) + ACT_BITS), reset_less=True)
            total = Signal(signed(net.acc_bits), reset_less=True)
            operands = [seen, self.x]
            if later:
                # Without a reset these may be the block's, too.
                operands = [Signal.like(value, reset_less=True) for value in operands]
                m.d.sync += [operands[0].eq(seen), operands[1].eq(self.x)]
            m.d.sync += product.eq(operands[0] * operands[1])
            self._multiplied(m, product)
            with m.If(self.products.empty):
                m.d.sync += total.eq(cfg.sum_start)
            with m.Elif(self.products.accumulate):
                m.d.sync += total.eq(total + product)
        for control, output, own, chained in (
            (self.signs, self.sign_sum, sign_sum, self.chain_sign_sum),
            (self.products, self.sum, self._taken(total[cfg.sum_cut :]), self.chain_sum),
        ):
            with m.If(control.take):
                m.d.sync += output.eq(own)
            with m.Elif(control.shift):
                m.d.sync += output.eq(chained)
        return m

    # -- what rtl.folded.lanes.outer_lane adds to -------------------------------------------------

    def _change(self):
        """Without accumulators: what the weight changes by, and whether it is subtracted."""
        return self.update_term, ~self.previous_sign

    def _multiplied(self, m: Module, product) -> None:
        """What else is done with a product, two clocks or (operand_clocks) three behind UPDATE."""

    def _taken(self, total):
        """The sum that is taken to its output register."""
        return total

    # -- what rtl.imperfect makes imperfect ---------------------------------------------------

    def _ports(self) -> dict[str, wiring.Member]:
        """More ports."""
        return {}

    def _moved(self, weight, change, subtract):
        """weight − change where `subtract` is 1, else weight + change; not limited yet."""
        return add_or_subtract(weight, change, subtract)

    def _kept(self, m: Module, weight):
        """The new weight, in the clock in which it is written, as the memory keeps it."""
        return weight

    def _seen(self, m: Module):
        """The new weight as it is multiplied, in the same clock."""
        return self.new_weight

    # -- parts of the lane --------------------------------------------------------------------

    def _read(self, m: Module, memory: Memory, hide=0):
        """What a memory holds at `address`, two clocks later: with a register behind the memory,
        whose output is slow, or before it, which all lanes then share.  The second result is the
        same where `hide` is low, else 0, by that register's reset if it is there."""
        read = memory.read_port()
        if self.config.memory_register:
            value = Signal.like(read.data)
            m.d.comb += read.addr.eq(self.address)
            m.d.sync += value.eq(Mux(hide, 0, read.data))
            return value, value
        m.d.comb += read.addr.eq(delayed(m, self.address, 1))
        return read.data, Mux(hide, 0, read.data)

    def _accumulate(self, m: Module, weight):
        """G += s·v; when weights change, give off q = ⌊G·2^-S⌋ and keep G mod 2^S.  (With momentum
        or decay: rtl.folded.lanes.update_rule.)

        Returns the change q and the weight it belongs to, two or more clocks later.
        """
        cfg, net = self.config, self.config.network
        m.submodules.gradients = gradients = Memory(
            shape=signed(net.gradient_bits), depth=cfg.lane_words, init=[]
        )
        write = gradients.write_port()
        gradient, shown = self._read(m, gradients, self.hide_gradient)
        m.d.comb += self.read_gradient.eq(shown)

        # Without accumulation the term goes past G: 0 ± term where G ± term would be.
        accumulated = Signal(signed(net.gradient_bits))
        term = Mux(self.accumulates, self.update_term, 0)
        m.d.sync += accumulated.eq(add_or_subtract(gradient, term, self.previous_sign))
        direct = Signal(signed(cfg.lane_share_bits + 1))
        past = Mux(self.accumulates, 0, self.update_term)
        m.d.sync += direct.eq(add_or_subtract(Const(0, 1), past, self.previous_sign))
        later = decay_clocks(cfg)
        accumulated = decayed(m, cfg, accumulated, weight, self.apply_accumulator, self.shift_right)
        direct, applies = delayed(m, direct, later), delayed(m, self.apply_accumulator, 1 + later)

        # ⌊G·2^-S⌋ with S >= SHIFT_MIN, then limited to more than what makes every weight clip.
        whole = Signal(signed(net.gradient_bits - SHIFT_MIN))
        change = Signal(signed(cfg.change_bits))
        m.d.comb += whole.eq((accumulated << -SHIFT_MIN) >> self.shift_right)
        kept = Signal(signed(net.gradient_bits))
        left = remaining_gradient(m, cfg, accumulated, self.residual_mask)
        with m.If(applies):
            m.d.sync += [
                change.eq(saturated(applied_change(cfg, whole), cfg.change_bits)[0]),
                kept.eq(left),
            ]
        with m.Else():
            m.d.sync += [change.eq(saturated(direct, cfg.change_bits)[0]), kept.eq(accumulated)]
        m.d.sync += self.new_gradient.eq(kept)
        m.d.comb += [
            write.addr.eq(self.write_address),
            write.data.eq(
                Mux(
                    self.host_write_gradient,
                    self.host_gradient,
                    Mux(self.clear, 0, self.new_gradient),
                )
            ),
            write.en.eq(self.write | self.clear | self.host_write_gradient),
        ]
        return change, delayed(m, weight, 2 + later)
