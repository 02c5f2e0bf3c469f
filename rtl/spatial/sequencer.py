"""Steps, time constants and commands of the spatial core: what enters the network, and when.

The rules are those of golden_model.trainer.Trainer.step.  As rtl.folded.control.step_control does
for the folded core, but an update is applied when the last step of its window has left the network.
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
from mgd.rtl.spatial.countdown import Countdown
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


class State:
    """Registers of the sequencer that several of its parts read.

    Those of two bits are a register twice, with the same value: bit 0 for tokens, bit 1 for
    samples.  The path from here into the sample memory and back is long enough without that of the
    tokens.
    """

    def __init__(self, flight: int) -> None:
        self.training, self.evaluating, self.any_left, self.waiting, self.has_sample = (
            Signal(2, name=name, attrs={"keep": 1})
            for name in ("training", "evaluating", "any_left", "waiting", "has_sample")
        )
        """any_left: steps or samples are to come; waiting: for the update behind a window."""
        self.idle = Signal(init=1)
        """No command is carried out: a register of its own, because its routes are long."""
        self.quiet = Signal(range(flight + 1), reset_less=True)
        """Clocks until the network is empty."""
        self.empty = Signal()
        """quiet was 1 or 0 a clock ago."""


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
        s, state = self.settings, State(self.flight)
        countdown = Countdown(m, s.step_target, self.step, s.eval_count)
        sample, captures, releases = (
            Signal(self.sample.shape(), reset_less=True),
            Signal(),
            Signal(),
        )
        self._samples(m, state, sample, captures, releases)
        # `renews`: the next token needs the planes again, of a new sample or for new weights.
        renews, may_enter = Signal(), Signal(init=self.config.planes == 1)
        self._planes(m, state, sample, renews | captures, may_enter)
        ready = Signal()
        m.d.comb += ready.eq(
            state.has_sample[0] & ~state.waiting[0] & may_enter & state.any_left[0]
        )
        self._tokens(m, state, ready, may_enter, renews, releases)
        self._counts(m, state, ready, countdown)
        self._commands(m, state, countdown)
        return m

    def _samples(self, m: Module, state: State, sample, captures, releases) -> None:
        """`captures`: the sample in use is replaced by the next record, if there is one.
        `releases`: this clock's token is the last one of its sample."""
        m.d.comb += [
            captures.eq(
                (state.training[1] | state.evaluating[1]) & (~state.has_sample[1] | releases)
            ),
            self.record.ready.eq(captures),
            self.sample.eq(sample),
        ]
        with m.If(captures):
            m.d.sync += [
                sample.eq(self.record.payload),
                state.has_sample.eq(self.record.valid.replicate(2)),
            ]
        with m.If(state.idle):
            m.d.sync += state.has_sample.eq(0)

    def _planes(self, m: Module, state: State, sample, restarts, may_enter) -> None:
        """The planes of the sample's codes, the highest first.

        may_enter: the last one enters in this clock, or has entered.  It is a register, because a
        token follows from it in the same clock.
        """
        bits, inputs = self.config.planes, self.config.network.layers[0]
        plane = Signal(range(max(bits, 2)), init=bits - 1)
        prepared, prepares = Signal(), Signal()
        """prepared: W·x of this sample is on its way already."""
        m.d.comb += [
            prepares.eq(state.has_sample[0] & ~prepared & ~state.waiting[0]),
            self.plane_first.eq(prepares & (plane == bits - 1)),
            self.plane_last.eq(prepares & (plane == 0)),
        ]
        codes = [sample.codes[j] for j in range(inputs)]
        planes = [Cat(*(code[k] for code in codes)) for k in range(bits)]
        m.d.comb += self.plane.eq(_selected(planes, plane))
        if bits == 1:
            return
        with m.If(prepares):
            m.d.sync += plane.eq(Mux(plane == 0, bits - 1, plane - 1))
            with m.If(plane == 0):
                m.d.sync += prepared.eq(1)
            with m.If(plane == 1):
                m.d.sync += may_enter.eq(1)
        with m.If(restarts):
            m.d.sync += [prepared.eq(0), plane.eq(bits - 1), may_enter.eq(0)]

    def _periods(self, m: Module, next_phase, first_phase) -> list:
        """Whether the step to come is the last one of its sample, of its draw and of its window."""
        cfg, s = self.config, self.settings
        tau_theta_max = TAU_MAX if cfg.network.accumulators else 1
        return [
            Const(1)
            if cfg.longest(name, most) == 1
            else _phase(m, getattr(s, name), name, cfg.longest(name, most), next_phase, first_phase)
            for name, most in (
                *(("tau_x", TAU_MAX), ("tau_p", TAU_MAX)),
                ("tau_theta", tau_theta_max),
            )
        ]

    def _tokens(self, m: Module, state: State, ready, may_enter, renews, releases) -> None:
        """A token for every clock in which one is `ready`: an evaluated sample, a pass for C0 where
        that is out of date, else a step."""
        cfg, token = self.config, self.token
        needs_baseline = Signal()
        ends_sample, ends_draw, ends_window = self._periods(m, token.step, self.start)
        m.d.comb += [
            token.evaluation.eq(state.evaluating[0] & ready),
            token.baseline.eq(state.training[0] & ready & needs_baseline),
            token.step.eq(state.training[0] & ready & ~needs_baseline),
            token.ends_draw.eq(token.step & ends_draw),
            token.ends_window.eq(token.step & ends_window),
            self.next_sample.eq(token.step & ends_sample),
            # token.evaluation | (token.step & ends_sample) if there is a sample: `captures` looks
            # at that itself, so it is left out of this path, which is long.
            releases.eq(
                (state.any_left[1] & ~state.waiting[1] & may_enter)
                & (state.evaluating[1] | (ends_sample & ~needs_baseline))
            ),
            # A pipelined core has one plane: an update never makes it enter again.
            renews.eq((0 if cfg.pipelined else self.changed) | self.weights_written | self.begin),
        ]
        with m.If(token.ends_window):
            m.d.sync += state.waiting.eq(0 if cfg.pipelined else 3)
        with m.If(self.changed):
            m.d.sync += state.waiting.eq(0)
        if not cfg.antithetic:
            with m.If(token.baseline):
                m.d.sync += needs_baseline.eq(0)
            # C0 is out of date with new weights and a new sample.  A sample that was in use before
            # this command began is not a new one.
            with m.If(self.changed | self.weights_written | self.next_sample | self.start):
                m.d.sync += needs_baseline.eq(1)

    def _counts(self, m: Module, state: State, ready, countdown: Countdown) -> None:
        """Steps, clocks, those that are to come, and when the network is empty."""
        token, counted = self.token, Signal()
        m.d.comb += counted.eq(token.step | token.evaluation)
        with m.If(counted):
            m.d.sync += state.any_left.eq((~countdown.last).replicate(2))
        countdown.follow(m, counted)
        with m.If(token.step):
            m.d.sync += self.step.eq(self.step + 1)
        quiet = state.quiet
        with m.If(ready):
            m.d.sync += [quiet.eq(self.flight), state.empty.eq(0)]
        with m.Else():
            m.d.sync += state.empty.eq(~quiet[1:].any())
            with m.If(quiet != 0):
                m.d.sync += quiet.eq(quiet - 1)
        train_clocks = accumulated(m, CLOCK_BITS, 1, enable=state.training[0], clear=self.start)
        m.d.comb += self.train_clocks.eq(train_clocks)
        with m.If(self.start):
            m.d.sync += self.step.eq(0)

    def _commands(self, m: Module, state: State, countdown: Countdown) -> None:
        """The state machine of the commands."""
        training, evaluating, any_left = state.training, state.evaluating, state.any_left
        m.d.comb += [
            self.evaluate.eq(evaluating[0]),
            self.command.ready.eq(state.idle),
            self.busy.eq(~state.idle),
            self.restart_train.eq(self.start),
        ]
        # Registers, because their routes are long: `start` is high in the first clock of START,
        # `begin` in BEGIN, `stop` a clock behind RUN.
        m.d.sync += [self.start.eq(0), self.begin.eq(0), self.stop.eq(0)]
        with m.FSM():
            code = self.command.payload.code
            with m.State("IDLE"), m.If(self.command.valid), m.Switch(code):
                with m.Case(Command.INIT):
                    m.d.sync += [self.start.eq(1), state.idle.eq(0)]
                    m.next = "START"
                with m.Case(Command.TRAIN):
                    m.d.sync += state.idle.eq(0)
                    m.next = "TRAIN"
                with m.Case(Command.EVALUATE):
                    m.d.sync += state.idle.eq(0)
                    m.next = "EVALUATE"
            with m.State("TRAIN"):
                m.d.sync += [
                    training.eq((~countdown.none).replicate(2)),
                    any_left.eq((~countdown.none).replicate(2)),
                    self.begin.eq(~countdown.none),
                ]
                m.next = "BEGIN"
            with m.State("EVALUATE"):
                m.d.sync += [
                    evaluating.eq(countdown.any_asked.replicate(2)),
                    any_left.eq(countdown.any_asked.replicate(2)),
                    self.begin.eq(countdown.any_asked),
                ]
                m.next = "BEGIN"
            with m.State("START"), m.If(~self.starting & ~self.start):
                m.d.sync += state.idle.eq(1)
                m.next = "IDLE"
            with m.State("BEGIN"):
                countdown.begin(m, training[0])
                m.d.sync += [state.quiet.eq(self.flight), state.empty.eq(0)]
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(training[0] & countdown.none):
                    m.d.sync += any_left.eq(0)
                with m.If(~any_left[0] & state.empty):
                    m.d.sync += [
                        *(self.stop.eq(1), state.idle.eq(1)),
                        *(training.eq(0), evaluating.eq(0)),
                    ]
                    m.next = "IDLE"


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


def _selected(values, number):
    result = values[0]
    for k, value in enumerate(values[1:], start=1):
        result = Mux(number == k, value, result)
    return result
