"""Build options of the folded core (protocol.build_options): objects that bring their own parts.

The core asks each option that it is built with for its parts, at the hooks of Option; one without
options has no gate of any of them.  To add one: a subclass here, and its name in OPTIONS.  An
option that replaces a unit instead brings one with the same ports:
rtl.folded.control.cost_difference.ContinuousDifference,
rtl.folded.control.layer_select.OneLayerAtATime,
rtl.folded.lanes.update_control.ScatteredUpdateControl, rtl.folded.program.loop_engine.VisitEngine,
rtl.folded.lanes.lane_perturbation.FamilyPerturbation.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import and_
from typing import Any

from amaranth import Array, Cat, Const, Module, Mux
from amaranth.lib.wiring import connect

from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.control.node_steps import NodeStepControl
from mgd.rtl.folded.lanes.input_gate import InputGate
from mgd.rtl.folded.lanes.node_sums import NodeSums
from mgd.rtl.folded.lanes.outer_lane import OuterLane
from mgd.rtl.folded.program.nonzero_inputs import NonzeroInputs
from mgd.rtl.folded.units import Units
from mgd.rtl.lib.delay import delayed
from mgd.rtl.memory.sample_order import SampleOrder


class Option:
    """What a build option may bring.  The hooks' defaults bring nothing."""

    @staticmethod
    def chosen(built: BuildOptions) -> bool:
        """Whether a core that is built for this has the option."""
        raise NotImplementedError

    def connect(self, m: Module, u: Units) -> None:
        """Add units and connect them; what is driven here replaces what the core has driven."""

    def allows_update(self, m: Module, u: Units):
        """Whether a token takes an update term, TokenTiming.update_term − 1 clocks after it."""
        return Const(1)

    def allows_change(self, m: Module, u: Units):
        """Whether a token's weight takes what its accumulator has, TokenTiming.lane_term clocks
        after it."""
        return Const(1)

    def requests(self, m: Module, u: Units, requests):
        """The stream of sample requests that leaves the core, of the one that leaves the loader."""
        return requests


def token_is_trained(u: Units):
    """Whether the token's layer is trained, in the token's clock."""
    layers = u.config.variant.layers(u.config.network)
    flags = [group["layer"] in layers for group in u.config.group_table]
    return Array([Const(flag, 1) for flag in flags])[u.engine.token.group]


class TrainedLayers(Option):
    """trainable: the weights of the other layers stay as they are."""

    @staticmethod
    def chosen(built: BuildOptions) -> bool:
        return bool(built.trainable)

    def allows_update(self, m: Module, u: Units):
        return delayed(m, token_is_trained(u), u.timing.update_term - 1)


class PerturbedLayers(Option):
    """trainable, scope = "layer": some layers' pre-activations are not perturbed."""

    @staticmethod
    def chosen(built: BuildOptions) -> bool:
        return built.selects

    def connect(self, m: Module, u: Units) -> None:
        layer = u.of_group(u.sums.group, "layer")
        m.d.comb += u.collector.group.unperturbed.eq(~u.control.perturbed.bit_select(layer, 1))


class LayerwiseCost(Option):
    """scope = "layer": each layer has a ΔC of its own."""

    @staticmethod
    def chosen(built: BuildOptions) -> bool:
        return built.by_layer

    def connect(self, m: Module, u: Units) -> None:
        # In the clock behind its activation.
        group = delayed(m, u.engine.token.group, u.timing.previous_x + 1)
        layer = u.of_group(group, "layer")
        m.d.comb += u.broadcast.delta.eq(Array(u.control.delta_costs)[layer])


class WeightDecay(Option):
    """decay_exp: weights that are not trained do not decay either."""

    @staticmethod
    def chosen(built: BuildOptions) -> bool:
        return bool(built.decay_exp and built.trainable)

    def allows_change(self, m: Module, u: Units):
        return delayed(m, token_is_trained(u), u.timing.lane_term)


class SkippedZeros(Option):
    """skip_zeros: the first layer's tokens are the inputs that are not 0 in this sample, and in the
    one before where its update is due; all where weights take what their accumulators have."""

    @staticmethod
    def chosen(built: BuildOptions) -> bool:
        return built.skip_zeros

    def connect(self, m: Module, u: Units) -> None:
        m.submodules.nonzero = nonzero = NonzeroInputs(u.config)
        control, token, at = u.control, u.engine.token, u.timing
        connect(m, nonzero.o, u.engine.visits)
        loaded = u.loader.o.payload
        # Registered: a sweep begins two clocks or more behind its sample's last input.
        m.d.sync += [
            nonzero.write.eq(u.loader.o.valid & u.loader.o.ready),
            nonzero.buffer.eq(control.sample_next),
            nonzero.index.eq(loaded.index),
            nonzero.nonzero.eq(loaded.value.any()),
        ]
        m.d.comb += [
            nonzero.start.eq(control.sweep),
            nonzero.sample_current.eq(control.sample_current),
            nonzero.sample_previous.eq(control.sample_previous),
            nonzero.uses_current.eq(~control.flush),
            nonzero.uses_previous.eq(control.update),
            nonzero.all.eq(control.update & control.change & u.settings.accumulates),
            u.signs.uses_current.eq(delayed(m, token.current, at.signs)),
            u.signs.uses_previous.eq(delayed(m, token.previous, at.signs)),
        ]

    def allows_update(self, m: Module, u: Units):
        return delayed(m, u.engine.token.previous, u.timing.update_term - 1)


