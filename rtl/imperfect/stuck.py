"""Bits of a weight that are stuck: golden_model.imperfections.ImperfectHardware.stored and used."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib import data
from amaranth.lib.memory import Memory

from mgd.golden_model.imperfections import BrokenBits
from mgd.rtl.imperfect.config import ImperfectConfig
from mgd.rtl.lib.delay import delayed


def broken_bits(
    m: Module, name: str, config: ImperfectConfig, bits: BrokenBits, lane: int, address, clocks: int
):
    """What lane `lane` makes of the weight whose `address` came `clocks` ago, one or more: a
    function of a weight.  Cost: a memory of two weights' width."""
    width = config.network.weight_bits
    mask = (1 << width) - 1
    layout = data.StructLayout({"works": width, "ones": width})
    works, ones = (
        config.to_lanes([layer[0] for layer in part])[lane].astype(int).tolist() for part in bits
    )
    rows = [{"works": a & mask, "ones": b & mask} for a, b in zip(works, ones, strict=True)]
    m.submodules[name] = table = Memory(shape=layout, depth=config.lane_words, init=rows)
    port = table.read_port()
    m.d.comb += port.addr.eq(delayed(m, address, clocks - 1))
    found = port.data

    def broken(weight):
        return (weight.as_unsigned() & found.works | found.ones).as_signed()

    return broken
