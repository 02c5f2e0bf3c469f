"""Steps and commands: the state machine of the folded core.

The rules are those of golden_model.trainer.Trainer.step, with one difference that no number
shows: an update is applied in the sweep that follows it (the next step's, or a flush).
"""

from __future__ import annotations

from amaranth import Module, Mux, Shape, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ROUND_BITS
from mgd.protocol.fixed_settings import constant_fields
from mgd.protocol.registers import Command
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.control.cost_difference import CostDifference, difference_kind
from mgd.rtl.folded.control.layer_select import LayerSelect, layer_select
from mgd.rtl.folded.control.phases import Phases
from mgd.rtl.folded.control.sample_buffers import SampleBuffers
from mgd.rtl.interface import (
    CLOCK_BITS,
    COMMAND_SHAPE,
    SETTINGS_LAYOUT,
    STEP_BITS,
    evaluation_layout,
    with_constants,
)
from mgd.rtl.lib.counter import accumulated
from mgd.rtl.lib.delay import delayed
from mgd.rtl.units.costs import is_correct, label_shape, result_layout


def with_wiring(m: Module, settings, config: CoreConfig):
    """`settings`, those that are fixed in this core as constants."""
    constants = {"antithetic": 0} if config.variant.continuous else {}
    if config.variant.by_node:
        constants = {"nodes": 1, "accumulates": 0}
    return with_constants(m, settings, constants | constant_fields(config.fixed))


def cost_sum_shape(config: CoreConfig) -> Shape:
    """The same sum of what one core measures."""
    shape = config.cost_shape
    return Shape(shape.width + 1 + STEP_BITS, shape.signed)


