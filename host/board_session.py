"""A session on a board behind a serial port: a real one, or the simulated one.

Nothing in here knows which of the two it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from golden_model.errors import UserError
from golden_model.network import Network
from golden_model.seeds import start_state
from golden_model.settings import Settings
from host.link import Link, RefusedError
from host.records import paired, sample_records
from host.session import Counters, Evaluation, Samples, Session
from host.transport import SerialTransport, Transport
from rtl.config import CoreConfig
from rtl.protocol import (
    FIRST_READABLE,
    REGISTERS,
    Command,
    Flag,
    Identity,
    Register,
    Space,
    Status,
)
from rtl.spatial.config import SpatialConfig
from rtl.variants import check_core

POLL_SECONDS = (0.002, 0.05)
"""First and longest pause between two questions whether the core is done."""
FRAME_ERRORS_MASK = 0xFFFF
"""The board counts them in 16 bits."""
CLOCK_MARGIN = 4
"""A command may take this many times the clocks it should; then the core is said to hang."""


class BoardSession(Session):
    """Session over the link.  Raises UserError where the port cannot be used, or where the
    board holds a core for another network (it says what differs)."""

    def __init__(self, port: str | Transport, network: Network, backend: str | None = None) -> None:
        transport = SerialTransport(port) if isinstance(port, str) else port
        self.network = network
        self.backend = backend or str(port)
        self.link = Link(transport)
        try:
            self.identity = self.link.identify()
            check_identity(self.identity, network, self.backend)
            # The board's counter outlives sessions, and trying baud rates adds to it.
            self._errors_before = self.link.read_register(Register.FRAME_ERRORS)
        except BaseException:
            transport.close()
            raise
        wiring, lanes = self.identity.wiring, self.identity.lanes
        self.config: CoreConfig | SpatialConfig = (
            SpatialConfig.wired(network, wiring) if wiring else CoreConfig(network, lanes)
        )
        self.lanes = self.identity.lanes
        self._samples: dict[str, int] = {}
        self._train_words = 0

    def load_samples(self, train: Samples, test: Samples) -> None:
        stride = self.config.record_stride
        records = [sample_records(samples, self.network, stride) for samples in (train, test)]
        words = paired(np.concatenate(records))
        if 2 * len(words) > self.identity.sample_memory:
            raise UserError(
                f"{len(train)} training and {len(test)} test samples take {2 * len(words)} words "
                f"of 16 bits, the board's sample memory has {self.identity.sample_memory}; use "
                "fewer samples or a board built with more sample memory"
            )
        self.link.write(Space.SAMPLES, 0, words)
        self._samples = {"train": len(train), "test": len(test)}
        self._train_words = records[0].size

    def write_weights(self, weights: list[np.ndarray]) -> None:
        for lane, row in enumerate(self.config.to_lanes(weights)):
            self.link.write(Space.WEIGHTS, lane << 16, [int(w) & 0xFFFFFFFF for w in row])

    def read_weights(self) -> list[np.ndarray]:
        self._run(Command.FLUSH, passes=1)
        count = self.config.lane_words
        rows = [
            self.link.read(Space.WEIGHTS, lane << 16, count) for lane in range(self.config.lanes)
        ]
        sign = 1 << (self.network.weight_bits - 1)
        weights = np.array(rows, dtype=np.int64) & (2 * sign - 1)
        return self.config.from_lanes((weights ^ sign) - sign)

    def start(self, settings: Settings, seed: int) -> None:
        settings.check(self.network)
        if isinstance(self.config, SpatialConfig):
            self.config.check(settings)
        check_core(self.network, settings)
        state = start_state(seed)
        mode = (
            (Flag.NODES if settings.perturbs_nodes else Flag(0))
            | (Flag.ANTITHETIC if settings.antithetic else Flag(0))
            | (Flag.ACCUMULATE if settings.accumulates else Flag(0))
        )
        values = {
            Register.STEP_TARGET: 0,
            Register.MODE: int(mode),
            Register.DELTA_EXP: settings.delta_exp,
            Register.ETA_EXP: settings.eta_exp,
            Register.INPUT_SHIFT: settings.input_shift,
            Register.TAU_X: settings.tau_x,
            Register.TAU_P: settings.tau_p,
            Register.TAU_THETA: settings.tau_theta,
            Register.SEED: state & 0xFFFFFFFF,
            Register.SEED + 1: state >> 32,
            Register.TRAIN_END: self._train_words,
        }
        first = min(values)
        self.link.write(
            Space.REGISTERS, first, [values[r] for r in range(first, first + len(values))]
        )
        self._run(Command.INIT, passes=100)

    def train(self, until_step: int, on_progress: Callable[[int], None] | None = None) -> None:
        self.link.write_register(Register.STEP_TARGET, until_step)
        step = self.link.read_register(Register.STEP)
        self._run(Command.TRAIN, passes=2 * (until_step - step) + 1, on_progress=on_progress)

    def evaluate(self, on: str = "test") -> Evaluation:
        count = self._samples[on]
        self.link.write(Space.REGISTERS, Register.EVAL_TEST, [int(on == "test"), count])
        self._run(Command.EVALUATE, passes=count + 1)
        correct, low, high = self.link.read(Space.REGISTERS, Register.EVAL_CORRECT, 3)
        return Evaluation(correct, low | high << 32, count, self.network.cost_frac)

    def counters(self) -> Counters:
        count = REGISTERS - FIRST_READABLE
        words = self.link.read(Space.REGISTERS, FIRST_READABLE, count)

        def word(register: int) -> int:
            return words[register - FIRST_READABLE]

        def wide(register: Register) -> int:
            return word(register) | word(register + 1) << 32

        return Counters(
            step=word(Register.STEP),
            cost_sum=wide(Register.COST_SUM),
            weight_saturations=word(Register.WEIGHT_SATURATIONS),
            activation_saturations=word(Register.ACTIVATION_SATURATIONS),
            clocks=self._clocks(),
            train_clocks=wide(Register.TRAIN_CLOCKS),
            link_errors=((word(Register.FRAME_ERRORS) - self._errors_before) & FRAME_ERRORS_MASK)
            + self.link.errors,
        )

    def close(self) -> None:
        self.link.close()

    def _run(
        self, command: Command, passes: int, on_progress: Callable[[int], None] | None = None
    ) -> None:
        """Send a command and wait until the core is idle.

        passes: forward passes it may take, for the bound on its clocks.
        """
        per_pass = 2 * self.config.lane_words + 2 * self.network.layers[0] + 1000
        limit = CLOCK_MARGIN * (passes + 1) * per_pass + 1_000_000
        begin = self._clocks()
        self._send(command)
        pause = POLL_SECONDS[0]
        while True:
            busy, step = self.link.read(Space.REGISTERS, Register.STATUS, 2)
            if on_progress:
                on_progress(step)
            if not busy & 1:
                return
            if (spent := self._clocks() - begin) > limit:
                raise UserError(
                    f"{self.backend}: {command.name} has taken {spent} clocks at step {step}, it "
                    f"needs fewer than {limit}: the core hangs; reset the board and start again"
                )
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS[1])

    def _send(self, command: Command) -> None:
        repeats = self.link.repeats
        try:
            self.link.write_register(Register.COMMAND, command)
        except RefusedError as refusal:
            # Where a reply was lost, the repeated command finds the core at work on it.
            if refusal.status is not Status.BUSY or self.link.repeats == repeats:
                raise

    def _clocks(self) -> int:
        return self.link.read_register64(Register.CLOCKS)


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
    """64-32-10 for layers, anything else as it is."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
