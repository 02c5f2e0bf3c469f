"""Steps, time constants and commands of the spatial core: what enters the network, and when.

The rules are those of golden_model.trainer.Trainer.step.  As rtl.schedule does for the folded
core, but an update is applied when the last step of its window has left the network.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.network import TAU_MAX
from rtl.protocol import Command
from rtl.schedule import CLOCK_BITS, COMMAND_SHAPE, SETTINGS_LAYOUT, STEP_BITS
from rtl.spatial.config import SpatialConfig
from rtl.spatial.record_memory import record_layout

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

    A pipelined core's tokens never wait for `changed`; each takes the planes anew.

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
        left = Signal(STEP_BITS, reset_less=True)
        """Steps or samples to go."""
        quiet = Signal(range(self.flight + 1), reset_less=True)
        """Clocks until the network is empty."""

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
        bits = net.sample_bits
        plane = Signal(range(max(bits, 2)), init=bits - 1)
        prepared = Signal()
        """W·x of this sample is under way already."""
        prepares, ready, renews = Signal(), Signal(), Signal()
        codes = [sample.codes[j] for j in range(net.layers[0])]
        m.d.comb += [
            prepares.eq(has_sample[0] & ~prepared & ~waiting[0]),
            self.plane_first.eq(prepares & (plane == bits - 1)),
            self.plane_last.eq(prepares & (plane == 0)),
            ready.eq(has_sample[0] & ~waiting[0] & (prepared | (plane == 0)) & any_left[0]),
        ]
        planes = [Cat(*(code[k] for code in codes)) for k in range(bits)]
        m.d.comb += self.plane.eq(planes[0] if bits == 1 else _chosen(planes, plane))
        if bits > 1:
            with m.If(prepares):
                m.d.sync += plane.eq(Mux(plane == 0, bits - 1, plane - 1))
                with m.If(plane == 0):
                    m.d.sync += prepared.eq(not cfg.pipelined)
            with m.If(renews | takes):
                m.d.sync += [prepared.eq(0), plane.eq(bits - 1)]

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
                (any_left[1] & ~waiting[1] & (prepared | (plane == 0)))
                & (evaluating[1] | (ends_sample & ~needs_baseline))
            ),
            self.next_sample.eq(token.step & ends_sample),
            renews.eq((0 if cfg.pipelined else self.changed) | self.weights_written | self.begin),
        ]
        with m.If(token.ends_window):
            m.d.sync += waiting.eq(0 if cfg.pipelined else 3)
        with m.If(self.changed):
            m.d.sync += waiting.eq(0)
        # A long carry chain, in a register.
        told = Signal()
        m.d.sync += told.eq(self.step >= s.step_target)
        if not cfg.antithetic:
            with m.If(token.baseline):
                m.d.sync += needs_baseline.eq(0)
            # A sample that was in use before this command began is not a new one.
            with m.If(self.changed | self.weights_written | self.next_sample | first_phase):
                m.d.sync += needs_baseline.eq(1)
        goes = token.step | token.evaluation
        with m.If(goes):
            m.d.sync += [left.eq(left - 1), any_left.eq((left != 1).replicate(2))]
        with m.If(token.step):
            m.d.sync += self.step.eq(self.step + 1)
        with m.If(ready):
            m.d.sync += quiet.eq(self.flight)
        with m.Elif(quiet != 0):
            m.d.sync += quiet.eq(quiet - 1)
        with m.If(training[0]):
            m.d.sync += self.train_clocks.eq(self.train_clocks + 1)

        m.d.comb += self.evaluate.eq(evaluating[0])
        # It goes far, so it is a register, high in the first clock of START.
        m.d.sync += self.start.eq(0)
        with m.If(self.start):
            m.d.sync += [self.step.eq(0), self.train_clocks.eq(0)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.command.ready.eq(1)
                m.d.sync += has_sample.eq(0)
                with m.If(self.command.valid), m.Switch(self.command.payload.code):
                    with m.Case(Command.INIT):
                        m.d.comb += [self.restart_train.eq(1), first_phase.eq(1)]
                        m.d.sync += self.start.eq(1)
                        m.next = "START"
                    with m.Case(Command.TRAIN):
                        m.next = "TRAIN"
                    with m.Case(Command.EVALUATE):
                        m.next = "EVALUATE"
            with m.State("TRAIN"):
                m.d.sync += [
                    training.eq((s.step_target > self.step).replicate(2)),
                    left.eq(s.step_target - self.step),
                    any_left.eq((s.step_target > self.step).replicate(2)),
                ]
                m.next = "BEGIN"
            with m.State("EVALUATE"):
                m.d.sync += [
                    evaluating.eq((s.eval_count != 0).replicate(2)),
                    left.eq(s.eval_count),
                    any_left.eq((s.eval_count != 0).replicate(2)),
                ]
                m.next = "BEGIN"
            with m.State("START"), m.If(~self.starting & ~self.start):
                m.next = "IDLE"
            with m.State("BEGIN"):
                m.d.comb += self.begin.eq(training[0] | evaluating[0])
                m.d.sync += quiet.eq(self.flight)
                m.next = "RUN"
            with m.State("RUN"):
                with m.If(training[0] & told):
                    m.d.sync += any_left.eq(0)
                with m.If(~any_left[0] & (quiet == 0)):
                    m.d.comb += self.stop.eq(1)
                    m.d.sync += [training.eq(0), evaluating.eq(0)]
                    m.next = "IDLE"
        m.d.comb += self.busy.eq(~self.command.ready)
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
