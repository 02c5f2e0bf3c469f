"""rtl.lockstep: every kind of difference is found and named.

A second golden trainer plays the core; each test spoils one thing that it says.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from mgd.golden_model.network import Network
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Step, Trainer
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.core import probe_layout
from mgd.rtl.interface import packed_fields
from mgd.rtl.lockstep import Lockstep, MismatchError, signed_fields

SEED = 11
LANES = 2
PLAIN = (Network((3, 5, 4), sample_bits=5), Settings(eta_exp=4, input_shift=10))
RESIDUAL = (
    Network((3, 5, 4), sample_bits=5, accumulators=True, tau_theta_max=4),
    Settings(
        method="wp",
        difference="forward",
        rounding="residual",
        tau_x=2,
        tau_theta=3,
        eta_exp=6,
        input_shift=10,
    ),
)
SKIPS = (PLAIN[0], Settings(method="wp", eta_exp=4, input_shift=10, skip_zeros=True))
DARK = 1
"""The input that is 0 in all of its samples."""
STEPS = 6


class Core:
    """What a faultless core says, event by event."""

    def __init__(self, network: Network, settings: Settings) -> None:
        self.config = CoreConfig(network, LANES, variant=BuildOptions.of(settings))
        self.trainer = new_trainer(network, settings)

    def costs(self, record: Step) -> list[int]:
        first = record.cost_plus if record.cost_plus is not None else record.baseline
        return [int(c[0]) for c in (first, record.cost) if c is not None]

    def words(self) -> list[tuple[int, list[int], list[int] | None]]:
        """(word, weights, accumulators) of all lanes, as written after a step."""
        trainer = self.trainer
        weights = self.config.to_lanes([w[0].astype(int) for w in trainer.weights])
        sums = self.config.to_lanes([g[0].astype(int) for g in trainer.accumulators])
        has = self.config.network.accumulators
        return [
            (word, weights[:, word].tolist(), sums[:, word].tolist() if has else None)
            for word in range(self.config.lane_words)
        ]

    def run(self, lockstep: Lockstep, steps: int = STEPS) -> None:
        for _ in range(steps):
            record = self.trainer.step()
            for cost in self.costs(record):
                lockstep.cost(cost)
            lockstep.delta(int(record.delta[0]))
            for word, weights, sums in self.words():
                lockstep.write(word, weights, sums)

    def final(self) -> list[np.ndarray]:
        return [w[0].astype(np.int64) for w in self.trainer.weights]


def new_trainer(network: Network, settings: Settings) -> Trainer:
    random = np.random.default_rng(SEED)
    codes = random.integers(0, 17, size=(9, 3))
    if settings.skip_zeros:
        codes[:, DARK] = 0
    labels = random.integers(0, 4, size=9)
    weights = [w[None] for w in initial_weights(network, SEED)]
    return Trainer(network, settings, codes, labels, weights, [SEED])


@pytest.fixture(params=[PLAIN, RESIDUAL], ids=["plain", "residual"])
def pair(request) -> tuple[Core, Lockstep]:
    """A core and its lockstep, STEPS steps run and all written."""
    core = Core(*request.param)
    lockstep = Lockstep(core.config, new_trainer(*request.param))
    core.run(lockstep)
    return core, lockstep


def expect(error: pytest.ExceptionInfo[MismatchError], **fields) -> None:
    got = error.value.as_dict()
    assert {key: got[key] for key in fields} == fields


def place(core: Core, layer: int, node: int, position: int) -> tuple[int, int]:
    """(word, lane) of a parameter, found by a mark: not by the arithmetic under test."""
    marks = [np.zeros_like(w) for w in core.final()]
    marks[layer - 1][node, position] = 1
    ((lane, word),) = np.argwhere(core.config.to_lanes(marks))
    return int(word), int(lane)


def test_equal_values_are_counted(pair):
    core, lockstep = pair
    per_word = 2 if core.config.network.accumulators else 1
    # Forward: C0 in each of six steps with a new sample (0, 2, 4) or new weights (3), so in four.
    costs = 2 * STEPS if per_word == 1 else STEPS + 4
    expected = costs + STEPS + STEPS * per_word * core.config.network.parameters
    assert lockstep.values_compared == expected
    assert lockstep.steps == STEPS
    assert lockstep.all_written
    lockstep.finish(core.final())
    assert lockstep.values_compared == expected + core.config.network.parameters


@pytest.mark.parametrize("which", [0, 1])
def test_a_wrong_cost(pair, which):
    core, lockstep = pair
    record = core.trainer.step()
    costs = core.costs(record)
    names = ["C+", "C-"] if record.cost_plus is not None else ["C0", "C"]
    assert len(costs) == 2
    for cost in costs[:which]:
        lockstep.cost(cost)
    with pytest.raises(MismatchError) as error:
        lockstep.cost(costs[which] + 1)
    expect(
        error, step=STEPS, value=names[which], expected=costs[which], got=costs[which] + 1, layer=-1
    )
    assert str(error.value) == (
        f"step {STEPS}: {names[which]}: expected {costs[which]}, got {costs[which] + 1}"
    )


def test_a_wrong_d(pair):
    core, lockstep = pair
    record = core.trainer.step()
    for cost in core.costs(record):
        lockstep.cost(cost)
    with pytest.raises(MismatchError) as error:
        lockstep.delta(-int(record.delta[0]) - 1)
    expect(error, step=STEPS, value="D", expected=int(record.delta[0]))


def test_a_cost_too_many(pair):
    core, lockstep = pair
    for cost in core.costs(core.trainer.step()):
        lockstep.cost(cost)
    with pytest.raises(MismatchError) as error:
        lockstep.cost(5)
    expect(error, step=STEPS, value="cost", expected=None, got=5)


def test_a_missing_cost(pair):
    core, lockstep = pair
    record = core.trainer.step()
    costs = core.costs(record)
    lockstep.cost(costs[0])
    with pytest.raises(MismatchError) as error:
        lockstep.delta(int(record.delta[0]))
    name = "C-" if record.cost_plus is not None else "C"
    expect(error, step=STEPS, value=name, expected=costs[1], got=None)


def test_a_d_without_costs(pair):
    _, lockstep = pair
    with pytest.raises(MismatchError) as error:
        lockstep.delta(0)
    expect(error, step=STEPS, got=None)


PARAMETERS = [(1, 0, 0), (1, 4, 3), (2, 0, 5), (2, 3, 2), (2, 2, 0)]


@pytest.mark.parametrize(("layer", "node", "position"), PARAMETERS)
def test_a_wrong_weight(pair, layer, node, position):
    core, lockstep = pair
    word, lane = place(core, layer, node, position)
    record = core.trainer.step()
    for cost in core.costs(record):
        lockstep.cost(cost)
    lockstep.delta(int(record.delta[0]))
    at, weights, sums = core.words()[word]
    right = weights[lane]
    weights[lane] -= 1
    with pytest.raises(MismatchError) as error:
        lockstep.write(at, weights, sums)
    expect(
        error, step=STEPS, value="weight", expected=right, got=right - 1, layer=layer, node=node,
        input=position,
    )  # fmt: skip
    assert f"step {STEPS}, layer {layer}, node {node}, input {position}: weight" in str(error.value)


@pytest.mark.parametrize(("layer", "node", "position"), PARAMETERS)
def test_a_wrong_accumulator(layer, node, position):
    core = Core(*RESIDUAL)
    lockstep = Lockstep(core.config, new_trainer(*RESIDUAL))
    core.run(lockstep, 2)
    word, lane = place(core, layer, node, position)
    record = core.trainer.step()
    for cost in core.costs(record):
        lockstep.cost(cost)
    lockstep.delta(int(record.delta[0]))
    at, weights, sums = core.words()[word]
    assert sums is not None
    right = sums[lane]
    sums[lane] += 1
    with pytest.raises(MismatchError) as error:
        lockstep.write(at, weights, sums)
    expect(
        error, step=2, value="accumulator", expected=right, got=right + 1, layer=layer, node=node,
        input=position,
    )  # fmt: skip


def test_lanes_without_a_neuron_are_not_looked_at(pair):
    core, lockstep = pair
    # Five hidden nodes on two lanes: the third group leaves lane 1 without one.
    record = core.trainer.step()
    for cost in core.costs(record):
        lockstep.cost(cost)
    lockstep.delta(int(record.delta[0]))
    before = lockstep.values_compared
    at, weights, sums = core.words()[2 * 4]
    weights[1] = 12345
    lockstep.write(at, weights, sums)
    assert lockstep.values_compared == before + (1 if sums is None else 2)


def test_a_word_written_twice(pair):
    core, lockstep = pair
    word, weights, sums = core.words()[6]
    with pytest.raises(MismatchError) as error:
        lockstep.write(word, weights, sums)
    expect(error, step=STEPS - 1, value="weight written twice", expected=None, got=weights[0])
    # Word 6 is input 2 of the second group's first node.
    expect(error, layer=1, node=2, input=2)


@pytest.mark.parametrize("when", ["next step", "end"])
def test_a_word_never_written(pair, when):
    core, lockstep = pair
    record = core.trainer.step()
    for cost in core.costs(record):
        lockstep.cost(cost)
    lockstep.delta(int(record.delta[0]))
    words = core.words()
    missing = core.config.first_word[1] + 7  # input 1 of the second group
    for word, weights, sums in words:
        if word != missing:
            lockstep.write(word, weights, sums)
    assert not lockstep.all_written
    if when == "end":
        finds_it = partial(lockstep.finish, core.final())
    else:
        finds_it = partial(lockstep.cost, core.costs(core.trainer.step())[0])
    with pytest.raises(MismatchError) as error:
        finds_it()
    expect(error, step=STEPS, value="weight never written", expected=words[missing][1][0], got=None)
    expect(error, layer=2, node=2, input=1)


@pytest.mark.parametrize(("layer", "position"), [(1, DARK), (1, 0), (1, 3), (2, 0)])
def test_words_that_a_step_may_leave_out(layer, position):
    """Those of inputs that are 0, and no others; what is written all the same is compared."""
    core = Core(*SKIPS)
    lockstep = Lockstep(core.config, new_trainer(*SKIPS))
    core.run(lockstep, 2)
    record = core.trainer.step()
    for cost in core.costs(record):
        lockstep.cost(cost)
    lockstep.delta(int(record.delta[0]))
    skipped, lane = place(core, layer, 2, position)
    for word, weights, sums in core.words():
        if word != skipped:
            lockstep.write(word, weights, sums)
    left_out = layer == 1 and position == DARK
    assert lockstep.all_written == left_out
    if left_out:
        return
    _, weights, sums = core.words()[skipped]
    weights[lane] += 1
    with pytest.raises(MismatchError) as error:
        lockstep.write(skipped, weights, sums)
    expect(error, step=2, value="weight", layer=layer, node=2, input=position)


def test_with_accumulators_no_word_may_be_left_out_when_weights_change():
    settings = replace(RESIDUAL[1], skip_zeros=True)
    core = Core(RESIDUAL[0], settings)
    lockstep = Lockstep(core.config, new_trainer(RESIDUAL[0], settings))
    skipped, _ = place(core, 1, 2, DARK)
    for changes in (False, False, True):
        record = core.trainer.step()
        for cost in core.costs(record):
            lockstep.cost(cost)
        lockstep.delta(int(record.delta[0]))
        for word, weights, sums in core.words():
            if word != skipped:
                lockstep.write(word, weights, sums)
        assert lockstep.all_written != changes == record.updated


def test_the_end_inside_a_step(pair):
    core, lockstep = pair
    lockstep.cost(core.costs(core.trainer.step())[0])
    with pytest.raises(MismatchError) as error:
        lockstep.finish(core.final())
    expect(error, step=STEPS, value="D", got=None)


@pytest.mark.parametrize(("layer", "node", "position"), PARAMETERS)
def test_a_wrong_final_weight(pair, layer, node, position):
    core, lockstep = pair
    final = core.final()
    right = int(final[layer - 1][node, position])
    final[layer - 1][node, position] = right + 2
    with pytest.raises(MismatchError) as error:
        lockstep.finish(final)
    expect(
        error, value="final weight", expected=right, got=right + 2, layer=layer, node=node,
        input=position,
    )  # fmt: skip


def test_other_numbers(pair):
    _, lockstep = pair
    before = lockstep.values_compared
    lockstep.equal("counter", 3, 3)
    assert lockstep.values_compared == before + 1
    with pytest.raises(MismatchError) as error:
        lockstep.equal("counter", 3, 4)
    expect(error, value="counter", expected=3, got=4, layer=-1, node=-1, input=-1)


# -- the probe's bits -----------------------------------------------------------------------


def pack(core: Core, **values: int) -> int:
    """The probe's packed bits with these fields, all others 0."""
    return packed_fields(probe_layout(core.config), **values)


