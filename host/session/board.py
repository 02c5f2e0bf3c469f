"""A session on a board behind a serial port: a real one, or the simulated one.

Nothing in here knows which of the two it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.host.link.board_link import Link
from mgd.host.link.transfer import RefusedError
from mgd.host.link.transport import SerialTransport, Transport
from mgd.host.session import core_memory
from mgd.host.session.base import BoardLostError, Counters, Evaluation, Session
from mgd.host.session.sample_store import SampleStore
from mgd.host.session.state import State
from mgd.host.session.streaming import Streaming
from mgd.protocol.capabilities import check_run
from mgd.protocol.core_kinds import layout_of
from mgd.protocol.framing import Space, Status
from mgd.protocol.identity import Identity
from mgd.protocol.record import Samples
from mgd.protocol.registers import (
    EPOCH_BITS,
    EPOCH_SHIFT,
    FIRST_READABLE,
    REGISTERS,
    Command,
    Register,
)
from mgd.protocol.run_setup import RunSetup, words_of

POLL_SECONDS = (0.002, 0.05)
"""First and longest pause between two questions whether the core is done."""
FRAME_ERRORS_MASK = (1 << Register.FRAME_ERRORS.bits) - 1
STOP_CLOCKS = 1_000_000_000
"""A command of an earlier program has ended or was stopped by then."""
CARRY_MARGIN = 1 << 20
"""Clocks, more than between the reading of two words."""
CLOCK_MARGIN = 4
"""A command may take this many times the clocks it should; then the core is said to hang."""


class BoardSession(Session):
    """Session over the link.  Raises UserError where the port cannot be used, or where the
    board holds a core for another network (the message has the differences).

    A command that a host left running is stopped first.  The session writes an epoch into the
    board, and checks it with each command: another epoch means that the board was reset or is used
    by another program, and BoardLostError is raised.
    """

    def __init__(self, port: str | Transport, network: Network, backend: str | None = None) -> None:
        transport = SerialTransport(port) if isinstance(port, str) else port
        self.network = network
        self.backend = backend or str(port)
        self.link = Link(transport)
        self._errors_earlier = self._errors_here = 0
        """Frame errors that the board counted in this session, before and since its last reset, as
        far as they were read."""
        self._store: SampleStore | None = None
        """The sample memory, once samples were loaded."""
        self._streaming: Streaming | None = None
        """Of a run whose training set is not completely resident."""
        self._settings: Settings | None = None
        self._before = State(0, [], [])
        """The run's counters when it was restored: the board counts from 0."""
        self._next_rate: int | None = None
        """The step at which the schedule of the learning rate changes it next."""
        self._periods: dict[Register, tuple[int, int]] = {}
        """Time constants that were shortened for the period that a restored run was in: the step
        at which that ends, and the value from there on."""
        try:
            self._take()
        except BaseException:
            transport.close()
            raise

    def _take(self) -> None:
        """Identify the board, stop its command and make it this session's."""
        self.identity = self.link.identify()
        check_identity(self.identity, self.network, self.backend)
        self.lanes = self.identity.lanes
        self.layout = layout_of(self.network, self.identity)
        # The board's counter outlives sessions, and trying baud rates adds to it.
        self._errors_before = self.link.read_register(Register.FRAME_ERRORS)
        self._stop()
        last = self.link.read_register(Register.STATUS) >> EPOCH_SHIFT
        self._epoch = last % ((1 << EPOCH_BITS) - 1) + 1  # not the last one's, and never 0
        self.link.write_register(Register.EPOCH, self._epoch)

    def _stop(self) -> None:
        """End a command that a host left running: training at the next step, an evaluation when it
        is complete."""
        pause = POLL_SECONDS[0]
        begin = self._clocks()
        while self.link.read_register(Register.STATUS) & 1:
            self.link.write_register(Register.STEP_TARGET, 0)
            if self._clocks() - begin > STOP_CLOCKS:
                raise UserError(
                    f"{self.backend}: the board is busy with a command of an earlier program, and "
                    f"did not stop within {STOP_CLOCKS} clocks: reset the board and start again"
                )
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS[1])

    def recover(self) -> None:
        self._take()
        self._errors_earlier += self._errors_here
        self._errors_here = 0

    def load_samples(
        self, train: Samples, test: Samples, settings: Settings | None = None, first: int = 0
    ) -> None:
        stride, memory = self.layout.record_stride, self.identity.sample_memory
        store = SampleStore(self.link, self.network, stride, memory, train, test)
        store.load(settings.window if settings else None, first)
        self._store = store

    def add_samples(self, name: str, samples: Samples) -> None:
        self._samples.add(name, samples)

    def write_weights(self, weights: list[np.ndarray]) -> None:
        core_memory.write_weights(self.link, self.layout, weights)

    def read_weights(self) -> list[np.ndarray]:
        self._run(Command.FLUSH, passes=1)
        weights = core_memory.read_weights(self.link, self.layout)
        self.look()
        return weights

    def check_resumable(self, settings: Settings) -> None:
        super().check_resumable(settings)
        if self.network.accumulators and not self.layout.host_gradient_bits:
            raise UserError(
                f"{self.backend}: a spatial core cannot show its accumulators, so a run on it "
                "cannot continue from its middle; run it again from its first step, at about a "
                "step a clock, or train on a folded core, whose numbers are the same"
            )

    def read_state(self) -> State:
        if self._settings is not None:
            self.check_resumable(self._settings)
        weights = self.read_weights()
        accumulators = core_memory.read_accumulators(self.link, self.layout)
        counters = self.counters()
        return State(
            counters.step,
            weights,
            accumulators,
            counters.cost_sum,
            counters.weight_saturations,
            counters.activation_saturations,
            counters.train_clocks,
            counters.wait_clocks,
        )

    def start(self, settings: Settings, seed: int) -> None:
        self._begin(settings, seed, State(0, [], []))

    def restore(self, settings: Settings, seed: int, state: State) -> None:
        self.check_resumable(settings)
        self._begin(settings, seed, state)
        self.write_weights(state.weights)
        core_memory.write_accumulators(self.link, self.layout, state.accumulators)
        self.look()

    def _begin(self, settings: Settings, seed: int, state: State) -> None:
        """INIT, so that the next step is that after `state`: all but weights and accumulators."""
        check_run(self.layout, settings)
        self._settings = settings
        store, take = self._samples, state.take(settings)
        # Samples in turn begin with the one that is due; in another order they keep their places.
        first = 0 if self.layout.variant.ordered else take
        samples = len(store.sets["train"])
        setup = RunSetup.of(
            self.network,
            settings,
            seed,
            state.step,
            samples,
            store.train_end,
            dict(self.layout.fixed),
        )
        if not store.is_loaded(settings.window, first):
            store.load(settings.window, first)
        self._before, self._periods = state, setup.periods
        self._next_rate = settings.next_rate(state.step, self.network)
        self._streaming = None
        if store.ring is not None and store.ring.moves:
            self._streaming = Streaming(
                self, store, settings.tau_x, state.step, self._clock_limit(passes=2), self.backend
            )
        self.link.write(Space.REGISTERS, setup.first, setup.words())
        self._run(Command.INIT, passes=100)
        for load in setup.loads:
            self._load(*load)

    def _load(self, command: Command, layer: int, seed: int) -> None:
        """INIT or CODES, with its SIGN_LAYER and SEED."""
        words = words_of(Register.SEED, seed)
        self.link.write(Space.REGISTERS, Register.SEED, list(words.values()))
        self.link.write_register(Register.SIGN_LAYER, layer)
        # Some perturbations take a few clocks for every weight of every lane.
        self._run(command, passes=100 + 8 * self.lanes)

    def train(self, until_step: int, on_progress: Callable[[int], None] | None = None) -> None:
        while True:
            ends = [end for end, _ in self._periods.values()]
            if self._next_rate is not None:
                ends.append(self._next_rate)
            end = min(ends, default=until_step + 1)
            if end > until_step:
                break
            self._train(end, on_progress)
            for register, (last, period) in list(self._periods.items()):
                if last == end:
                    self.link.write_register(register, period)
                    del self._periods[register]
            if self._next_rate == end:
                self._change_rate(end)
        self._train(until_step, on_progress)

    def _change_rate(self, step: int) -> None:
        """The learning rate of `step`, once the update of the step before has had its own."""
        settings = self._settings
        assert settings is not None
        self._run(Command.FLUSH, passes=1)
        self.link.write_register(Register.ETA_EXP, settings.eta_exp_at(step, self.network))
        self._next_rate = settings.next_rate(step, self.network)

    def _train(self, until_step: int, on_progress: Callable[[int], None] | None) -> None:
        if self._streaming is not None:
            self._streaming.train(until_step, on_progress)
            return
        target = until_step - self._before.step
        self.link.write_register(Register.STEP_TARGET, target)
        step = self.link.read_register(Register.STEP)
        self._run(Command.TRAIN, passes=2 * (target - step) + 1, on_progress=on_progress)
        _, step = self.look()
        if step < target:
            raise BoardLostError(
                f"{self.backend}: training ended at step {step + self._before.step} instead of "
                f"{until_step}: another program stopped it; see to it that only one uses the board"
            )

    def evaluate(self, on: str = "test") -> Evaluation:
        correct = cost = 0
        for behind, count in self._samples.parts(on):
            self.link.write(Space.REGISTERS, Register.EVAL_TEST, [int(behind), count])
            self._run(Command.EVALUATE, passes=count + 1)
            right, low, high = self.link.read(Space.REGISTERS, Register.EVAL_CORRECT, 3)
            self.look()
            correct, cost = correct + right, cost + (low | high << 32)
        samples = len(self._samples.sets[on])
        return Evaluation(correct, cost, samples, self.network.cost_frac)

    def counters(self) -> Counters:
        count = REGISTERS - FIRST_READABLE
        words = self.link.read(Space.REGISTERS, FIRST_READABLE, count)

        def word(register: int) -> int:
            return words[register - FIRST_READABLE]

        def wide(register: Register) -> int:
            return word(register) | word(register + 1) << 32

        self._check_epoch(word(Register.STATUS))
        before = self._before
        return Counters(
            step=before.step + word(Register.STEP),
            cost_sum=before.cost_sum + wide(Register.COST_SUM),
            weight_saturations=before.weight_saturations + word(Register.WEIGHT_SATURATIONS),
            activation_saturations=before.activation_saturations
            + word(Register.ACTIVATION_SATURATIONS),
            clocks=self._clocks(),
            train_clocks=before.train_clocks + wide(Register.TRAIN_CLOCKS),
            wait_clocks=before.wait_clocks
            + (self._streaming.wait_clocks if self._streaming else 0),
            link_errors=self._errors(word(Register.FRAME_ERRORS)),
            link_repeats=self.link.repeats,
        )

    def _errors(self, frame_errors: int) -> int:
        """Damaged frames of this session, both ways.  frame_errors: the board's counter."""
        self._errors_here = (frame_errors - self._errors_before) & FRAME_ERRORS_MASK
        return self._errors_earlier + self._errors_here + self.link.errors

    def close(self) -> None:
        self.link.close()

    def _run(
        self, command: Command, passes: int, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Send a command and wait until the core is idle.

        passes: forward passes it may take, for the bound on its clocks.
        """
        limit = self._clock_limit(passes)
        begin = self._clocks()
        self._send(command)
        pause = POLL_SECONDS[0]
        while True:
            busy, step = self.look()
            if on_progress:
                on_progress(self._before.step + step)
            if not busy:
                return
            if (spent := self._clocks() - begin) > limit:
                raise UserError(
                    f"{self.backend}: {command.name} has taken {spent} clocks at step {step}, it "
                    f"needs fewer than {limit}: the core hangs; reset the board and start again"
                )
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS[1])

    def _clock_limit(self, passes: int) -> int:
        """More clocks than so many passes take."""
        per_pass = 2 * self.layout.lane_words + 2 * self.network.layers[0] + 1000
        return CLOCK_MARGIN * (passes + 1) * per_pass + 1_000_000

    def look(self) -> tuple[bool, int]:
        """Whether the core is busy, and the steps since INIT.

        Raises BoardLostError where the board is not this session's any more.
        """
        status, step = self.link.read(Space.REGISTERS, Register.STATUS, 2)
        self._check_epoch(status)
        return bool(status & 1), step

    def _check_epoch(self, status: int) -> None:
        epoch = status >> EPOCH_SHIFT
        if epoch != self._epoch:
            how = "lost its power or was reset" if epoch == 0 else "was taken by another program"
            raise BoardLostError(
                f"{self.backend}: the board {how}, and with it the run's weights; "
                "start again, or continue from the last checkpoint with `mgd resume RUN`"
            )

    def _send(self, command: Command) -> None:
        repeats = self.link.repeats
        try:
            self.link.write_register(Register.COMMAND, command)
        except RefusedError as refusal:
            # Where a reply was lost, the repeated command finds the core at work on it.
            if refusal.status is not Status.BUSY or self.link.repeats == repeats:
                raise

    def set_target(self, step: int) -> None:
        """Let the core train up to this step since INIT, whether it does already or not."""
        self.link.write_register(Register.STEP_TARGET, step)

    def send_train(self) -> None:
        """Have the core train up to its target, where it does not already."""
        self._send(Command.TRAIN)

    def clocks(self) -> tuple[int, int]:
        """CLOCKS and TRAIN_CLOCKS, one soon after the other."""
        before = None
        while True:
            # A carry may pass between the two words of one.
            low, high, low_train, high_train = self.link.read(Space.REGISTERS, Register.CLOCKS, 4)
            sure = max(low, low_train) < (1 << 32) - CARRY_MARGIN
            if sure or before == (high, high_train):
                return low | high << 32, low_train | high_train << 32
            before = high, high_train

    def _clocks(self) -> int:
        return self.link.read_register64(Register.CLOCKS)

    @property
    def _samples(self) -> SampleStore:
        if self._store is None:
            raise RuntimeError("load_samples() comes first")
        return self._store


def check_identity(identity: Identity, network: Network, port: str) -> None:
    """Raise UserError, in words, where a board's core is not for `network`."""
    if identity.digest == int(network.digest()[:16], 16):
        return
    wanted = Identity.of(network, identity.lanes, identity.lane_words, 0, 0)
    names = {
        "layers": "layers",
        "hidden": "hidden activation",
        "output": "output activation",
        "cost": "cost",
        "weight_bits": "weight_bits",
        "accumulators": "accumulators",
        "tau_theta_max": "tau_theta_max",
    }
    differences = [
        f"{text} {shown(getattr(identity, key))}, the task has {shown(getattr(wanted, key))}"
        for key, text in names.items()
        if getattr(identity, key) != getattr(wanted, key)
    ]
    what = "; ".join(differences) or "other number formats than the task"
    raise UserError(
        f"{port}: the board holds a core for another network: {what}; make one for "
        "this task with `mgd build TASK --board NAME` and flash it, or name its own task"
    )


def shown(value: object) -> str:
    """64-32-10 for layers; other values unchanged."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
