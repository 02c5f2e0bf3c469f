"""The folded core: any dense network on P lanes."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from mgd.golden_model.network import SHIFT_MIN
from mgd.rtl.folded.activation_memory import ActivationMemory
from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.folded.collector import Collector, tag_layout
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.control.cost_difference import difference_kind
from mgd.rtl.folded.control.node_steps import NodeStepControl
from mgd.rtl.folded.control.saturation_counters import SaturationCounters
from mgd.rtl.folded.control.step_control import StepControl, cost_sum_shape, with_wiring
from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.folded.lanes.lane_perturbation import LanePerturbation, lane_perturbation
from mgd.rtl.folded.lanes.outer_lane import OuterLane
from mgd.rtl.folded.lanes.sum_control import SumControl
from mgd.rtl.folded.lanes.update_control import update_control
from mgd.rtl.folded.lanes.weight_access import WeightAccess
from mgd.rtl.folded.options import Option, all_of, options_of
from mgd.rtl.folded.probe import probe_layout, watch
from mgd.rtl.folded.program.token_timing import TokenTiming
from mgd.rtl.folded.program.visit_engine import loop_engine
from mgd.rtl.folded.signs import SignGenerator
from mgd.rtl.folded.units import Units
from mgd.rtl.interface import (
    CoreSignature,
)
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.piecewise import SharedTables
from mgd.rtl.memory.loader import Loader
from mgd.rtl.memory.samples import sample_link
from mgd.rtl.units.activation import Activation
from mgd.rtl.units.costs import cost_unit

__all__ = ["FoldedCore", "probe_layout"]


class FoldedCore(wiring.Component):
    """Trains and evaluates one network; equals golden_model.trainer.Trainer bit for bit.

    Streams: `command` (protocol.registers.Command codes), `sample_request`/`record` (to a
    rtl.memory.samples.SampleMemory or any other source of records), `evaluation` (one result per
    evaluated sample), `weight_request`/`weight_reply` (host access while not busy: a weight is
    answered 17 clocks and one per lane before its own later, 0 in the bits above it, an accumulator
    4; writing a weight takes 17 clocks, writing an accumulator two).  `settings` are the run-time
    registers; those that are fixed are ignored.

    A step takes groups·(fan_in+1) clocks for the first layer, twice that for each other one,
    and what it takes to fill and empty the pipeline (docs/architecture.md has the formula).

    In a design of your own connect sample_request, record and the two restart signals to a
    rtl.memory.samples.SampleMemory, and hold evaluation.ready high if you do not take results.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        super().__init__(
            CoreSignature(
                config,
                sample_link(addressed=config.variant.ordered),
                probe_layout(config),
                cost_sum_shape(config),
                self._ports(),
            )
        )

    def elaborate(self, platform):
        m = Module()
        u = self._units(m)
        u.add_to(m)
        options = options_of(self.config)

        # Host ─► step control, weight access.  Samples ─► loader ─► activation memory.
        self._host(m, u)
        self._samples(m, u, options)
        # Step control ─► loop engine ─► tokens, which all units see at clocks of TokenTiming.
        self._tokens(m, u)
        # A token ─► its signs, and with x of the step before ─► broadcast ─► its update term.
        self._signs(m, u)
        self._broadcast(m, u)
        perturbation = lane_perturbation(m, u)
        for option in options:
            option.connect(m, u)
        self._updates(m, u, options)
        # Update terms, signs and x of this step ─► lanes ─► sums.
        self._lanes(m, u, perturbation)
        self._disturb(m, u)
        # Sums ─► collector ─► activation ─► activation memory, cost ─► step control.
        self._sums(m, u)
        self._results(m, u)
        self._measure(m, u.control, u.cost)
        self._status(m, u)
        watch(m, u, self.probe)
        return m

    # -- what rtl.imperfect makes imperfect ---------------------------------------------------

    def _ports(self) -> dict[str, wiring.Member]:
        """More ports."""
        return {}

    def _step_control(self) -> StepControl:
        return (NodeStepControl if self.config.variant.by_node else StepControl)(self.config)

    def _lane(self, number: int) -> Lane:
        return (OuterLane if self.config.variant.by_node else Lane)(self.config)

    def _measure(self, m: Module, control: StepControl, cost) -> None:
        """The cost unit's results to the step control."""
        connect(m, control.cost, cost.o)

    def _pre_activation(self, m: Module, z):
        """A neuron's pre-activation, of the collector's output {value, output, tag}."""
        return z.value

    def _disturb(self, m: Module, u: Units) -> None:
        """More inputs of the lanes."""

    # -- parts of the core --------------------------------------------------------------------

    def _units(self, m: Module) -> Units:
        cfg = self.config
        return Units(
            config=cfg,
            timing=TokenTiming.of(cfg),
            settings=with_wiring(m, self.settings, cfg),
            control=self._step_control(),
            loader=Loader(cfg.network),
            engine=loop_engine(cfg),
            memory=ActivationMemory(cfg),
            signs=SignGenerator(cfg),
            broadcast=Broadcast(cfg),
            updates=update_control(cfg),
            sums=SumControl(cfg),
            access=WeightAccess(cfg),
            lanes=tuple(self._lane(p) for p in range(cfg.lanes)),
            collector=Collector(cfg),
            activation=Activation(
                cfg.network,
                tag_layout(cfg),
                dsp=cfg.activation_dsp,
                shared_tables=cfg.shared_tables,
                table_memory=cfg.table_memory,
                position_register=cfg.position_register,
            ),
            cost=cost_unit(
                cfg.network,
                dsp=cfg.cost_dsp,
                registered=cfg.memory_register,
                shared_tables=cfg.shared_tables,
            ),
            saturations=SaturationCounters(cfg.lanes),
        )

    def _host(self, m: Module, u: Units) -> None:
        """Commands and weights; an access and a command exclude each other."""
        control, access = u.control, u.access
        connect(m, flipped(self.evaluation), control.evaluation)
        connect(m, flipped(self.weight_request), access.request)
        connect(m, access.reply, flipped(self.weight_reply))
        gradients = 0
        for lane in u.lanes:
            gradients |= lane.read_gradient.as_unsigned()
        m.d.comb += [
            control.settings.eq(u.settings),
            control.command.payload.eq(self.command.payload),
            control.command.valid.eq(self.command.valid & ~access.access),
            self.command.ready.eq(control.command.ready & ~access.access),
            control.weights_written.eq(access.stores.any()),
            access.busy.eq(control.busy),
            access.command_waits.eq(self.command.valid),
            access.sum.eq(u.lanes[0].sum),
            access.gradients.eq(gradients),
        ]

    def _samples(self, m: Module, u: Units, options: list[Option]) -> None:
        control, loader = u.control, u.loader
        requests = loader.request
        for option in options:
            requests = option.requests(m, u, requests)
        connect(m, flipped(self.sample_request), requests)
        connect(m, loader.record, flipped(self.record))
        connect(m, u.memory.inputs, loader.o)
        m.d.comb += [
            loader.sample_consumed.eq(control.sample_consumed),
            loader.input_shift.eq(u.settings.input_shift),
            control.loading.eq(loader.busy | loader.start),
            control.loaded.eq(loader.loaded),
            control.next_label.eq(loader.label),
        ]
        # Registered: long routes from a state; no result is awaited within a clock of them.
        m.d.sync += [
            self.restart_train.eq(control.restart_train),
            self.restart_evaluate.eq(control.restart_evaluate),
            loader.start.eq(control.load),
            loader.evaluate.eq(control.load_evaluate),
        ]

    def _tokens(self, m: Module, u: Units) -> None:
        control, engine, memory = u.control, u.engine, u.memory
        y = u.activation.o.payload
        samples = ("sample_current", "sample_previous", "sample_next")
        buffers = (*samples, "hidden_current", "hidden_previous")
        m.d.comb += [
            engine.start.eq(control.sweep),
            engine.passes.eq(control.passes),
            engine.flush.eq(control.flush),
            control.sweeping.eq(engine.busy),
            control.drained.eq(u.updates.drained),
            # A token need not wait for an activation that is under way and there in time.
            engine.activation_written.eq(
                delayed(m, u.collector.sum_shifted, u.timing.activation_written)
            ),
            memory.token.eq(engine.token),
            memory.busy.eq(control.busy),
            *(getattr(memory, name).eq(getattr(control, name)) for name in buffers),
            memory.result_valid.eq(u.activation.stores),
            memory.result.eq(y.value),
            memory.result_node.eq(y.tag.node),
            memory.result_second.eq(y.tag.second),
        ]

    def _signs(self, m: Module, u: Units) -> None:
        """The generator sees tokens TokenTiming.signs clocks after they were issued."""
        control, signs, token, late = u.control, u.signs, u.engine.token, u.timing.signs
        saves = token.lead & control.training & ~control.flush
        m.d.comb += [
            signs.start.eq(control.start_signs),
            signs.seed.eq(u.settings.seed),
            signs.first_layer.eq(u.settings.sign_layer),
            signs.nodes.eq(u.settings.nodes),
            signs.valid.eq(delayed(m, u.engine.valid, late)),
            signs.first.eq(delayed(m, token.first, late)),
            signs.last.eq(delayed(m, token.bias, late)),
            signs.group.eq(delayed(m, token.group, late)),
            signs.slot.eq(control.slot),
            signs.previous_slot.eq(control.previous_slot),
            signs.save.eq(delayed(m, saves, late)),
            # The host's update terms are added as they are.
            signs.all_minus.eq(u.access.access),
            signs.next_random.eq(control.next_random),
            control.signs_ready.eq(signs.ready),
            control.random.eq(signs.random),
        ]

    def _broadcast(self, m: Module, u: Units) -> None:
        broadcast, s = u.broadcast, u.settings
        m.d.comb += [
            broadcast.x.eq(u.memory.previous_x),
            broadcast.delta.eq(u.control.delta_cost),
            broadcast.random.eq(u.control.step_random),
            broadcast.nodes.eq(s.nodes),
            broadcast.accumulates.eq(s.accumulates),
            broadcast.delta_exp.eq(s.delta_exp),
            broadcast.eta_exp.eq(s.eta_exp),
            broadcast.update.eq(u.updates.term),
            broadcast.inject.eq(u.access.inject),
            broadcast.injected_term.eq(u.access.injected_term),
        ]

    def _updates(self, m: Module, u: Units, options: list[Option]) -> None:
        updates, control = u.updates, u.control
        m.d.comb += [
            updates.token.eq(u.engine.token),
            updates.valid.eq(u.engine.valid),
            updates.start.eq(control.sweep),
            updates.update.eq(control.update),
            updates.change.eq(control.change),
            updates.accumulates.eq(u.settings.accumulates),
            updates.allowed.eq(all_of(option.allows_update(m, u) for option in options)),
            updates.change_allowed.eq(all_of(option.allows_change(m, u) for option in options)),
            updates.busy.eq(control.busy),
            updates.host_word.eq(self.weight_request.payload.word),
        ]

    def _lanes(self, m: Module, u: Units, perturbation: LanePerturbation) -> None:
        net, updates, access, clear = self.config.network, u.updates, u.access, u.control.clear
        # Registered: it reaches all lanes.  Their accumulators are finer than S says by as many
        # bits as the perturbation's values have.
        shift = u.broadcast.shift + self.config.variant.value_frac
        shift_right, residual_mask = Signal(6), Signal(max(net.gradient_bits, 1))
        m.d.sync += [
            shift_right.eq(shift - SHIFT_MIN),
            residual_mask.eq(Mux(shift > 0, (1 << shift[:6]) - 1, 0)),
        ]
        x = delayed(m, u.memory.early_x, u.timing.mac - u.timing.early_x)
        write_address = updates.written_word
        if net.accumulators:
            write_address = Mux(clear, u.control.clear_word, write_address)
        for p, lane in enumerate(u.lanes):
            perturbation.drive(m, u, p)
            # The ring of output registers.
            following = u.lanes[(p + 1) % len(u.lanes)]
            m.d.comb += [
                lane.chain_sum.eq(following.sum),
                lane.chain_sign_sum.eq(following.sign_sum),
                lane.address.eq(updates.address),
                lane.apply_accumulator.eq(updates.apply_accumulator),
                lane.accumulates.eq(u.settings.accumulates & ~access.access),
                lane.shift_right.eq(shift_right),
                lane.residual_mask.eq(residual_mask),
                lane.write.eq(updates.written | access.stores[p]),
                lane.write_address.eq(write_address),
                lane.host_gradient.eq(self.weight_request.payload.data),
                lane.host_write_gradient.eq(access.write_gradient[p]),
                lane.hide_gradient.eq(access.hide_gradient[p]),
                lane.clear.eq(clear),
                lane.x.eq(x),
                lane.signs.eq(u.sums.signs),
                lane.products.eq(u.sums.products),
            ]

    def _sums(self, m: Module, u: Units) -> None:
        sums, collector, control = u.sums, u.collector, u.control
        group = collector.group
        m.d.comb += [
            sums.token.eq(u.engine.token),
            sums.token_passes.eq(u.engine.pass_mask),
            sums.valid.eq(u.engine.valid),
            sums.flush.eq(control.flush),
            sums.busy.eq(control.busy),
            sums.host_reads.eq(u.access.reads_sum),
            collector.take.eq(sums.take),
            collector.sum.eq(u.lanes[0].sum),
            collector.sign_sum.eq(u.lanes[0].sign_sum),
            collector.factor_0.eq(control.factor_0),
            collector.factor_1.eq(control.factor_1),
            collector.delta_exp.eq(u.settings.delta_exp),
            group.passes.eq(sums.pass_mask),
            *(
                group[name].eq(u.of_group(sums.group, name))
                for name in ("node", "active", "last", "output")
            ),
        ]

    def _results(self, m: Module, u: Units) -> None:
        """Sums to pre-activations, to activations, to the cost."""
        net, z, y, cost = self.config.network, u.collector.o, u.activation.o, u.cost
        value = self._pre_activation(m, z.payload)
        m.d.comb += [
            u.activation.i.payload.value.eq(value),
            u.activation.i.payload.output.eq(z.payload.output),
            u.activation.i.payload.tag.eq(z.payload.tag),
            # Nothing here ever waits: a cost unit has room for a second pass, and the next sweep
            # begins when both costs, or the evaluated one, are as good as there.  So the ring's
            # registers need not hear of it.
            z.ready.eq(1),
            y.ready.eq(1),
            cost.label.eq(u.control.label),
            u.control.result_in_3.eq(cost.result_in_3),
        ]
        # Some costs read the outputs' pre-activations, the others their activations.
        source = z if net.reads_sums else y
        second = source.payload.tag.second
        m.d["sync" if self.config.cost_register else "comb"] += [
            cost.i.payload.value.eq(value if net.reads_sums else y.payload.value),
            cost.i.payload.node.eq(source.payload.tag.node),
            # The cost unit announces second passes: a step with one pass calls it the second.
            cost.i.payload.second.eq(second | (not difference_kind(self.config).SECOND_PASS)),
            cost.i.payload.last.eq(source.payload.tag.last),
            cost.i.valid.eq(source.valid & source.payload.output),
        ]
        activates = ~z.payload.output if net.reads_sums else 1
        m.d.comb += u.activation.i.valid.eq(z.valid & activates)
        if self.config.shared_tables:
            self._share_tables(m, u)

    def _share_tables(self, m: Module, u: Units) -> None:
        """One interpolator for the activation and the cost."""
        activation, cost = u.activation, u.cost
        m.submodules.tables = tables = SharedTables(
            activation.tables[0].table,
            activation.position_bits,
            cost.position_bits,
            len(activation.table_beyond),
            dsp=self.config.cost_dsp,
            memory=self.config.table_memory,
        )
        m.d.comb += [
            tables.activates.eq(activation.table_asked),
            tables.position.eq(activation.table_position),
            tables.beyond.eq(activation.table_beyond),
            tables.cost_position.eq(cost.table_position),
            tables.logarithm.eq(cost.table_logarithm),
            activation.table_value.eq(tables.value),
            cost.table_value.eq(tables.value),
        ]

    def _status(self, m: Module, u: Units) -> None:
        control, saturations, y = u.control, u.saturations, u.activation.o
        saturated = y.valid & y.ready & y.payload.saturated
        m.d.comb += [
            self.busy.eq(control.busy),
            self.step.eq(control.step),
            self.cost_sum.eq(control.cost_sum),
            self.train_clocks.eq(control.train_clocks),
            saturations.restart.eq(control.start_signs),
            saturations.written.eq(u.updates.written),
            saturations.clipped.eq(Cat(lane.clipped for lane in u.lanes)),
            saturations.active.eq(u.of_group(u.sums.mac_group, "active")),
            saturations.activation_saturated.eq(control.training & saturated),
            self.weight_saturations.eq(saturations.weights),
            self.activation_saturations.eq(saturations.activations),
        ]
