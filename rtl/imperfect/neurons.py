"""Gain and offset of each neuron: golden_model.imperfections.ImperfectHardware.neurons."""

from __future__ import annotations

from amaranth import Array, Const, Module, Mux, Signal, signed

from mgd.golden_model.imperfections import GAIN_FRAC
from mgd.golden_model.network import signed_bits
from mgd.rtl.imperfect.config import ImperfectConfig
from mgd.rtl.imperfect.limit import limited


def imperfect(m: Module, config: ImperfectConfig, z):
    """The pre-activation of a neuron, of the collector's output {value, output, tag}.

    No clock later: one multiplier, and a table of all neurons in logic.
    """
    hardware, net = config.hardware, config.network
    number = z.tag.node + Mux(z.output, config.hidden_nodes, 0)
    gain, offset = (_of_neuron(tables, number) for tables in (hardware.gains, hardware.offsets))
    scaled = (z.value * gain + (1 << GAIN_FRAC >> 1)) >> GAIN_FRAC
    value = Signal(signed(net.pre_bits))
    m.d.comb += value.eq(limited(scaled + offset, hardware.pre_bound))
    return value


def _of_neuron(tables, number):
    """An entry of tables per layer (1, nodes), by the neuron's number through the network."""
    values = [int(value) for table in tables for value in table[0]]
    shape = signed(signed_bits(min(0, *values), max(0, *values)))
    return Array([Const(value, shape) for value in values])[number]
