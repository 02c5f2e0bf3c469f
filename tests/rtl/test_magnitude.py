"""rtl.lib.magnitude: products with every size that a value of a sine may have."""

from __future__ import annotations

from amaranth import Module, Signal, signed
from amaranth.sim import Simulator

from mgd.golden_model.perturbations.sine import SINE
from mgd.rtl.lib.magnitude import MAGNITUDE_BITS, WIDER, encoded, scaled

BITS = 5


def test_products():
    m, value, code = Module(), Signal(signed(BITS)), Signal(MAGNITUDE_BITS)
    product = Signal(signed(BITS + WIDER))
    m.d.comb += product.eq(scaled(value, code))
    sizes = {1, *(abs(int(level)) for level in SINE)}
    assert max(sizes) == 1 << WIDER

    async def run(ctx):
        for size in sizes:
            ctx.set(code, encoded(size))
            for number in range(-(1 << (BITS - 1)), 1 << (BITS - 1)):
                ctx.set(value, number)
                await ctx.delay(1e-6)
                assert ctx.get(product) == size * number

    simulator = Simulator(m)
    simulator.add_testbench(run)
    simulator.run()