class StepControl(wiring.Component):
    """The state machine of the core.

    Commands are accepted while idle (`command.ready`).  TRAIN ends with the step that makes
    `step` step_target, or, where that is lowered meanwhile, at the next step boundary for which no
    sample was fetched ahead: one or two steps later; the run goes on from there as if the target
    had been that step.  It starts the loop engine, the loader and the sign generator, receives the
    costs, and holds ΔC (`delta_cost`) and the random byte of the step whose update is pending.
    `result_in_3` announces the last pass's cost (3 clocks ahead): the next sweep starts in the
    clock after, and its first update term needs ΔC when it is there.
    `step` counts the steps begun; it is the number of steps done when the core is idle.

    `perturbed` has a bit per layer of weights.  In a core with scope = "layer" a step is one sweep
    of the network for each layer that is trained, lowest first: `perturbed` is that layer,
    the pending update rides on the first sweep, and `delta_costs` has a ΔC for each layer.

    keep_draw, new_draw, codes and codes_ready: rtl.folded.perturbations.base.Family, where the
    core has one.

    The sample buffers, the phases of the time constants and the difference of the costs are units
    in it: rtl.folded.control.sample_buffers, .phases, .cost_difference.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        net = config.network
        sum_shape = cost_sum_shape(config)
        delta_costs = net.depth if config.variant.by_layer else 0
        super().__init__(
            {
                "settings": In(SETTINGS_LAYOUT),
                "command": In(stream.Signature(COMMAND_SHAPE)),
                "evaluation": Out(stream.Signature(evaluation_layout(config))),
                "weights_written": In(1),
                # sample loader
                "load": Out(1),
                "load_evaluate": Out(1),
                "restart_train": Out(1),
                "restart_evaluate": Out(1),
                "loading": In(1),
                "loaded": In(1),
                "sample_consumed": Out(1),
                "next_label": In(label_shape(net)),
                "label": Out(label_shape(net)),
                # sweep
                "sweep": Out(1),
                "sweeping": In(1),
                "drained": In(1),
                "passes": Out(2),
                "flush": Out(1),
                "training": Out(1),
                "update": Out(1),
                "change": Out(1),
                "factor_0": Out(signed(2)),
                "factor_1": Out(signed(2)),
                "sample_current": Out(2),
                "sample_previous": Out(2),
                "sample_next": Out(2),
                "hidden_current": Out(1),
                "hidden_previous": Out(1),
                # signs
                "start_signs": Out(1),
                "signs_ready": In(1),
                "slot": Out(1),
                "previous_slot": Out(1),
                "keep_draw": Out(1),
                "new_draw": Out(1),
                "codes": Out(1),
                "codes_ready": In(1, init=1),
                "random": In(ROUND_BITS),
                "next_random": Out(1),
                # accumulators
                "clear": Out(1),
                "clear_word": Out(range(max(config.lane_words, 2))),
                # cost
                "cost": In(stream.Signature(result_layout(net, config.cost_shape))),
                "result_in_3": In(1),
                "delta_cost": Out(signed(net.delta_cost_bits)),
                "delta_costs": Out(data.ArrayLayout(signed(net.delta_cost_bits), delta_costs)),
                "perturbed": Out(net.depth),
                "delta_valid": Out(1),
                "step_random": Out(ROUND_BITS),
                # status
                "busy": Out(1),
                "step": Out(STEP_BITS),
                "cost_sum": Out(sum_shape),
                "train_clocks": Out(CLOCK_BITS),
                **self._ports(),
            }
        )

    def elaborate(self, platform):
        m = Module()
        s, r = self.settings, _Registers(self)
        m.submodules.phases = phases = Phases(self.config)
        m.submodules.buffers = buffers = SampleBuffers(self.config)
        m.submodules.difference = difference = self._difference()
        layers = layer_select(m, self.config)
        m.d.comb += [
            phases.tau_x.eq(s.tau_x),
            phases.tau_p.eq(s.tau_p),
            phases.tau_theta.eq(s.tau_theta),
            self.step.eq(r.step),
            self.clear_word.eq(r.clear_word),
            self.slot.eq(r.draw_slot),
            self.perturbed.eq(layers.perturbed),
            self.factor_0.eq(Mux(self.training & difference.first_is_plus(s.antithetic), 1, 0)),
            self.factor_1.eq(Mux(s.antithetic, -1, 1)),
        ]
        # A step has begun: in a register, since no phase is asked for within a clock of that.
        m.d.sync += phases.step.eq(r.starts)

        # Long carry chains, in registers: the counts change two clocks before they are asked.
        m.d.sync += [
            r.finished.eq(r.step >= s.step_target),
            r.all_evaluated.eq(r.evaluated == s.eval_count),
        ]
        # Whether a step may begin or the command ends, and whether a sample is there: decided a
        # clock before it is asked.  Nothing that happens in that clock changes either.
        # A sample that was fetched ahead would be missing from the next command.
        last = r.finished & ~self.loaded & ~self.loading
        m.d.sync += [
            r.ends.eq(last),
            r.may_begin.eq(~last & (self.loaded | ~r.new_sample)),
            r.sample_there.eq(self.loaded),
        ]
        # A result is taken while training, and where an evaluation awaits it.
        result = self.cost.payload
        m.d.comb += [
            self.cost.ready.eq(self.training | (r.awaits_result & self.evaluation.ready)),
            self.evaluation.valid.eq(r.awaits_result & self.cost.valid),
            self.evaluation.payload.cost.eq(result.cost),
            self.evaluation.payload.category.eq(result.category),
            self.evaluation.payload.correct.eq(
                is_correct(self.config.network, result.category, self.label)
            ),
            self.command.ready.eq(~self.busy),
            # `in_step` is the state STEP by itself, in a register: the rest of this comes late.
            r.starts.eq(r.in_step & ~layers.more & self._may_begin(r)),
        ]
        # Registered: it starts units all over the core.
        m.d.sync += self.start_signs.eq(0)
        with m.FSM():
            self._idle(m, r, layers)
            self._initialise(m, r, phases)
            self._train(m, r, layers, delayed(m, self.result_in_3, difference.latency))
            self._flush(m, r)
            self._evaluate(m, r)
        passes = difference.passes(s.antithetic, self._renew(m, r))
        self._begin_step(m, r, passes, phases, layers)
        self._buffers(m, r, passes, buffers)
        self._measure(m, r, difference, layers)
        with m.If(self.weights_written):
            m.d.sync += r.dirty.eq(1)
        return m

    # -- what rtl.imperfect makes imperfect ---------------------------------------------------

    def _difference(self) -> CostDifference:
        return difference_kind(self.config)(self.config)

    # -- what rtl.folded.control.node_steps replaces ----------------------------------------------

    def _ports(self) -> dict[str, wiring.Member]:
        """More ports."""
        return {}

    def _may_begin(self, r: _Registers):
        """Whether a step may begin, as known a clock before."""
        return r.may_begin

    # -- states -------------------------------------------------------------------------------

    def _idle(self, m: Module, r: _Registers, layers: LayerSelect) -> None:
        takes_codes = self.config.variant.takes_codes
        with m.State("IDLE"):
            m.d.sync += [r.evaluating.eq(0), self.training.eq(0), r.then_evaluate.eq(0)]
            m.d.sync += self.busy.eq(self.command.valid)
            layers.reset(m)
            with m.If(self.command.valid), m.Switch(self.command.payload.code):
                with m.Case(Command.INIT):
                    m.next = "INIT"
                with m.Case(Command.TRAIN):
                    m.next = "BEGIN"
                with m.Case(Command.EVALUATE):
                    m.d.sync += r.then_evaluate.eq(1)
                    m.next = "FLUSH"
                with m.Case(Command.FLUSH):
                    m.next = "FLUSH"
                if takes_codes:
                    with m.Case(Command.CODES):
                        m.d.comb += self.codes.eq(1)
                        m.next = "CODES"
        if takes_codes:
            with m.State("CODES"), m.If(self.codes_ready):
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"

    def _initialise(self, m: Module, r: _Registers, phases: Phases) -> None:
        with m.State("INIT"):
            m.d.comb += [self.restart_train.eq(1), phases.restart.eq(1)]
            m.d.sync += [
                self.start_signs.eq(1),
                r.step.eq(0),
                r.new_sample.eq(1),
                r.new_draw.eq(1),
                r.pending.eq(0),
                r.dirty.eq(1),
                r.draw_slot.eq(1),
                r.clear_word.eq(0),
            ]
            m.next = "CLEAR" if self.config.network.accumulators else "SIGNS"
        with m.State("CLEAR"):
            m.d.comb += self.clear.eq(1)
            m.d.sync += r.clear_word.eq(r.clear_word + 1)
            with m.If(r.clear_word == self.config.lane_words - 1):
                m.next = "SIGNS"
        with m.State("SIGNS"), m.If(self.signs_ready & ~self.start_signs):
            m.d.sync += self.busy.eq(0)
            m.next = "IDLE"

    def _train(self, m: Module, r: _Registers, layers: LayerSelect, result_soon) -> None:
        """A step begins in STEP, where the cost of the one before is still under way."""
        no_sample = ~self.loaded & ~self.loading & ~r.finished
        with m.State("BEGIN"):
            m.d.sync += r.in_step.eq(1)
            m.next = "STEP"
        with m.State("STEP"):
            m.d.sync += self.training.eq(1)
            with m.If(layers.more):
                # Another layer of the same step.
                m.d.comb += self.sweep.eq(1)
                m.d.sync += [
                    self.passes.eq(2 | self.settings.antithetic),
                    self.update.eq(0),
                    r.in_step.eq(0),
                ]
                layers.advance(m)
                m.next = "COUNTED"
            with m.Elif(r.ends & ~r.awaits_cost):
                m.d.sync += [self.busy.eq(0), r.in_step.eq(0)]
                m.next = "IDLE"
            with m.Else():
                m.d.comb += self.load.eq(r.new_sample & no_sample)
            with m.If(r.starts):
                m.next = "COUNTED"
        with m.State("COUNTED"):  # from the next clock on `finished` is about the step to come
            m.next = "COST"
        with m.State("COST"):
            # The next sample is fetched during the last step before it, if that is not the
            # last one of this command: the next command may be another one.
            m.d.comb += self.load.eq(r.new_sample & no_sample)
            with m.If(result_soon):
                m.d.sync += [r.awaits_cost.eq(1), r.in_step.eq(1)]
                m.next = "STEP"

    def _flush(self, m: Module, r: _Registers) -> None:
        with m.State("FLUSH"):
            m.d.comb += self.keep_draw.eq(1)
            m.d.sync += [
                self.flush.eq(1),
                self.update.eq(r.pending),
                self.change.eq(r.change_pending),
                self.previous_slot.eq(r.draw_slot),
                r.pending.eq(0),
                r.evaluated.eq(0),
            ]
            with m.If(r.pending):
                m.d.sync += r.dirty.eq(r.dirty | r.change_pending)
                m.d.comb += self.sweep.eq(1)
                m.next = "DRAIN"
            with m.Else():
                m.next = "FLUSHED"
        self._flushed(m, r)

    def _flushed(self, m: Module, r: _Registers) -> None:
        """The pending update is on its way, or made."""
        with m.State("DRAIN"), m.If(~self.sweeping & self.drained):
            m.next = "FLUSHED"
        with m.State("FLUSHED"):
            m.d.comb += self.restart_evaluate.eq(r.then_evaluate)
            m.d.sync += [
                self.flush.eq(0),
                self.update.eq(0),
                r.evaluating.eq(r.then_evaluate),
                self.busy.eq(r.then_evaluate),
            ]
            m.next = "IDLE"
            with m.If(r.then_evaluate):
                m.next = "SAMPLE"

    def _evaluate(self, m: Module, r: _Registers) -> None:
        fetches = ~r.all_evaluated & ~self.loaded & ~self.loading
        with m.State("SAMPLE"):
            m.d.comb += [self.load_evaluate.eq(1), self.load.eq(fetches)]
            with m.If(r.all_evaluated):
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"
            with m.Elif(r.sample_there):
                m.d.comb += [
                    r.evaluates.eq(1),
                    self.sample_consumed.eq(1),
                    self.sweep.eq(1),
                ]
                m.d.sync += [self.passes.eq(1), r.evaluated.eq(r.evaluated + 1)]
                m.next = "COUNTED_SAMPLE"
        with m.State("COUNTED_SAMPLE"):
            m.d.comb += self.load_evaluate.eq(1)
            m.d.sync += r.awaits_result.eq(1)
            m.next = "RESULT"
        with m.State("RESULT"):
            m.d.comb += [self.load_evaluate.eq(1), self.load.eq(fetches)]
            with m.If(self.cost.valid & self.evaluation.ready):
                m.d.sync += r.awaits_result.eq(0)
                m.next = "SAMPLE"

    # -- parts --------------------------------------------------------------------------------

    def _renew(self, m: Module, r: _Registers):
        """Whether C0 is that of another sample or of older weights."""
        renew = Signal()
        m.d.comb += renew.eq(r.new_sample | r.dirty | (r.pending & r.change_pending))
        return renew

    def _begin_step(self, m, r: _Registers, passes, phases, layers: LayerSelect) -> None:
        """All that changes as a step begins, in the state STEP."""
        with m.If(r.starts):
            m.d.comb += [
                self.sample_consumed.eq(r.new_sample),
                self.sweep.eq(1),
                self.keep_draw.eq(1),
                self.new_draw.eq(r.new_draw),
            ]
            m.d.sync += [
                self.passes.eq(passes),
                self.flush.eq(0),
                self.update.eq(r.pending),
                self.change.eq(r.change_pending),
                self.previous_slot.eq(r.draw_slot),
                r.pending.eq(1),
                r.change_pending.eq(phases.changes_weights),
                r.dirty.eq(0),
                r.step.eq(r.step + 1),
                r.new_sample.eq(phases.last_of_sample),
                r.new_draw.eq(phases.last_of_draw),
                r.in_step.eq(0),
            ]
            layers.begin(m)
            with m.If(r.new_draw):
                m.d.sync += r.draw_slot.eq(~r.draw_slot)

    def _buffers(self, m: Module, r: _Registers, passes, buffers: SampleBuffers) -> None:
        samples = ("sample_current", "sample_previous", "sample_next")
        names = ("label", *samples, "hidden_current", "hidden_previous")
        m.d.comb += [
            *(getattr(self, name).eq(getattr(buffers, name)) for name in names),
            buffers.next_label.eq(self.next_label),
            buffers.evaluating.eq(r.evaluating),
            buffers.evaluate.eq(r.evaluates),
            buffers.train.eq(r.starts & r.new_sample),
            buffers.keep.eq(self.keep_draw),
            # Only a first pass writes the hidden activations that an update reads.
            buffers.switch_hidden.eq(r.starts & passes[0]),
        ]

    def _measure(self, m, r: _Registers, difference, layers: LayerSelect) -> None:
        """The costs of a step; the second one may come when the next step has begun."""
        s, result = self.settings, self.cost.payload
        arrives = Signal()
        m.d.comb += [
            arrives.eq(self.training & self.cost.valid),
            difference.restart.eq(self.start_signs),
            difference.valid.eq(arrives),
            difference.second.eq(result.second),
            difference.cost.eq(result.cost),
            difference.antithetic.eq(s.antithetic),
            self.delta_valid.eq(difference.done),
            self.next_random.eq(self.delta_valid & layers.last_measured),
        ]
        layers.follow(m, r.awaits_cost)
        # Antithetic: both costs; forward: twice that of its perturbed pass.
        added = Mux(s.antithetic, result.cost, Mux(result.second, result.cost << 1, 0))
        train_clocks = accumulated(
            m, CLOCK_BITS, 1, enable=self.training, clear=self.start_signs, reset_less=True
        )
        m.d.comb += [
            self.cost_sum.eq(self._summed(m, added, arrives & layers.first_measured)),
            self.train_clocks.eq(train_clocks),
        ]
        with m.If(self.delta_valid):
            m.d.sync += [r.awaits_cost.eq(0), self.delta_cost.eq(difference.delta_cost)]
            with m.If(layers.last_measured):
                m.d.sync += self.step_random.eq(self.random)
            for k in range(len(self.delta_costs)):
                with m.If(layers.measured[k]):
                    m.d.sync += self.delta_costs[k].eq(difference.delta_cost)

    def _summed(self, m: Module, cost, enable):
        """The sum of the costs that come with `enable`, since INIT."""
        shape, clear = self.cost_sum.shape(), self.start_signs
        if not shape.signed:
            return accumulated(m, shape.width, cost, enable=enable, clear=clear, reset_less=True)
        # rtl.lib.counter adds nothing below 0.
        total = Signal(shape, reset_less=True)
        with m.If(clear):
            m.d.sync += total.eq(0)
        with m.Elif(enable):
            m.d.sync += total.eq(total + cost)
        return total


class _Registers:
    """What the states share.  Registers, unless they are driven in the clock in which they hold."""

    def __init__(self, control: StepControl) -> None:
        # What the steps so far have left: an update, one that changes weights, weights that C0 is
        # older than, a cost under way.
        self.pending, self.change_pending = Signal(), Signal()
        self.dirty, self.awaits_cost = Signal(), Signal()
        self.draw_slot = Signal()
        # What INIT clears needs no reset of the clock domain; the registers' own then serves INIT.
        self.step = Signal(STEP_BITS, reset_less=True)
        self.clear_word = Signal(len(control.clear_word), reset_less=True)
        self.evaluated = Signal(len(control.settings.eval_count), reset_less=True)
        self.evaluating, self.then_evaluate, self.awaits_result = Signal(), Signal(), Signal()
        # Whether the step to come is the first one of its sample, and of its draw.
        self.new_sample, self.new_draw = Signal(), Signal()
        self.finished, self.all_evaluated = Signal(), Signal()
        self.ends, self.may_begin, self.sample_there = Signal(), Signal(), Signal()
        self.in_step = Signal()
        self.starts = Signal()
        """Not registered: a step begins in this clock."""
        self.evaluates = Signal()
        """Not registered: an evaluation's sweep begins in this clock."""
