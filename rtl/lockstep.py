"""Compares a running core with the golden model, value by value.

The core's probe (rtl.core_kinds) gives three kinds of events: a cost, a D, and the
weights and accumulators that all lanes write in one clock.  In the folded core the weights of
step t are written in the sweep of step t+1, or in a flush; in the spatial core, where a lane is a
synapse, all in one clock while later steps are in progress.
"""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import NoReturn

import numpy as np
from amaranth import Shape

from mgd.golden_model.trainer import Step, Trainer
from mgd.rtl.core_kinds import AnyConfig, gateware_of


@dataclass
class MismatchError(Exception):
    """The first value that differs.  layer counts weight layers from 1; -1: not of a synapse."""

    step: int
    value: str
    expected: int | None
    got: int | None
    layer: int = -1
    node: int = -1
    input: int = -1

    def __str__(self) -> str:
        where = ""
        if self.layer >= 0:
            where = f", layer {self.layer}, node {self.node}, input {self.input}"
        values = ", ".join(
            f"{name} {'nothing' if number is None else number}"
            for name, number in (("expected", self.expected), ("got", self.got))
        )
        return f"step {self.step}{where}: {self.value}: {values}"

    def as_dict(self) -> dict[str, int | str | None]:
        return asdict(self)


@dataclass
class _Expected:
    """The expected writes of a step, those that were seen, and those that must follow."""

    step: int
    weights: np.ndarray
    gradients: np.ndarray
    written: np.ndarray
    changes: np.ndarray

    @property
    def missing(self) -> np.ndarray:
        """Numbers of the words that must still pass."""
        return np.flatnonzero(self.changes & ~self.written)


