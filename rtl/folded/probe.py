"""What verification watches of a folded core."""

from __future__ import annotations

from amaranth import Cat, Module, signed
from amaranth.lib import data

from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.units import Units
from mgd.rtl.lib.delay import delayed
from mgd.rtl.units.costs import result_layout


def probe_layout(config: CoreConfig) -> data.StructLayout:
    """Every cost, every ΔC, every weight and accumulator written while training.

    The lanes' values are side by side, lane 0 lowest.  Leave it unconnected on a board: it
    then costs nothing.
    """
    net = config.network
    return data.StructLayout(
        {
            "write": 1,
            "word": range(max(config.lane_words, 2)),
            "weights": config.lanes * net.weight_bits,
            "gradients": max(config.lanes * net.gradient_bits, 1),
            "cost_valid": 1,
            "cost": result_layout(net, config.cost_shape),
            "delta_valid": 1,
            "delta": signed(net.delta_cost_bits),
        }
    )


def watch(m: Module, u: Units, probe) -> None:
    """Drive a probe of probe_layout()."""
    cost = u.control.cost
    m.d.comb += [
        probe.write.eq(u.updates.written),
        probe.word.eq(u.updates.written_word),
        probe.weights.eq(Cat(*(lane.new_weight for lane in u.lanes))),
        probe.cost_valid.eq(cost.valid & cost.ready & u.control.training),
        probe.cost.eq(cost.payload),
        # ΔC is in its register a clock after it is announced.
        probe.delta_valid.eq(delayed(m, u.control.delta_valid, 1)),
        probe.delta.eq(u.control.delta_cost),
    ]
    if u.config.network.accumulators:
        m.d.comb += probe.gradients.eq(Cat(*(lane.new_gradient for lane in u.lanes)))
