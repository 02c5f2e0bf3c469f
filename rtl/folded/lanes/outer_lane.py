"""A lane that sums per node, recalls sums, and multiplies a node's sum by all inputs."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from mgd.golden_model.network import ACT_BITS, ACT_FRAC, ROUND_BITS, SHIFT_MIN
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.lib.arithmetic import add_or_subtract, saturated
from mgd.rtl.lib.delay import delayed


class OuterLane(Lane):
    """Equals golden_model.update.per_node.NodeSums beside Lane's golden functions.

    Sums: of the group at `node_read`, with its sign at `sign_read`, the sum is changed by `delta`
    two clocks later, and written where `node_write` is high with the group in `node_written`,
    NodeSums.WRITE clocks behind the read; 0 where `node_clear` is high.  `sign_write` keeps the
    sign that is in the output register, at `sign_written`.

    Outer sweeps (`outer` high from their first token until all are written): `node_read` comes
    ERROR clocks before its tokens' x.  Behind UPDATE the lane's change, e_i·x_j rounded with
    `random`, takes the place of update_term TERM clocks behind its address, and is subtracted.

    `recalls`, with products.take: the sum of the group that was at `recall_read` two clocks before
    is taken.  `recall_write` keeps the sum that is in the output register, at `recall_written`.

    Cost, beside Lane's: a sum per group, two signs per group and a sum of products for each group
    of the first layer; a shifter of the sums' width.
    """

    ERROR = 5
    """Clocks from the address of a node's sum to its error e_i: memory, register, two for the
    shift, and rounding."""

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(config)
        net = config.network
        self._error = Signal(signed(ACT_BITS), reset_less=True)
        self._recalled = Signal(signed(config.out_bits), reset_less=True)
        product_bits = max(net.weight_bits, ACT_BITS) + ACT_BITS
        self._outer_change = Signal(
            signed(product_bits - self._cut(config) - ROUND_BITS + 1), reset_less=True
        )

    @staticmethod
    def _cut(config: CoreConfig) -> int:
        """Fraction bits of a product of activations beyond a weight's and the random byte's."""
        cut = 2 * ACT_FRAC - config.network.weight_frac - ROUND_BITS
        assert cut >= 0
        return cut

    def _ports(self) -> dict[str, wiring.Member]:
        cfg = self.config
        group = range(max(sum(cfg.groups), 2))
        sign = range(2 * max(sum(cfg.groups), 2))
        first = range(max(cfg.groups[0], 2))
        return {
            "delta": In(signed(cfg.network.delta_cost_bits)),
            "random": In(ROUND_BITS),
            "outer": In(1),
            "node_read": In(group),
            "node_write": In(1),
            "node_written": In(group),
            "node_clear": In(1),
            "sign_read": In(sign),
            "sign_write": In(1),
            "sign_written": In(sign),
            "recalls": In(1),
            "recall_read": In(first),
            "recall_write": In(1),
            "recall_written": In(first),
        }

    def elaborate(self, platform):
        m = super().elaborate(platform)
        cfg = self.config
        bits = cfg.node_sum_bits
        sums = self._memory(m, "node_sums", signed(bits), len(self.node_read))
        signs = self._memory(m, "node_signs", 1, len(self.sign_read))
        kept = self._memory(m, "kept_sums", signed(cfg.out_bits), len(self.recall_read))
        for memory, address, data, enable in (
            (signs, self.sign_written, self.sign_sum, self.sign_write),
            (kept, self.recall_written, self.sum, self.recall_write),
        ):
            port = memory.write_port()
            m.d.comb += [port.addr.eq(address), port.data.eq(data), port.en.eq(enable)]

        read, write, sign = sums.read_port(), sums.write_port(), signs.read_port()
        recall = kept.read_port()
        m.d.comb += [
            read.addr.eq(self.node_read),
            sign.addr.eq(self.sign_read),
            recall.addr.eq(self.recall_read),
        ]
        m.d.sync += self._recalled.eq(recall.data)
        node_sum, new_sum = Signal(signed(bits)), Signal(signed(bits), reset_less=True)
        m.d.sync += node_sum.eq(read.data)
        minus = delayed(m, sign.data, 1)
        m.d.sync += new_sum.eq(add_or_subtract(node_sum, self.delta, minus))
        m.d.comb += [
            write.addr.eq(self.node_written),
            write.data.eq(Mux(self.node_clear, 0, new_sum)),
            write.en.eq(self.node_write),
        ]
        self._round_sum(m, node_sum)
        return m

    def _round_sum(self, m: Module, node_sum) -> None:
        """e_i: the sum times 2^-T, rounded with the random byte's bits in reverse, and limited."""
        least = SHIFT_MIN + self.config.network.weight_frac - ACT_FRAC
        assert least <= ROUND_BITS
        value = node_sum << (ROUND_BITS - least)
        fine = Cat(self.shift_right[:3])
        coarse = Signal.like(value, reset_less=True)
        shifted = Signal.like(value, reset_less=True)
        m.d.sync += [
            coarse.eq(value >> (self.shift_right[3:] << 3)),
            shifted.eq(coarse >> fine),
        ]
        rounded = (shifted + Cat(self.random[::-1])) >> ROUND_BITS
        m.d.sync += self._error.eq(saturated(rounded, ACT_BITS)[0])

    def _memory(self, m: Module, name: str, shape, address_bits: int) -> Memory:
        # Nothing that is read is written in the same clock.
        memory = Memory(shape=shape, depth=1 << address_bits, init=[], attrs={"no_rw_check": True})
        m.submodules[name] = memory
        return memory

    # -- in the places of Lane's ---------------------------------------------------------------

    def _change(self):
        return Mux(self.outer, self._outer_change, self.update_term), self.outer

    def _multiplied(self, m: Module, product) -> None:
        exact = product >> self._cut(self.config)
        m.d.sync += self._outer_change.eq((exact + self.random) >> ROUND_BITS)

    def _taken(self, total):
        return Mux(self.recalls, self._recalled, total)

    def _seen(self, m: Module):
        return Mux(self.outer, self._error, self.new_weight)