def packed(values: list[int], bits: int) -> int:
    return sum((value & ((1 << bits) - 1)) << (k * bits) for k, value in enumerate(values))


def probes(core: Core) -> list[int]:
    """A step as the probe shows it; the last write shares its clock with nothing."""
    net, record = core.config.network, core.trainer.step()
    events = [pack(core, cost_valid=1, cost=cost) for cost in core.costs(record)]
    events.append(pack(core, delta_valid=1, delta=int(record.delta[0])))
    for word, weights, sums in core.words():
        fields = {"write": 1, "word": word, "weights": packed(weights, net.weight_bits)}
        if sums is not None:
            fields["gradients"] = packed(sums, net.gradient_bits)
        events.append(pack(core, **fields))
    return events


def test_the_probe_is_unpacked(pair):
    core, lockstep = pair
    before = lockstep.values_compared
    per_word = 2 if core.config.network.accumulators else 1
    for event in probes(core):
        lockstep.observe(event)
    assert lockstep.steps == STEPS + 1
    assert lockstep.values_compared == before + 3 + per_word * core.config.network.parameters
    lockstep.finish(core.final())


def test_a_clock_without_news_says_nothing(pair):
    core, lockstep = pair
    before = lockstep.values_compared
    everything = {name: -1 for name, _ in probe_layout(core.config)}
    lockstep.observe(pack(core, **{**everything, "write": 0, "cost_valid": 0, "delta_valid": 0}))
    assert (lockstep.values_compared, lockstep.steps) == (before, STEPS)