class GatedZeros(Option):
    """gate_zeros: a synapse without an input takes no update."""

    @staticmethod
    def chosen(built: BuildOptions) -> bool:
        return built.gate_zeros

    def connect(self, m: Module, u: Units) -> None:
        m.submodules.gate = self._gate = gate = InputGate(u.config)
        y, step, token = u.activation.o.payload, u.control.step[0], u.engine.token
        m.d.comb += [
            gate.x.eq(u.memory.previous_x),
            gate.sample.eq(token.layer_0),
            gate.node.eq(token.hidden + token.input),
            # The step whose update is flushed is the last one that has begun.
            gate.set_read.eq(Mux(u.control.flush, step, ~step)),
            gate.stores.eq(u.activation.stores & y.tag.second),
            gate.set_written.eq(step),
            gate.node_written.eq(y.tag.node),
            gate.value.eq(y.value),
        ]

    def allows_update(self, m: Module, u: Units):
        return delayed(m, self._gate.open, u.timing.update_term - 1 - self._gate.latency)


class OrderedSamples(Option):
    """sample_order: samples in another order than the memory's."""

    @staticmethod
    def chosen(built: BuildOptions) -> bool:
        return built.ordered

    def requests(self, m: Module, u: Units, requests):
        kind = u.config.variant.sample_order
        m.submodules.sample_order = order = SampleOrder(kind, u.config.record_stride)
        m.d.comb += [
            order.load.eq(u.control.codes),
            order.part.eq(u.settings.sign_layer),
            order.data.eq(u.settings.seed),
        ]
        connect(m, requests, order.i)
        return order.o


class SumsPerNode(Option):
    """accumulate = "nodes": each lane sums ±ΔC of its nodes, and weights change in outer sweeps."""

    @staticmethod
    def chosen(built: BuildOptions) -> bool:
        return built.by_node

    def connect(self, m: Module, u: Units) -> None:
        m.submodules.node_sums = sums = NodeSums(u.config)
        control, engine, token, at = u.control, u.engine, u.engine.token, u.timing
        assert isinstance(control, NodeStepControl)
        # With its group in the output registers.
        taken = delayed(m, u.sums.take, 1)
        taken_group = delayed(m, u.sums.group, 1)
        step_parity = delayed(m, control.step[0], at.take + 1)
        recalls = delayed(m, token.recall, at.take + 1)
        of_first_layer = delayed(m, taken_group < u.config.groups[0], 1)
        done = delayed(m, token.group, at.mac)
        m.d.comb += [
            engine.recall.eq(control.recall & control.training),
            control.sums_busy.eq(sums.busy),
            sums.measured.eq(control.delta_valid),
            sums.restart.eq(control.start_signs),
            sums.outer.eq(control.update),
            sums.outer_group.eq(delayed(m, token.group, at.mac - OuterLane.ERROR)),
            sums.outer_ends.eq(delayed(m, engine.valid & token.bias, at.mac)),
            sums.outer_done.eq(done),
            u.saturations.active.eq(
                u.of_group(delayed(m, done, at.outer_written - at.mac), "active")
            ),
        ]
        # Products are taken a clock behind signs, and what is taken shows a clock later.
        recall_group = delayed(m, token.group, at.take - 1)
        stores = delayed(m, taken & control.training & ~recalls, 1) & of_first_layer
        stored_group = delayed(m, taken_group, 1)
        delta, random = delayed(m, control.delta_cost, 1), delayed(m, control.step_random, 1)
        for lane in u.lanes:
            m.d.comb += [
                lane.delta.eq(delta),
                lane.random.eq(random),
                lane.outer.eq(control.update),
                lane.node_read.eq(sums.read),
                lane.node_write.eq(sums.write),
                lane.node_written.eq(sums.written),
                lane.node_clear.eq(sums.clear),
                lane.sign_read.eq(Cat(sums.parity, sums.read)),
                lane.sign_write.eq(taken),
                lane.sign_written.eq(Cat(step_parity, taken_group)),
                lane.recalls.eq(recalls),
                lane.recall_read.eq(recall_group),
                lane.recall_write.eq(stores),
                lane.recall_written.eq(stored_group),
            ]


OPTIONS: tuple[type[Option], ...] = (
    TrainedLayers,
    PerturbedLayers,
    LayerwiseCost,
    WeightDecay,
    SkippedZeros,
    GatedZeros,
    OrderedSamples,
    SumsPerNode,
)


def options_of(config: CoreConfig) -> list[Option]:
    """Those that a core is built with."""
    return [option() for option in OPTIONS if option.chosen(config.variant)]


def all_of(conditions: Iterable[Any]):
    """Whether all of them hold; without any, a constant."""
    return reduce(and_, conditions, Const(1))
