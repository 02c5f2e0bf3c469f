"""rtl.memory.sample_order: samples shuffled for every epoch, or drawn at random."""

from __future__ import annotations

import cocotb
import pytest
from cocotb.triggers import FallingEdge

from cocotb_tests.support.batch import Row
from cocotb_tests.support.core_driver import unpack
from cocotb_tests.support.runner import params, rng
from cocotb_tests.support.streams import receive, send, start_clock
from cocotb_tests.support.values import network_of
from mgd.golden_model.errors import UserError
from mgd.golden_model.samples import order as golden
from mgd.golden_model.seeds import start_state
from mgd.protocol.run_codes import SAMPLE_COUNTS, SAMPLE_WINDOW, SAMPLES_MAX, sample_codes
from mgd.rtl.memory.sample_order import SampleOrder
from mgd.rtl.memory.samples import ADDRESSED

NETWORK = {"layers": (3, 2)}
KINDS = (golden.EPOCH, golden.RANDOM)


@pytest.mark.simulated
@pytest.mark.parametrize("kind", KINDS)
def test_sample_order(kind):
    return Row(SampleOrder(kind, stride=7), orders, {"kind": kind, "stride": 7})


@cocotb.test(timeout_time=4, timeout_unit="ms")
async def orders(dut):
    """The places of the golden model, from any take on, whatever was under way before."""
    kind, stride, random = params()["kind"], params()["stride"], rng()
    net = network_of(NETWORK)
    await start_clock(dut)
    for count in (5, 1, 2, 3, 4, 1797, 8, 44136, SAMPLES_MAX, 9):
        takes = 2 * count + 3 if count < 10 else 12
        for taken in (0, random.randrange(3 * count)):
            seed = random.randrange(1 << 30)
            order = golden.SampleOrder(kind, net, [start_state(seed)], count)
            order.skip(taken)
            # A search that has no end, or is in its middle, does not matter to the next one.
            for part, value in zip(
                (SAMPLE_COUNTS, SAMPLE_WINDOW),
                sample_codes(kind, net, seed, count, taken),
                strict=True,
            ):
                dut.part.value, dut.data.value, dut.load.value = part, value, 1
                await FallingEdge(dut.clk)
                dut.load.value = 0
            for _ in range(takes):
                if random.random() < 0.3:
                    sent = cocotb.start_soon(send(dut, "i", [1], rng=random))
                    (raw,) = await receive(dut, "o", 1, stall=0.3, rng=random)
                    await sent
                    assert unpack(ADDRESSED, raw, "evaluate") == 1
                (wanted,) = order.take()
                sent = cocotb.start_soon(send(dut, "i", [0], rng=random))
                (raw,) = await receive(dut, "o", 1, stall=0.3, rng=random)
                await sent
                assert unpack(ADDRESSED, raw, "evaluate") == 0
                assert unpack(ADDRESSED, raw, "address") == wanted * stride, (count, taken)


def test_too_many_samples():
    with pytest.raises(UserError, match="65,537 training samples: a core numbers 65,536"):
        sample_codes("random", network_of(NETWORK), 1, SAMPLES_MAX + 1, 0)
