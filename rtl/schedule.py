"""Steps, time constants and commands: what happens when.

The rules are those of golden_model.trainer.Trainer.step, with one difference that no number
shows: an update is applied in the sweep that follows it (the next step's, or a flush).
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.network import DELTA_EXP_MAX, ROUND_BITS
from golden_model.settings import Settings
from golden_model.signs import STATE_BITS
from rtl.config import CoreConfig
from rtl.cost import result_layout
from rtl.protocol import Command

COMMAND_SHAPE = data.StructLayout({"code": range(max(Command) + 1)})

SETTINGS_LAYOUT = data.StructLayout(
    {
        "nodes": 1,
        "antithetic": 1,
        "accumulates": 1,
        "delta_exp": range(DELTA_EXP_MAX + 1),
        "eta_exp": 5,
        "input_shift": 4,
        "tau_x": 32,
        "tau_p": 32,
        "tau_theta": 32,
        "step_target": 32,
        "eval_count": 32,
        "seed": STATE_BITS,
    }
)
"""Run-time registers (golden_model.settings.Settings).  Change them only while idle; the
time constants and the seed take effect at INIT."""


def register_fields(settings: Settings) -> dict[str, int]:
    """The fields of SETTINGS_LAYOUT that `settings` decides."""
    return {
        "nodes": int(settings.perturbs_nodes),
        "antithetic": int(settings.antithetic),
        "accumulates": int(settings.accumulates),
        "delta_exp": settings.delta_exp,
        "eta_exp": settings.eta_exp,
        "input_shift": settings.input_shift,
        "tau_x": settings.tau_x,
        "tau_p": settings.tau_p,
        "tau_theta": settings.tau_theta,
    }


def packed_fields(layout: data.StructLayout, **fields: int) -> int:
    """The packed vector of a struct port with these fields; the others are 0."""
    value = 0
    for name, field in fields.items():
        place = layout[name]
        value |= (int(field) & ((1 << place.width) - 1)) << place.offset
    return value


def evaluation_layout(config: CoreConfig) -> data.StructLayout:
    """One evaluated sample: its cost (2^-cost_frac), its class, and whether that is right."""
    net = config.network
    return data.StructLayout(
        {"cost": unsigned(net.cost_bits), "category": range(net.classes), "correct": 1}
    )


class Schedule(wiring.Component):
    """The state machine of the core.

    Commands are accepted while idle (`command.ready`).  It starts the sweeper, the loader and
    the sign generator, receives the costs, and holds D and the random byte of the step whose
    update is pending.  A step takes 2 clocks here beyond sweep and cost.
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
                "random": In(ROUND_BITS),
                "next_random": Out(1),
                # accumulators
                "clear": Out(1),
                "clear_word": Out(range(max(config.lane_words, 2))),
                # cost
                "cost": In(stream.Signature(result_layout(net))),
                "delta": Out(signed(net.delta_cost_bits)),
                "delta_valid": Out(1),
                "step_random": Out(ROUND_BITS),
                # status
                "busy": Out(1),
                "step": Out(32),
                "cost_sum": Out(64),
                "train_clocks": Out(64),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, net, s = self.config, self.config.network, self.settings

        # What is left from the steps so far.
        pending = Signal()
        change_pending = Signal()
        dirty = Signal()
        draw_slot = Signal()
        phase_x, phase_p, phase_theta = Signal(32), Signal(32), Signal(32)
        cost_0 = Signal(unsigned(net.cost_bits))
        # Three sample buffers trade places: in use, used before, loaded next.
        now, before, following = Signal(2, init=0), Signal(2, init=1), Signal(2, init=2)
        hidden = Signal()
        sample_changed, hidden_changed = Signal(), Signal()
        evaluating = Signal()
        left = Signal(32)
        then_evaluate = Signal()
        label_train, label_evaluate = Signal.like(self.label), Signal.like(self.label)

        m.d.comb += [
            self.change.eq(change_pending),
            self.slot.eq(draw_slot),
            self.sample_now.eq(Mux(evaluating, before, now)),
            self.sample_before.eq(Mux(sample_changed, before, now)),
            self.sample_next.eq(following),
            self.hidden_now.eq(hidden ^ evaluating),
            self.hidden_before.eq(hidden ^ hidden_changed),
            self.label.eq(Mux(evaluating, label_evaluate, label_train)),
            self.factor_0.eq(Mux(self.training & s.antithetic, 1, 0)),
            self.factor_1.eq(Mux(s.antithetic, -1, 1)),
        ]

        new_sample, renew = Signal(), Signal()
        last_step_with_sample = Signal()
        m.d.comb += [
            new_sample.eq(phase_x == 0),
            renew.eq(new_sample | dirty | (pending & change_pending)),
            # Load ahead only what a step of this command will use.
            last_step_with_sample.eq(s.step_target - self.step <= s.tau_x - phase_x),
        ]

        def wrapped(phase, period):
            return Mux(phase == period - 1, 0, phase + 1)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += [evaluating.eq(0), self.training.eq(0), then_evaluate.eq(0)]
                with m.If(self.command.valid), m.Switch(self.command.payload.code):
                    with m.Case(Command.INIT):
                        m.d.comb += [self.start_signs.eq(1), self.restart_train.eq(1)]
                        m.d.sync += [
                            self.step.eq(0),
                            phase_x.eq(0),
                            phase_p.eq(0),
                            phase_theta.eq(0),
                            pending.eq(0),
                            dirty.eq(1),
                            draw_slot.eq(1),
                            self.cost_sum.eq(0),
                            self.train_clocks.eq(0),
                            self.clear_word.eq(0),
                        ]
                        m.next = "CLEAR"
                    with m.Case(Command.TRAIN):
                        m.next = "STEP"
                    with m.Case(Command.EVALUATE):
                        m.d.comb += self.restart_evaluate.eq(1)
                        m.d.sync += [then_evaluate.eq(1), left.eq(s.eval_count)]
                        m.next = "FLUSH"
                    with m.Case(Command.FLUSH):
                        m.next = "FLUSH"

            with m.State("CLEAR"):
                m.d.comb += self.clear.eq(1)
                m.d.sync += self.clear_word.eq(self.clear_word + 1)
                with m.If(self.clear_word == cfg.lane_words - 1):
                    m.next = "SIGNS"
            with m.State("SIGNS"), m.If(self.signs_ready):
                m.next = "IDLE"

            with m.State("STEP"):
                m.d.sync += self.training.eq(1)
                with m.If(self.step >= s.step_target):
                    m.next = "IDLE"
                with m.Elif(new_sample & ~self.loaded):
                    m.d.comb += self.load.eq(~self.loading)
                with m.Else():
                    m.d.comb += [self.taken.eq(new_sample), self.sweep.eq(1)]
                    m.d.sync += [
                        self.passes.eq(2 | (s.antithetic | renew)),
                        self.flush.eq(0),
                        self.update.eq(pending),
                        pending.eq(0),
                        dirty.eq(0),
                        self.previous_slot.eq(draw_slot),
                        sample_changed.eq(new_sample),
                        hidden_changed.eq(s.antithetic | renew),
                        hidden.eq(hidden ^ (s.antithetic | renew)),
                    ]
                    with m.If(new_sample):
                        m.d.sync += [
                            label_train.eq(self.next_label),
                            now.eq(following),
                            before.eq(now),
                            following.eq(before),
                        ]
                    with m.If(phase_p == 0):
                        m.d.sync += draw_slot.eq(~draw_slot)
                    m.next = "PREFETCH"
            with m.State("PREFETCH"):
                with m.If(~self.loaded & ~self.loading & ~last_step_with_sample):
                    m.d.comb += self.load.eq(1)
                m.next = "COST"
            with m.State("COST"):
                m.d.comb += self.cost.ready.eq(1)
                value = self.cost.payload.cost
                with m.If(self.cost.valid & ~self.cost.payload.second):
                    m.d.sync += cost_0.eq(value)
                    with m.If(s.antithetic):
                        m.d.sync += self.cost_sum.eq(self.cost_sum + value)
                with m.If(self.cost.valid & self.cost.payload.second):
                    m.d.comb += [self.next_random.eq(1), self.delta_valid.eq(1)]
                    m.d.sync += [
                        self.cost_sum.eq(self.cost_sum + Mux(s.antithetic, value, value << 1)),
                        self.step_random.eq(self.random),
                        self.step.eq(self.step + 1),
                        pending.eq(1),
                        change_pending.eq(phase_theta == s.tau_theta - 1),
                        phase_x.eq(wrapped(phase_x, s.tau_x)),
                        phase_p.eq(wrapped(phase_p, s.tau_p)),
                        phase_theta.eq(wrapped(phase_theta, s.tau_theta)),
                    ]
                    m.next = "STEP"

            with m.State("FLUSH"):
                m.d.sync += [
                    self.flush.eq(1),
                    self.update.eq(pending),
                    self.previous_slot.eq(draw_slot),
                    sample_changed.eq(0),
                    hidden_changed.eq(0),
                    pending.eq(0),
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
                m.d.sync += [self.flush.eq(0), self.update.eq(0), evaluating.eq(then_evaluate)]
                m.next = "IDLE"
                with m.If(then_evaluate):
                    m.next = "SAMPLE"

            with m.State("SAMPLE"):
                m.d.comb += self.load_evaluate.eq(1)
                with m.If(left == 0):
                    m.next = "IDLE"
                with m.Elif(~self.loaded):
                    m.d.comb += self.load.eq(~self.loading)
                with m.Else():
                    m.d.comb += [self.taken.eq(1), self.sweep.eq(1)]
                    m.d.sync += [
                        self.passes.eq(1),
                        left.eq(left - 1),
                        label_evaluate.eq(self.next_label),
                        before.eq(following),
                        following.eq(before),
                    ]
                    m.next = "PREFETCH_SAMPLE"
            with m.State("PREFETCH_SAMPLE"):
                m.d.comb += self.load_evaluate.eq(1)
                with m.If(left != 0):
                    m.d.comb += self.load.eq(1)
                m.next = "RESULT"
            with m.State("RESULT"):
                result = self.cost.payload
                m.d.comb += [
                    self.load_evaluate.eq(1),
                    self.evaluation.valid.eq(self.cost.valid),
                    self.evaluation.payload.cost.eq(result.cost),
                    self.evaluation.payload.category.eq(result.category),
                    self.evaluation.payload.correct.eq(result.category == self.label),
                    self.cost.ready.eq(self.evaluation.ready),
                ]
                with m.If(self.cost.valid & self.evaluation.ready):
                    m.next = "SAMPLE"

        delta = Signal(signed(net.delta_cost_bits))
        second_cost = self.cost.payload.cost
        difference = Signal(signed(net.cost_bits + 1))
        m.d.comb += [
            difference.eq(Mux(s.antithetic, cost_0 - second_cost, second_cost - cost_0)),
            delta.eq(Mux(s.antithetic, difference, difference << 1)),
        ]
        with m.If(self.delta_valid):
            m.d.sync += self.delta.eq(delta)
        with m.If(self.weights_written):
            m.d.sync += dirty.eq(1)
        with m.If(self.training):
            m.d.sync += self.train_clocks.eq(self.train_clocks + 1)
        m.d.comb += self.busy.eq(~self.command.ready)
        return m
