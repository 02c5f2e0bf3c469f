"""The same training run on a board and in the golden model."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from mgd.golden_model.seeds import initial_weights
from mgd.host.selftest.check import Check
from mgd.host.session.base import Counters, Evaluation, Session
from mgd.host.session.board import BoardSession
from mgd.host.session.golden import GoldenSession
from mgd.host.task.task import Task
from mgd.protocol.record import Samples
from mgd.protocol.registers import Register

STEPS = 200
STEPS_MAX = 5_000
"""Even with long time constants: the golden model has to do them, too."""
SAMPLES = 64
CLOCK_SECONDS = 0.2


class TestRun:
    """A training run of STEPS steps, or more where time constants are long.

    check_weights() runs it; check_counters() checks its results.
    """

    __test__ = False  # no test of pytest's

    def __init__(self, session: BoardSession, task: Task) -> None:
        self.session, self.task = session, task
        settings = task.spec.settings
        longest = max(settings.tau_x, settings.tau_p, settings.tau_theta)
        self.steps = min(STEPS_MAX, max(STEPS, 2 * longest))
        self._results: dict[str, _Result] = {}

    def check_weights(self) -> Check:
        """The weights after the last step, bit for bit."""
        for name, session in (
            ("board", self.session),
            ("golden", GoldenSession(self.session.network)),
        ):
            self._results[name] = self._run(session)
        board, golden = self._results["board"].weights, self._results["golden"].weights
        wrong = [
            (layer, int(node), int(k))
            for layer, (got, wanted) in enumerate(zip(board, golden, strict=True))
            for node, k in np.argwhere(got != wanted)
        ]
        total = sum(w.size for w in golden)
        what = f"{self.steps} steps of {self.task.spec.method}, seed {self.task.spec.seed}"
        measured = {"steps": self.steps, "weights": total, "different": len(wrong)}
        if not wrong:
            detail = f"{what}: {total:,} weights equal to the golden model's"
            return Check("training", True, detail, measured=measured)
        layer, node, k = wrong[0]
        lanes = sorted({n % self.session.lanes for _, n, _ in wrong})
        in_lanes = f"lane {lanes[0]}" if len(lanes) == 1 else f"lanes {', '.join(map(str, lanes))}"
        detail = (
            f"{what}: {len(wrong):,} of {total:,} weights differ, all in {in_lanes}; first layer "
            f"{layer + 1} node {node} input {k}: {board[layer][node, k]}, the golden model has "
            f"{golden[layer][node, k]}"
        )
        remedy = (
            "if both memories passed, the arithmetic is at fault: look at the timing in the "
            "build's report.json; `mgd verify` checks the same design in simulation"
        )
        return Check("training", False, detail, remedy, measured)

    def check_counters(self) -> Check:
        """Steps, costs, saturations and an evaluation against the golden model; clocks continue."""
        if "golden" not in self._results:
            return Check("counters", False, "the training run did not end", "fix that first")
        board, golden = self._results["board"], self._results["golden"]
        wrong = [
            f"{name} is {got:,}, the golden model has {golden.counted[name]:,}"
            for name, got in board.counted.items()
            if got != golden.counted[name]
        ]
        clocks, train_clocks = board.counters.clocks, board.counters.train_clocks
        hz = self._clock_hz()
        if hz <= 0:
            wrong.append("CLOCKS does not advance")
        if not 0 < train_clocks < clocks:
            wrong.append(f"train_clocks is {train_clocks:,} and clocks {clocks:,}")
        per_step = train_clocks / self.steps
        measured = {"clocks_per_step": per_step, "measured_clock_hz": hz}
        if wrong:
            remedy = (
                "if the training run passed, only the counting is at fault: look at the timing in "
                "the build's report.json"
            )
            return Check("counters", False, "; ".join(wrong), remedy, measured)
        counted = ", ".join(f"{name} {value:,}" for name, value in board.counted.items())
        detail = f"{counted}: equal; {per_step:.1f} clocks per step"
        if self.session.backend != "sim":
            detail += f", {hz / 1e6:.3g} MHz by this machine's time"
        return Check("counters", True, detail, measured=measured)

    def _run(self, session: Session) -> _Result:
        task, network = self.task.whole(), self.session.network
        train, test = task.datasets()
        session.load_samples(self._some(train), self._some(test))
        session.write_weights(initial_weights(network, task.spec.seed, task.spec.init_gain))
        session.start(task.spec.settings, task.spec.seed)
        session.train(self.steps)
        weights, counters = session.read_weights(), session.counters()
        return _Result(weights, counters, session.evaluate("test"))

    def _some(self, samples: Samples) -> Samples:
        """As many as half of the sample memory holds, SAMPLES at most, one at least."""
        half = self.session.identity.sample_memory // 2
        # One word less: each set starts at an even address.
        count = max(1, min(SAMPLES, (half - 1) // self.session.layout.record_stride))
        return Samples(samples.codes[:count], samples.labels[:count])

    def _clock_hz(self) -> float:
        """Clocks of the board in a second of this machine."""
        link = self.session.link
        begin, first = time.perf_counter(), link.read_register64(Register.CLOCKS)
        time.sleep(CLOCK_SECONDS)
        last = link.read_register64(Register.CLOCKS)
        return (last - first) / (time.perf_counter() - begin)


@dataclass(frozen=True)
class _Result:
    weights: list[np.ndarray]
    counters: Counters
    evaluation: Evaluation

    @property
    def counted(self) -> dict[str, int]:
        """The counters that board and golden model have in common."""
        counters, evaluation = self.counters, self.evaluation
        return {
            "step": counters.step,
            "cost_sum": counters.cost_sum,
            "weight_saturations": counters.weight_saturations,
            "activation_saturations": counters.activation_saturations,
            "evaluation correct": evaluation.correct,
            "evaluation cost_sum": evaluation.cost_sum,
        }
