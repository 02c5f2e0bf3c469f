"""Steps, time constants and commands: what happens when.

The rules are those of golden_model.trainer.Trainer.step, with one difference that no number
shows: an update is applied in the sweep that follows it (the next step's, or a flush).
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Shape, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import ROUND_BITS, TAU_MAX
from mgd.protocol.fixed_settings import constant_fields
from mgd.protocol.registers import Command
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.layer_select import Layers
from mgd.rtl.interface import (
    CLOCK_BITS,
    COMMAND_SHAPE,
    SETTINGS_LAYOUT,
    STEP_BITS,
    evaluation_layout,
    with_constants,
)
from mgd.rtl.lib.arithmetic import as_signed
from mgd.rtl.lib.counter import accumulated
from mgd.rtl.lib.delay import delayed
from mgd.rtl.units.costs import result_layout
from mgd.rtl.units.highpass import HighPass


def with_wiring(m: Module, settings, config: CoreConfig):
    """`settings`, those that are fixed in this core as constants."""
    constants = {"antithetic": 0} if config.variant.continuous else {}
    return with_constants(m, settings, constants | constant_fields(config.fixed))


def cost_sum_shape(config: CoreConfig) -> Shape:
    """The same sum of what one core measures."""
    shape = config.cost_shape
    return Shape(shape.width + 1 + STEP_BITS, shape.signed)


class Schedule(wiring.Component):
    """The state machine of the core.

    Commands are accepted while idle (`command.ready`).  TRAIN ends with the step that makes
    `step` step_target, or, where that is lowered meanwhile, at the next step boundary for which no
    sample was fetched ahead: one or two steps later.  What follows is as if it had been so from the
    beginning.  It starts the sweeper, the loader and
    the sign generator, receives the costs, and holds D and the random byte of the step whose
    update is pending.  `cost_soon` announces the second pass's cost (SOON clocks ahead):
    the next sweep starts in the clock after, and its first share needs D when it is there.
    `step` counts the steps begun; it is the number of steps done when the core is idle.

    `perturbed` has a bit per layer of weights.  In a core with scope = "layer" a step is a sweep
    after the other, one for each layer that is trained, lowest first: `perturbed` tells which,
    the pending update rides on the first one, and `deltas` has a D for each layer.

    keeps_draw, takes_draw, codes and codes_ready: rtl.folded.perturbations.base.Family, where the
    core has one.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        net = config.network
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
                "taken": Out(1),
                "next_label": In(range(net.classes)),
                "label": Out(range(net.classes)),
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
                "sample_now": Out(2),
                "sample_before": Out(2),
                "sample_next": Out(2),
                "hidden_now": Out(1),
                "hidden_before": Out(1),
                # signs
                "start_signs": Out(1),
                "signs_ready": In(1),
                "slot": Out(1),
                "previous_slot": Out(1),
                "keeps_draw": Out(1),
                "takes_draw": Out(1),
                "codes": Out(1),
                "codes_ready": In(1, init=1),
                "random": In(ROUND_BITS),
                "next_random": Out(1),
                # accumulators
                "clear": Out(1),
                "clear_word": Out(range(max(config.lane_words, 2))),
                # cost
                "cost": In(stream.Signature(result_layout(net, config.cost_shape))),
                "cost_soon": In(1),
                "delta": Out(signed(net.delta_cost_bits)),
                "deltas": Out(
                    data.ArrayLayout(
                        signed(net.delta_cost_bits), net.depth if config.variant.by_layer else 0
                    )
                ),
                "perturbed": Out(net.depth),
                "delta_valid": Out(1),
                "step_random": Out(ROUND_BITS),
                # status
                "busy": Out(1),
                "step": Out(STEP_BITS),
                "cost_sum": Out(cost_sum_shape(config)),
                "train_clocks": Out(CLOCK_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, net, s = self.config, self.config.network, self.settings

        # What is left from the steps so far.
        pending, change_pending = Signal(), Signal()
        awaits_cost = Signal()
        dirty = Signal()
        draw_slot = Signal()
        # Three sample buffers trade places: in use, used before, loaded next.
        now, before, following = Signal(2, init=0), Signal(2, init=1), Signal(2, init=2)
        hidden = Signal()
        evaluating = Signal()
        evaluated = Signal(len(s.eval_count), reset_less=True)
        then_evaluate = Signal()
        label_train, label_evaluate = Signal.like(self.label), Signal.like(self.label)
        # What INIT clears needs no reset of the clock domain; the registers' own then serves INIT.
        step = Signal(STEP_BITS, reset_less=True)
        clear_word = Signal(len(self.clear_word), reset_less=True)
        m.d.comb += [
            self.step.eq(step),
            self.clear_word.eq(clear_word),
        ]

        # The continuous form has one pass a step, and D a little later than its cost.
        continuous = cfg.variant.continuous
        first_plus = Const(1) if continuous else s.antithetic
        cost_soon = delayed(m, self.cost_soon, HighPass.LATENCY if continuous else 0)

        m.d.comb += [
            self.slot.eq(draw_slot),
            self.sample_now.eq(Mux(evaluating, before, now)),
            self.sample_next.eq(following),
            self.hidden_now.eq(hidden ^ evaluating),
            self.label.eq(Mux(evaluating, label_evaluate, label_train)),
            self.factor_0.eq(Mux(self.training & first_plus, 1, 0)),
            self.factor_1.eq(Mux(s.antithetic, -1, 1)),
        ]

        layers = Layers(m, cfg)
        m.d.comb += self.perturbed.eq(layers.perturbed)
        # The phases of the time constants, from 1 up to each; one that is always 1, as tau_theta in
        # a core without accumulators, has none.  A phase is compared a clock later than it is
        # counted, and asked for many clocks after that.
        phases: list[tuple[Signal, Signal]] = []

        def period_ends(period, longest: int):
            if longest == 1:
                return Const(1)
            phase, ends = Signal(range(longest + 1), reset_less=True), Signal()
            m.d.sync += ends.eq(phase == period)
            phases.append((phase, ends))
            return ends

        last_of_sample = period_ends(s.tau_x, cfg.longest("tau_x", TAU_MAX))
        last_of_draw = period_ends(s.tau_p, cfg.longest("tau_p", TAU_MAX))
        changes = period_ends(s.tau_theta, cfg.longest("tau_theta", net.tau_theta_max))

        # A step has begun: from a register, as a phase is not asked for as soon as that.
        begun = Signal()
        m.d.sync += begun.eq(0)
        with m.If(begun):
            for phase, ends in phases:
                with m.If(ends):
                    m.d.sync += phase.eq(1)
                with m.Else():
                    m.d.sync += phase.eq(phase + 1)

        # Whether the step to come is the first one of a phase.
        new_sample, new_draw = Signal(), Signal()
        renew, finished = Signal(), Signal()
        m.d.comb += renew.eq(new_sample | dirty | (pending & change_pending))
        passes = Const(1, 2) if continuous else 2 | (s.antithetic | renew)
        # Long carry chains, in registers: the counts have changed two clocks before they are asked.
        all_evaluated = Signal()
        m.d.sync += [
            finished.eq(step >= s.step_target),
            all_evaluated.eq(evaluated == s.eval_count),
        ]

        # Whether a step may begin or the command ends, and whether a sample is there: decided a
        # clock before it is asked.  Neither can change in that clock by what is done in it.
        begins, ends, sample_there = Signal(), Signal(), Signal()
        # A sample that was fetched ahead would be missing from the next command.
        last = finished & ~self.loaded & ~self.loading
        m.d.sync += [
            ends.eq(last),
            begins.eq(~last & (self.loaded | ~new_sample)),
            sample_there.eq(self.loaded),
        ]

        # A result leaves while training, and where it is awaited and taken.
        awaits_result = Signal()
        m.d.comb += [
            self.cost.ready.eq(self.training | (awaits_result & self.evaluation.ready)),
            self.evaluation.valid.eq(awaits_result & self.cost.valid),
            self.command.ready.eq(~self.busy),
        ]
        # It starts much: from a register.
        m.d.sync += self.start_signs.eq(0)
        # So does a step, and what else it asks for comes late: `steps` is the state STEP by itself.
        steps, starts = Signal(), Signal()
        m.d.comb += starts.eq(steps & ~layers.more & begins)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [evaluating.eq(0), self.training.eq(0), then_evaluate.eq(0)]
                m.d.sync += self.busy.eq(self.command.valid)
                layers.reset(m)
                with m.If(self.command.valid), m.Switch(self.command.payload.code):
                    with m.Case(Command.INIT):
                        m.next = "INIT"
                    with m.Case(Command.TRAIN):
                        m.next = "BEGIN"
                    with m.Case(Command.EVALUATE):
                        m.d.sync += then_evaluate.eq(1)
                        m.next = "FLUSH"
                    with m.Case(Command.FLUSH):
                        m.next = "FLUSH"
                    if cfg.variant.takes_codes:
                        with m.Case(Command.CODES):
                            m.d.comb += self.codes.eq(1)
                            m.next = "CODES"
            if cfg.variant.takes_codes:
                with m.State("CODES"), m.If(self.codes_ready):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"

            with m.State("INIT"):
                m.d.comb += self.restart_train.eq(1)
                m.d.sync += [
                    self.start_signs.eq(1),
                    step.eq(0),
                    *(phase.eq(1) for phase, _ in phases),
                    new_sample.eq(1),
                    new_draw.eq(1),
                    pending.eq(0),
                    dirty.eq(1),
                    draw_slot.eq(1),
                    clear_word.eq(0),
                ]
                m.next = "CLEAR" if net.accumulators else "SIGNS"
            with m.State("CLEAR"):
                m.d.comb += self.clear.eq(1)
                m.d.sync += clear_word.eq(clear_word + 1)
                with m.If(clear_word == cfg.lane_words - 1):
                    m.next = "SIGNS"
            with m.State("SIGNS"), m.If(self.signs_ready & ~self.start_signs):
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"

            with m.State("BEGIN"):
                m.d.sync += steps.eq(1)
                m.next = "STEP"
            with m.State("STEP"):
                m.d.sync += self.training.eq(1)
                with m.If(layers.more):
                    # Another layer of the same step.
                    m.d.comb += self.sweep.eq(1)
                    m.d.sync += [self.passes.eq(2 | s.antithetic), self.update.eq(0), steps.eq(0)]
                    layers.advance(m)
                    m.next = "COUNTED"
                with m.Elif(ends & ~awaits_cost):
                    m.d.sync += [self.busy.eq(0), steps.eq(0)]
                    m.next = "IDLE"
                with m.Else():
                    fetches = new_sample & ~self.loaded & ~self.loading & ~finished
                    m.d.comb += self.load.eq(fetches)
                with m.If(starts):
                    m.next = "COUNTED"
            with m.State("COUNTED"):  # now `finished` is about the step to come
                m.next = "COST"
            with m.State("COST"):
                # The next sample is fetched during the last step before it, if that is not the
                # last one of this command: the next command may be another one.
                wanted = new_sample & ~finished & ~self.loaded & ~self.loading
                m.d.comb += self.load.eq(wanted)
                with m.If(cost_soon):
                    m.d.sync += [awaits_cost.eq(1), steps.eq(1)]
                    m.next = "STEP"

            with m.State("FLUSH"):
                m.d.comb += self.keeps_draw.eq(1)
                m.d.sync += [
                    self.flush.eq(1),
                    self.update.eq(pending),
                    self.change.eq(change_pending),
                    self.previous_slot.eq(draw_slot),
                    self.sample_before.eq(now),
                    self.hidden_before.eq(hidden),
                    pending.eq(0),
                    evaluated.eq(0),
                ]
                with m.If(pending):
                    m.d.sync += dirty.eq(dirty | change_pending)
                    m.d.comb += self.sweep.eq(1)
                    m.next = "DRAIN"
                with m.Else():
                    m.next = "FLUSHED"
            with m.State("DRAIN"), m.If(~self.sweeping & self.drained):
                m.next = "FLUSHED"
            with m.State("FLUSHED"):
                m.d.comb += self.restart_evaluate.eq(then_evaluate)
                m.d.sync += [self.flush.eq(0), self.update.eq(0), evaluating.eq(then_evaluate)]
                m.d.sync += self.busy.eq(then_evaluate)
                m.next = "IDLE"
                with m.If(then_evaluate):
                    m.next = "SAMPLE"

            with m.State("SAMPLE"):
                m.d.comb += self.load_evaluate.eq(1)
                m.d.comb += self.load.eq(~all_evaluated & ~self.loaded & ~self.loading)
                with m.If(all_evaluated):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"
                with m.Elif(sample_there):
                    m.d.comb += [self.taken.eq(1), self.sweep.eq(1)]
                    m.d.sync += [
                        self.passes.eq(1),
                        evaluated.eq(evaluated + 1),
                        label_evaluate.eq(self.next_label),
                        before.eq(following),
                        following.eq(before),
                    ]
                    m.next = "COUNTED_SAMPLE"
            with m.State("COUNTED_SAMPLE"):
                m.d.comb += self.load_evaluate.eq(1)
                m.d.sync += awaits_result.eq(1)
                m.next = "RESULT"
            with m.State("RESULT"):
                m.d.comb += [
                    self.load_evaluate.eq(1),
                    self.load.eq(~all_evaluated & ~self.loaded & ~self.loading),
                ]
                with m.If(self.cost.valid & self.evaluation.ready):
                    m.d.sync += awaits_result.eq(0)
                    m.next = "SAMPLE"

        with m.If(starts):
            m.d.comb += [
                self.taken.eq(new_sample),
                self.sweep.eq(1),
                self.keeps_draw.eq(1),
                self.takes_draw.eq(new_draw),
            ]
            m.d.sync += [
                self.passes.eq(passes),
                self.flush.eq(0),
                self.update.eq(pending),
                self.change.eq(change_pending),
                pending.eq(1),
                change_pending.eq(changes),
                dirty.eq(0),
                self.previous_slot.eq(draw_slot),
                self.sample_before.eq(now),
                self.hidden_before.eq(hidden),
                hidden.eq(hidden ^ passes[0]),
                step.eq(step + 1),
                new_sample.eq(last_of_sample),
                new_draw.eq(last_of_draw),
                begun.eq(1),
            ]
            layers.begin(m)
            with m.If(new_sample):
                m.d.sync += [
                    label_train.eq(self.next_label),
                    now.eq(following),
                    before.eq(now),
                    following.eq(before),
                ]
            with m.If(new_draw):
                m.d.sync += draw_slot.eq(~draw_slot)
            m.d.sync += steps.eq(0)

        result = self.cost.payload
        m.d.comb += [
            self.evaluation.payload.cost.eq(result.cost),
            self.evaluation.payload.category.eq(result.category),
            self.evaluation.payload.correct.eq(result.category == self.label),
        ]
        # The costs of a step; the second one may come when the next step has begun.
        arrives, measured = Signal(), Signal()
        m.d.comb += [
            arrives.eq(self.training & self.cost.valid),
            self.delta_valid.eq(measured),
            self.next_random.eq(self.delta_valid & layers.last_measured),
        ]
        layers.follow(m, awaits_cost)
        both = Mux(s.antithetic, result.cost, Mux(result.second, result.cost << 1, 0))
        summed, clear = arrives & layers.first_measured, self.start_signs
        train_clocks = accumulated(
            m, CLOCK_BITS, 1, enable=self.training, clear=clear, reset_less=True
        )
        m.d.comb += [
            self.cost_sum.eq(self._summed(m, both, summed, clear)),
            self.train_clocks.eq(train_clocks),
        ]
        delta = self._difference(m, arrives, measured)
        with m.If(self.delta_valid):
            m.d.sync += [awaits_cost.eq(0), self.delta.eq(delta)]
            with m.If(layers.last_measured):
                m.d.sync += self.step_random.eq(self.random)
            for k in range(len(self.deltas)):
                with m.If(layers.measured[k]):
                    m.d.sync += self.deltas[k].eq(delta)
        with m.If(self.weights_written):
            m.d.sync += dirty.eq(1)
        return m

    def _summed(self, m: Module, cost, enable, clear):
        """The sum of the costs that come with `enable`."""
        shape = self.cost_sum.shape()
        if not shape.signed:
            return accumulated(m, shape.width, cost, enable=enable, clear=clear, reset_less=True)
        # rtl.lib.counter adds nothing below 0.
        total = Signal(shape, reset_less=True)
        with m.If(clear):
            m.d.sync += total.eq(0)
        with m.Elif(enable):
            m.d.sync += total.eq(total + cost)
        return total

    def _difference(self, m: Module, arrives, measured):
        """D, in the clock in which `measured` is high; `arrives`: a cost does."""
        cfg, s, result = self.config, self.settings, self.cost.payload
        if cfg.variant.continuous:
            m.submodules.highpass = highpass = HighPass(cfg.network, cfg.variant.highpass_exp)
            m.d.comb += [
                highpass.restart.eq(self.start_signs),
                highpass.valid.eq(arrives),
                highpass.cost.eq(result.cost),
                measured.eq(highpass.done),
            ]
            return highpass.delta
        m.d.comb += measured.eq(arrives & result.second)
        # One adder for both differences: with n = ~C₀ (or ~C⁺), C − C0 = C + n + 1, and
        # C⁺ − C⁻ = ~(C⁻ + n).
        cost = as_signed(result.cost)
        negative = Signal(cost.shape(), reset_less=True)
        with m.If(arrives & ~result.second):
            m.d.sync += negative.eq(~cost)
        total = Cat(1, negative).as_signed() + Cat(~s.antithetic, cost).as_signed()
        total = total[1:].as_signed()
        return Mux(s.antithetic, ~total, total << 1)