class Lockstep:
    """Runs `trainer` (one seed) beside a core.  Event methods raise MismatchError.

    values_compared counts the single numbers that were found equal.
    """

    def __init__(self, config: AnyConfig, trainer: Trainer) -> None:
        self.config = config
        self.trainer = trainer
        self.values_compared = 0
        self.steps = 0
        self._record: Step | None = None
        self._delta = 0
        self._passes: list[tuple[str, int]] = []
        """Costs that come before the next D."""
        self._later: list[tuple[list[tuple[str, int]], int]] = []
        """Costs and D that follow in this step: of each layer, where they have their own."""
        self._expected: deque[_Expected] = deque()
        gateware = gateware_of(config)
        self._under_way = gateware.updates_after(config)
        self._gradient_scale = gateware.gradient_scale(config, trainer.settings)
        ones = [
            np.full((nodes, fan_in + 1), 1)
            for fan_in, nodes in zip(config.network.layers, config.network.layers[1:], strict=False)
        ]
        self._active = config.to_lanes(ones).astype(bool)
        probe = gateware.probe_layout(config)
        self._places = {name: (field.offset, field.width) for name, field in probe}
        self._cost = Shape.cast(probe["cost"].shape["cost"].shape)

    def observe(self, probe: int) -> None:
        """The probe's events in one clock, from its packed bits."""
        net, cfg = self.config.network, self.config
        if self._field(probe, "write"):
            gradients = None
            shown = cfg.lanes if "word" in self._places else cfg.lane_words
            if net.accumulators:
                packed = self._field(probe, "gradients")
                gradients = signed_fields(packed, shown, cfg.gradient_bits)
            weights = signed_fields(self._field(probe, "weights"), shown, net.weight_bits)
            if "word" in self._places:
                self.write(self._field(probe, "word"), weights, gradients)
            else:
                self._write_all(weights, gradients)
        if self._field(probe, "cost_valid"):
            cost = self._field(probe, "cost") & ((1 << self._cost.width) - 1)
            self.cost(signed_fields(cost, 1, self._cost.width)[0] if self._cost.signed else cost)
        if self._field(probe, "second_valid"):
            self.cost(self._field(probe, "second_cost"))
        if self._field(probe, "delta_valid"):
            self.delta(signed_fields(self._field(probe, "delta"), 1, net.delta_cost_bits)[0])

    def _field(self, probe: int, name: str) -> int:
        offset, width = self._places.get(name, (0, 0))
        return probe >> offset & ((1 << width) - 1)

    def cost(self, value: int) -> None:
        """The next cost: C⁺ then C⁻, or C0 (where it is renewed) then C."""
        if self._record is None:
            self._check_written(self._under_way)
            self._step()
        if not self._passes:
            raise MismatchError(self.steps, "cost", None, value)
        name, expected = self._passes.pop(0)
        self.equal(name, expected, value)

    def delta(self, value: int) -> None:
        """D, the end of a step or of a layer's part of it."""
        if self._record is None or self._passes:
            missing = self._passes[0] if self._passes else ("cost", 0)
            raise MismatchError(self.steps, missing[0], missing[1], None)
        self.equal("D", self._delta, value)
        if self._later:
            self._passes, self._delta = self._later.pop(0)
        else:
            self._record = None
            self.steps += 1

    def write(self, word: int, weights: list[int], gradients: list[int] | None) -> None:
        """One word of every lane: the new weights and accumulators, of the first step that has
        not written it yet."""
        expected = next((e for e in self._expected if not e.written[word]), None)
        if expected is None:
            self._differs(self.steps - 1, "weight written twice", word, 0, None, weights[0])
        expected.written[word] = True
        for name, got, wanted in (
            ("weight", weights, expected.weights),
            ("accumulator", gradients, expected.gradients),
        ):
            if got is None:
                continue
            for lane, value in enumerate(got):
                if self._active[lane, word]:
                    if value != wanted[lane, word]:
                        self._differs(
                            expected.step, name, word, lane, int(wanted[lane, word]), value
                        )
                    self.values_compared += 1
        while self._expected and not self._expected[0].missing.size:
            self._expected.popleft()

    def _write_all(self, weights: list[int], gradients: list[int] | None) -> None:
        """All words of the only lane."""
        for word, weight in enumerate(weights):
            self.write(word, [weight], None if gradients is None else [gradients[word]])

    def train_ended(self) -> None:
        """A TRAIN command has ended: with it, all pending updates."""
        self.trainer.finish()

    def finish(self, weights: list[np.ndarray]) -> None:
        """After the flush: check that every write was seen, and the weights that were read back."""
        if self._record is not None:
            raise MismatchError(self.steps, "D", self._delta, None)
        self._check_written(0)
        self.train_ended()
        memory = self.config.to_lanes(weights)
        wanted = self.config.to_lanes([w[0].astype(np.int64) for w in self.trainer.weights])
        for lane, word in np.argwhere(memory != wanted):
            self._differs(
                self.steps - 1,
                "final weight",
                word,
                lane,
                int(wanted[lane, word]),
                int(memory[lane, word]),
            )
        self.values_compared += int(self._active.sum())

    @property
    def all_written(self) -> bool:
        """Whether the writes of the last step have all passed."""
        return not self._expected

    # -- inside -----------------------------------------------------------------------------

    def _step(self) -> None:
        record = self._record = self.trainer.step()
        parts = [([("C", cost)], delta) for cost, delta in _pairs(record.cost, record.delta)]
        if record.cost_plus is not None:
            signed = zip(_pairs(record.cost_plus, record.cost), parts, strict=True)
            parts = [([("C+", plus), ("C-", minus)], d) for (plus, minus), (_, d) in signed]
        if record.baseline is not None:
            parts[0][0].insert(0, ("C0", int(record.baseline[0])))
        self._later = parts
        self._passes, self._delta = self._later.pop(0)
        to_lanes = self.config.to_lanes
        if self.config.variant.by_node and not record.updated:
            return
        self._expected.append(
            _Expected(
                record.number,
                to_lanes([w[0].astype(np.int64) for w in self.trainer.settled]),
                to_lanes([g[0] for g in self.trainer.accumulators]) * self._gradient_scale,
                np.zeros(self.config.lane_words, dtype=bool),
                self._changes(record.updated),
            )
        )

    def _changes(self, updated: bool) -> np.ndarray:
        """The words that this step may have changed; a core that skips inputs may write others,
        as they were."""
        variant, trainer = self.config.variant, self.trainer
        layers = [np.ones(w.shape[1:], dtype=np.int64) for w in trainer.weights]
        if variant.skip_zeros and not (updated and trainer.settings.accumulates):
            layers[0][:] = trainer.trace.nonzero_inputs[0]
        return self.config.to_lanes(layers)[0] != 0

    def _check_written(self, outstanding: int) -> None:
        """Raise MismatchError where more than so many steps have not written their weights."""
        if len(self._expected) > outstanding:
            late = self._expected[0]
            word = int(late.missing[0])
            self._differs(
                late.step, "weight never written", word, 0, int(late.weights[0, word]), None
            )

    def equal(self, name: str, expected: int, got: int) -> None:
        """Compare any other number."""
        if expected != got:
            raise MismatchError(self.steps, name, expected, got)
        self.values_compared += 1

    def _differs(self, step: int, name: str, word: int, lane: int, expected, got) -> NoReturn:
        layer, node, position = self.config.locate_weight(lane, word)
        raise MismatchError(step, name, expected, got, layer + 1, node, position)


def _pairs(a: np.ndarray, b: np.ndarray) -> list[tuple[int, int]]:
    """Two numbers of one seed, or of each layer."""
    first, second = a.reshape(-1), b.reshape(-1)
    return [(int(x), int(y)) for x, y in zip(first, second, strict=True)]


def signed_fields(packed: int, count: int, bits: int) -> list[int]:
    """`count` two's complement numbers of `bits` bits, the first in the lowest bits."""
    half, mask = 1 << (bits - 1), (1 << bits) - 1
    return [(((packed >> (k * bits)) & mask) ^ half) - half for k in range(count)]
