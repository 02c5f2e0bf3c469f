"""The signals between a core, the link and the sample memory, the same for every kind of core."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth import Module, Shape, ShapeLike, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import Network
from mgd.protocol.layout.base import CoreLayout
from mgd.protocol.registers import (
    CLOCK_BITS,
    CORE_REPORTS,
    STEP_BITS,
    Register,
    core_fields,
)

COMMAND_SHAPE = data.StructLayout({"code": Register.COMMAND.bits})

SETTINGS_LAYOUT = data.StructLayout(core_fields())
"""Run-time registers (golden_model.settings.Settings).  Change them only while the core is idle,
except step_target.  The core reads the seed and sign_layer only in INIT and CODES.  A changed
time constant also applies to the current period; it must not be below the current phase."""


def packed_fields(layout: data.StructLayout, **fields: int) -> int:
    """The packed vector of a struct port with these fields; the others are 0."""
    value = 0
    for name, field in fields.items():
        place = layout[name]
        value |= (int(field) & ((1 << place.width) - 1)) << place.offset
    return value


def with_constants(m: Module, settings, constants: Mapping[str, int]):
    """`settings` (SETTINGS_LAYOUT) with these fields as constants."""
    result = Signal(settings.shape())
    for field in settings.shape().members:
        m.d.comb += result[field].eq(constants.get(field, settings[field]))
    return result


def evaluation_layout(config: CoreLayout) -> data.StructLayout:
    """One evaluated sample: its cost (2^-cost_frac), its class, and whether that is right."""
    net = config.network
    return data.StructLayout(
        {"cost": unsigned(net.cost_bits), "category": range(net.classes), "correct": 1}
    )


def cost_sum_bits(network: Network) -> int:
    """Width of the training cost summed over a run, two passes a step."""
    return network.cost_bits + 1 + STEP_BITS


def weight_request_layout(config: CoreLayout) -> data.StructLayout:
    """Host access to one weight or accumulator: its lane and word, and the data of a write."""
    return data.StructLayout(
        {
            "lane": range(max(config.lanes, 2)),
            "word": range(max(config.lane_words, 2)),
            "accumulator": 1,
            "write": 1,
            "data": weight_shape(config),
        }
    )


def weight_shape(config: CoreLayout) -> Shape:
    """Weights and accumulators on their way to or from the host."""
    return signed(max(config.network.weight_bits, config.host_gradient_bits))


class CoreSignature(wiring.Signature):
    """The ports of every core, seen from the core.

    `command` takes protocol.registers.Command codes, `settings` are the run-time registers; those
    that are constants of the build are ignored.  `evaluation` has one result per evaluated sample;
    hold its ready high if nothing takes them.  `weight_request` and `weight_reply` are the host's
    access to weights and accumulators while `busy` is low.  `step`, `cost_sum`, `train_clocks` and
    the saturations are counters since INIT.

    sample_link: the ports to the core's sample memory, whose `serve` connects them.  probe: the
    signals that verification watches; leave it unconnected on a board: it then costs nothing.
    cost_sum: the shape of that counter, if not cost_sum_bits().  more: other ports.
    """

    def __init__(
        self,
        config: CoreLayout,
        sample_link: Mapping[str, wiring.Member],
        probe: data.StructLayout,
        cost_sum: ShapeLike | None = None,
        more: Mapping[str, wiring.Member] | None = None,
    ) -> None:
        super().__init__(
            {
                "settings": In(SETTINGS_LAYOUT),
                "command": In(stream.Signature(COMMAND_SHAPE)),
                **sample_link,
                "evaluation": Out(stream.Signature(evaluation_layout(config))),
                "weight_request": In(stream.Signature(weight_request_layout(config))),
                "weight_reply": Out(stream.Signature(weight_shape(config))),
                "busy": Out(1),
                **{report.field: Out(report.bits) for report in CORE_REPORTS},
                "cost_sum": Out(cost_sum_bits(config.network) if cost_sum is None else cost_sum),
                "probe": Out(probe),
                **(more or {}),
            }
        )


__all__ = [
    "CLOCK_BITS",
    "COMMAND_SHAPE",
    "SETTINGS_LAYOUT",
    "STEP_BITS",
    "CoreSignature",
    "cost_sum_bits",
    "evaluation_layout",
    "packed_fields",
    "weight_request_layout",
    "weight_shape",
    "with_constants",
]