def test_one_clock_may_say_several_things():
    """A write and a cost in one clock: the write belongs to the step before."""
    core = Core(*PLAIN)
    lockstep = Lockstep(core.config, new_trainer(*PLAIN))
    first = probes(core)
    second = probes(core)
    for event in first[:-1]:
        lockstep.observe(event)
    lockstep.observe(first[-1] | second[0])
    for event in second[1:]:
        lockstep.observe(event)
    assert lockstep.steps == 2
    lockstep.finish(core.final())


@pytest.mark.parametrize(
    ("event", "field", "bit"),
    [(0, "cost", 0), (2, "delta", 0), (2, "delta", -1), (3, "weights", 0)],
)
def test_a_wrong_bit_in_the_probe(pair, event, field, bit):
    core, lockstep = pair
    events = probes(core)
    for right in events[:event]:
        lockstep.observe(right)
    layout = probe_layout(core.config)[field]
    with pytest.raises(MismatchError) as error:
        lockstep.observe(events[event] ^ 1 << layout.offset + bit % layout.width)
    assert error.value.step == STEPS


def test_signed_fields():
    assert signed_fields(0b1000_0111_1111, 3, 4) == [-1, 7, -8]
    assert signed_fields(0, 2, 16) == [0, 0]
    assert signed_fields((1 << 40) - 1, 1, 40) == [-1]
