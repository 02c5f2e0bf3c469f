"""Steps, time constants and commands of the spatial core: what enters the network, and when.

The rules are those of golden_model.trainer.Trainer.step.  As rtl.folded.step_control does for the
folded core, but an update is applied when the last step of its window has left the network.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from mgd.golden_model.network import TAU_MAX
from mgd.protocol.registers import Command
from mgd.rtl.interface import CLOCK_BITS, COMMAND_SHAPE, SETTINGS_LAYOUT, STEP_BITS
from mgd.rtl.lib.counter import accumulated
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.countdown import Left
from mgd.rtl.spatial.record_memory import record_layout

TOKEN_LAYOUT = data.StructLayout(
    {
        "step": 1,
        "baseline": 1,
        "evaluation": 1,
        "ends_draw": 1,
        "ends_window": 1,
    }
)
"""What enters the network in a clock: a perturbed step, a pass for C0, an evaluated sample, or
nothing.  ends_draw: the next step has other signs; ends_window: the weights change behind it."""


class Sequencer(wiring.Component):
    """The state machine of the core: one token a clock wherever nothing forbids it.

    A pipelined core's tokens never wait for `changed`, and need no planes.

    A token and `sample` belong to the same clock.  Before a sample's first token, and after a
    change of the weights, the planes of its codes enter the first layer, one a clock, the last
    one with that token.  `changed` says that the weights have changed: the next window's first
    token enters in the clock behind.  `flight` is the number of clocks from a token to the last
    register that it reaches.

    Where step_target is lowered to `step` or less while a TRAIN runs, that ends within three
    steps, and what follows is as if it had been told so at first.
    """

    def __init__(self, config: SpatialConfig, flight: int) -> None:
        self.config = config
        self.flight = flight
        layout = record_layout(config)
        inputs = config.network.layers[0]
        super().__init__(
            {
                "settings": In(SETTINGS_LAYOUT),
                "command": In(stream.Signature(COMMAND_SHAPE)),
                "weights_written": In(1),
                "starting": In(1),
                "start": Out(1),
                # samples
                "begin": Out(1),
                "stop": Out(1),
                "evaluate": Out(1),
                "restart_train": Out(1),
                "next_sample": Out(1),
                "record": In(stream.Signature(layout)),
                # the network
                "token": Out(TOKEN_LAYOUT),
                "sample": Out(layout),
                "plane": Out(inputs),
                "plane_first": Out(1),
                "plane_last": Out(1),
                "changed": In(1),
                # status
                "busy": Out(1),
                "step": Out(STEP_BITS),
                "train_clocks": Out(CLOCK_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, net, s = self.config, self.config.network, self.settings
        # Samples and tokens each have copies of their own: the way from here into the sample memory
        # and back is long enough without that of the tokens.
        training, evaluating, any_left, waiting, has_sample = (
            Signal(2, name=name, attrs={"keep": 1})
            for name in ("training", "evaluating", "any_left", "waiting", "has_sample")
        )
        """any_left: steps or samples are to come; waiting: for the update behind a window."""
        left = Left(m, s.step_target, self.step, s.eval_count)
        idle = Signal(init=1)
        """The state is IDLE: a register, as it reaches far."""
        quiet = Signal(range(self.flight + 1), reset_less=True)
        """Clocks until the network is empty."""
        empty = Signal()

        next_phase, first_phase = Signal(), Signal()
        ends_sample, ends_draw, ends_window = (
            Const(1)
            if cfg.longest(name, most) == 1
            else _phase(m, getattr(s, name), name, cfg.longest(name, most), next_phase, first_phase)
            for name, most in (
                *(("tau_x", TAU_MAX), ("tau_p", TAU_MAX)),
                ("tau_theta", TAU_MAX if net.accumulators else 1),
            )
        )

        # The sample in use, and the planes of its codes.
        sample = Signal(record_layout(cfg), reset_less=True)
        takes, drops = Signal(), Signal()
        m.d.comb += [
            takes.eq((training[1] | evaluating[1]) & (~has_sample[1] | drops)),
            self.record.ready.eq(takes),
            self.sample.eq(sample),
        ]
        with m.If(takes):
            m.d.sync += [
                sample.eq(self.record.payload),
                has_sample.eq(self.record.valid.replicate(2)),
            ]
        bits = cfg.planes
        plane = Signal(range(max(bits, 2)), init=bits - 1)
        prepared = Signal()
        """W·x of this sample is under way already."""
        prepares, ready, renews = Signal(), Signal(), Signal()
        may_enter = Signal(init=bits == 1)
        """Its last plane enters, or has: in a register, as a token follows from it."""
        codes = [sample.codes[j] for j in range(net.layers[0])]
        m.d.comb += [
            prepares.eq(has_sample[0] & ~prepared & ~waiting[0]),
            self.plane_first.eq(prepares & (plane == bits - 1)),
            self.plane_last.eq(prepares & (plane == 0)),
            ready.eq(has_sample[0] & ~waiting[0] & may_enter & any_left[0]),
        ]
        planes = [Cat(*(code[k] for code in codes)) for k in range(bits)]
        m.d.comb += self.plane.eq(_chosen(planes, plane))
        if bits > 1:
            with m.If(prepares):
                m.d.sync += plane.eq(Mux(plane == 0, bits - 1, plane - 1))
                with m.If(plane == 0):
                    m.d.sync += prepared.eq(1)
                with m.If(plane == 1):
                    m.d.sync += may_enter.eq(1)
            with m.If(renews | takes):
                m.d.sync += [prepared.eq(0), plane.eq(bits - 1), may_enter.eq(0)]

        # C0 is measured again after whatever changed it.
        needs_baseline = Signal()
        token = self.token
        m.d.comb += [
            token.evaluation.eq(evaluating[0] & ready),
            token.baseline.eq(training[0] & ready & needs_baseline),
            token.step.eq(training[0] & ready & ~needs_baseline),
            token.ends_draw.eq(token.step & ends_draw),
            token.ends_window.eq(token.step & ends_window),
            next_phase.eq(token.step),
            # Of a sample that is there: token.evaluation | (token.step & ends_sample).
            drops.eq(
                (any_left[1] & ~waiting[1] & may_enter)
                & (evaluating[1] | (ends_sample & ~needs_baseline))
            ),
            self.next_sample.eq(token.step & ends_sample),
            renews.eq((0 if cfg.pipelined else self.changed) | self.weights_written | self.begin),
        ]
        with m.If(token.ends_window):
            m.d.sync += waiting.eq(0 if cfg.pipelined else 3)
        with m.If(self.changed):
            m.d.sync += waiting.eq(0)
        if not cfg.antithetic:
            with m.If(token.baseline):
                m.d.sync += needs_baseline.eq(0)
            # A sample that was in use before this command began is not a new one.
            with m.If(self.changed | self.weights_written | self.next_sample | first_phase):
                m.d.sync += needs_baseline.eq(1)
        goes = token.step | token.evaluation
        with m.If(goes):
            m.d.sync += any_left.eq((~left.last).replicate(2))
        left.follow(m, goes)
        with m.If(token.step):
            m.d.sync += self.step.eq(self.step + 1)
        with m.If(ready):
            m.d.sync += [quiet.eq(self.flight), empty.eq(0)]
        with m.Else():
            m.d.sync += empty.eq(~quiet[1:].any())
            with m.If(quiet != 0):
                m.d.sync += quiet.eq(quiet - 1)
        train_clocks = accumulated(m, CLOCK_BITS, 1, enable=training[0], clear=self.start)
        m.d.comb += self.train_clocks.eq(train_clocks)

        m.d.comb += self.evaluate.eq(evaluating[0])
        # These go far, so they are registers: `start` is high in the first clock of START, `begin`
        # in BEGIN, `stop` a clock behind RUN.
        m.d.sync += [self.start.eq(0), self.begin.eq(0), self.stop.eq(0)]
        m.d.comb += [
            self.command.ready.eq(idle),
            self.busy.eq(~idle),
            self.restart_train.eq(self.start),
            first_phase.eq(self.start),
        ]
        with m.If(self.start):
            m.d.sync += self.step.eq(0)
        with m.If(idle):
            m.d.sync += has_sample.eq(0)
        with m.FSM():
            code = self.command.payload.code
            with m.State("IDLE"), m.If(self.command.valid), m.Switch(code):
                with m.Case(Command.INIT):
                    m.d.sync += [self.start.eq(1), idle.eq(0)]
                    m.next = "START"
                with m.Case(Command.TRAIN):
                    m.d.sync += idle.eq(0)
                    m.next = "TRAIN"
                with m.Case(Command.EVALUATE):
                    m.d.sync += idle.eq(0)
                    m.next = "EVALUATE"
            with m.State("TRAIN"):
                m.d.sync += [
                    training.eq((~left.none).replicate(2)),
                    any_left.eq((~left.none).replicate(2)),
                    self.begin.eq(~left.none),
                ]
                m.next = "BEGIN"
            with m.State("EVALUATE"):
                m.d.sync += [
                    evaluating.eq(left.any_asked.replicate(2)),
                    any_left.eq(left.any_asked.replicate(2)),
                    self.begin.eq(left.any_asked),
                ]
                m.next = "BEGIN"
            with m.State("START"), m.If(~self.starting & ~self.start):
                m.d.sync += idle.eq(1)
                m.next = "IDLE"
            with m.State("BEGIN"):
                left.begin(m, training[0])
                m.d.sync += [quiet.eq(self.flight), empty.eq(0)]
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(training[0] & left.none):
                    m.d.sync += any_left.eq(0)
                with m.If(~any_left[0] & empty):
                    m.d.sync += [self.stop.eq(1), training.eq(0), evaluating.eq(0), idle.eq(1)]
                    m.next = "IDLE"
        return m


def _phase(m: Module, period, name: str, longest: int, following, first):
    """Whether the step to come is the last one of its period, which is at most `longest` steps.

    Counts up from 1, so that a period that is changed holds for the one under way; a step may
    follow in every clock, so what is compared with is known a clock before.
    """
    phase = Signal(range(longest + 1), name=f"phase_{name}", reset_less=True)
    before = Signal.like(phase, name=f"before_{name}", reset_less=True)
    ends = Signal()
    m.d.sync += before.eq(period - 1)
    last, last_but_one, single = Signal(), Signal(), Signal()
    m.d.comb += [last.eq(phase == period), last_but_one.eq(phase == before), single.eq(before == 0)]
    with m.If(first):
        m.d.sync += phase.eq(1)
    with m.Elif(following):
        m.d.sync += [phase.eq(Mux(ends, 1, phase + 1)), ends.eq(Mux(ends, single, last_but_one))]
    with m.Else():
        m.d.sync += ends.eq(last)
    return ends


def _chosen(values, number):
    result = values[0]
    for k, value in enumerate(values[1:], start=1):
        result = Mux(number == k, value, result)
    return result
