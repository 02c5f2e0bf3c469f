"""The training loop against the same rules written out in Python integers, one at a time."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mgd.golden_model.network import ONE, TAU_MAX, Network
from mgd.golden_model.reference.network import float_inputs, float_weights
from mgd.golden_model.reference.trainer import FloatTrainer
from mgd.golden_model.seeds import initial_weights, permutation
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.session.golden import GoldenSession
from mgd.protocol.record import Samples
from tests.support.oracle import Oracle

SAMPLES = 7
STEPS = 45


def make(network, settings, seeds, gain=1.0, samples=SAMPLES):
    """(codes, labels, weights per seed, orders) for a small random task."""
    random = np.random.default_rng(7)
    inputs = network.layers[0]
    codes = random.integers(network.code_min, network.code_max + 1, (samples, inputs))
    labels = random.integers(0, network.classes, samples)
    drawn = [initial_weights(network, seed, gain) for seed in seeds]
    weights = [np.array(layer) for layer in zip(*drawn, strict=True)]
    orders = np.array([permutation(samples, seed) for seed in seeds])
    return codes, labels, weights, orders


def trainer(network, settings, seeds, order=True, **options) -> Trainer:
    codes, labels, weights, orders = make(network, settings, seeds, **options)
    return Trainer(network, settings, codes, labels, weights, seeds, orders if order else None)


def apart_from_float(network, settings, steps) -> tuple[float, float]:
    """Largest distance of a weight from the float trainer's, and the largest move of one."""
    codes, labels, weights, orders = make(network, settings, [1, 2])
    fixed = Trainer(network, settings, codes, labels, weights, [1, 2], orders)
    start = float_weights(weights, network)
    inputs = float_inputs(codes, settings.input_shift)
    exact = FloatTrainer(network, settings, inputs, labels, start, [1, 2], orders)
    fixed.train(steps)
    exact.train(steps)
    pairs = list(zip(float_weights(fixed.weights, network), exact.weights, start, strict=True))
    apart = max(np.abs(a - b).max() for a, b, _ in pairs)
    moved = max(np.abs(b - c).max() for _, b, c in pairs)
    print(f"weights {apart:.5f} apart, {moved:.5f} moved")
    return apart, moved


def state(t: Trainer, k: int):
    """All that the training has changed, of seed number k."""
    return (
        [w[k].tolist() for w in t.weights],
        [g[k].tolist() for g in t.accumulators],
        int(t.cost_sum[k]),
        int(t.weight_saturations[k]),
        int(t.activation_saturations[k]),
    )


TANH_MSE = Network((3, 3, 2, 1), accumulators=True, tau_theta_max=64)
ENTROPY = Network(
    (4, 3, 3), cost="cross_entropy", cost_frac=15, pre_frac=11, accumulators=True, tau_theta_max=9
)
COARSE = Network(  # 8 and 18 bits: grid_frac is not weight_frac
    (4, 3, 3), cost="cross_entropy", weight_bits=8, accumulators=True, tau_theta_max=9
)
RELU = Network(
    (3, 4, 2), "relu", "identity", weight_bits=18, cost_frac=16, accumulators=True, tau_theta_max=9
)
NETWORKS = {"tanh-mse": TANH_MSE, "entropy": ENTROPY, "8-bit": COARSE, "relu-18-bit": RELU}
PLANS = {
    "plain": {"eta_exp": 4},
    "left shift": {"eta_exp": 0, "delta_exp": 2},
    "residual": {"rounding": "residual", "eta_exp": 6},
    "mini-batch": {"rounding": "residual", "tau_p": 5, "tau_theta": 5, "eta_exp": 5},
    "held": {"rounding": "residual", "tau_x": 6, "tau_p": 2, "tau_theta": 3, "eta_exp": 3},
    "slow sample": {"tau_x": 4, "tau_p": 3, "eta_exp": 5},
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("difference", ["antithetic", "forward"])
@pytest.mark.parametrize("method", ["wp", "np"])
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_written_out_rules(name, method, difference, plan):
    """Every weight, accumulator, cost and counter, two seeds at once, and more than one epoch."""
    network = NETWORKS[name]
    fields = {"method": method, "difference": difference, "input_shift": 6, **PLANS[plan]}
    if name == "8-bit" and plan == "left shift":
        fields["delta_exp"] = 4
    if name == "relu-18-bit":
        fields["input_shift"] = 7
    settings, seeds = Settings(**fields), [3, 4]
    gain = 4.0 if name == "relu-18-bit" else 2.0
    many = trainer(network, settings, seeds, gain=gain)
    codes, labels, weights, orders = make(network, settings, seeds, gain=gain)
    oracles = [
        Oracle(network, settings, codes, labels, [w[k] for w in weights], seed, orders[k].tolist())
        for k, seed in enumerate(seeds)
    ]
    for _ in range(STEPS):
        record = many.step()
        deltas = [oracle.step() for oracle in oracles]
        assert record.delta.tolist() == deltas
        assert record.number == oracles[0].step_number - 1
        assert record.updated == oracles[0].changed
    for k, o in enumerate(oracles):
        counters = (o.cost_sum, o.weight_saturations, o.activation_saturations)
        assert state(many, k) == (o.weights, o.accumulators, *counters)
        moved = [(w[k] != start[k]).any() for w, start in zip(many.weights, weights, strict=True)]
        assert all(moved), "else the test compares nothing"


@pytest.mark.parametrize("method", ["wp", "np"])
def test_many_seeds_are_each_one_seed(method):
    settings = Settings(method=method, eta_exp=5, input_shift=6, rounding="residual", tau_theta=3)
    seeds = [1, 2, 9, 100]
    together = trainer(ENTROPY, settings, seeds)
    together.train(200)
    for k, seed in enumerate(seeds):
        alone = trainer(ENTROPY, settings, [seed])
        alone.train(200)
        assert state(alone, 0) == state(together, k)
    assert state(together, 0) != state(together, 1)


def test_lanes_change_nothing():
    network, settings = ENTROPY, Settings(eta_exp=5, input_shift=6)
    codes, labels, weights, _ = make(network, settings, [5])
    results = []
    for lanes in (1, 2, 16):
        with GoldenSession(network, lanes) as session:
            session.load_samples(Samples(codes, labels), Samples(codes, labels))
            session.write_weights([w[0] for w in weights])
            session.start(settings, 5)
            session.train(150)
            results.append([w.tolist() for w in session.read_weights()])
    assert results[0] == results[1] == results[2]
    alone = trainer(network, settings, [5], order=False)
    alone.train(150)
    assert [w[0].tolist() for w in alone.weights] == results[0]


@pytest.mark.parametrize("method", ["wp", "np"])
@pytest.mark.parametrize("tau_theta", [1, 4])
def test_residual_keeps_what_the_shift_drops(method, tau_theta):
    """While nothing clips: Σ contributions = 2^S·(W before − W now) + G, at every step."""
    settings = Settings(
        method=method, rounding="residual", tau_theta=tau_theta, eta_exp=9, input_shift=6
    )
    held = Settings(method=method, rounding="residual", tau_theta=TAU_MAX, eta_exp=9, input_shift=6)
    wide = Network(ENTROPY.layers, cost="cross_entropy", accumulators=True, tau_theta_max=TAU_MAX)
    t = trainer(wide, settings, [1, 2])
    before = [w.copy() for w in t.weights]
    probe = trainer(wide, held, [1, 2])  # never updates: its accumulators are the sum itself
    total = [np.zeros_like(w) for w in before]
    for _ in range(60):
        probe.weights = [w.copy() for w in t.weights]
        earlier = [g.copy() for g in probe.accumulators]
        assert (probe.step().delta == t.step().delta).all()
        for k, g in enumerate(probe.accumulators):
            total[k] += g - earlier[k]
            kept = (before[k] - t.weights[k]) * 2.0**t.shift + t.accumulators[k]
            assert (total[k] == kept).all()
    assert t.weight_saturations.sum() == 0
    assert t.shift > 0
    assert any((g != 0).any() for g in t.accumulators)
    if tau_theta == 1:
        assert all((g >= 0).all() and (g < 2**t.shift).all() for g in t.accumulators)


def test_residual_where_a_weight_clips():
    """The clipped part is lost, the residual is not: G stays in [0, 2^S)."""
    settings = Settings(method="np", rounding="residual", eta_exp=1, input_shift=6)
    t = trainer(COARSE, settings, [1, 2], gain=30.0)
    t.shift = 3  # larger updates than a task would use
    bytes_alone = trainer(COARSE, settings, [1, 2]).random
    clipped = 0
    for _ in range(200):
        weights = [w.copy() for w in t.weights]
        kept = [g.copy() for g in t.accumulators]
        count = t.weight_saturations.copy()
        record, random = t.step(), bytes_alone.take()[:, None]
        for k, w in enumerate(weights):
            product_256 = record.delta[:, None] * t.trace.layer_inputs[k] * 256
            v = (product_256 + (random << 14)) // (256 << 14)
            total = kept[k] + t.trace.draw[k] * v[:, None, :]
            whole = np.floor(total / 8)
            assert (t.accumulators[k] == total - whole * 8).all()
            assert (t.weights[k] == np.clip(w - whole, -128, 127)).all()
            lost = (np.clip(w - whole, -128, 127) != w - whole).sum(axis=(1, 2))
            count += lost
            clipped += lost.sum()
        assert (t.weight_saturations == count).all()
    assert clipped > 10


@pytest.mark.parametrize(
    ("tau_x", "tau_theta", "renewed"),
    [
        (1, 1, set(range(24))),
        (4, 6, {0, 4, 6, 8, 12, 16, 18, 20}),
        (100, 5, {0, 5, 10, 15, 20}),
        (100, 100, {0}),
        (3, 100, {0, 3, 6, 9, 12, 15, 18, 21}),
        (2, 4, {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22}),
    ],
)
def test_baseline_is_renewed_when_sample_or_weights_changed(tau_x, tau_theta, renewed):
    network = Network((3, 2), accumulators=True, tau_theta_max=100)
    settings = Settings(
        "np", "forward", "residual", eta_exp=3, tau_x=tau_x, tau_theta=tau_theta, input_shift=6
    )
    t = trainer(network, settings, [1])
    records = [t.step() for _ in range(24)]
    assert {r.number for r in records if r.baseline is not None} == renewed
    assert {r.number for r in records if r.updated} == set(range(tau_theta - 1, 24, tau_theta))
    for r in records:
        assert r.cost_plus is None
        baseline = r.baseline if r.baseline is not None else baseline  # noqa: F821, RUF100
        assert (r.delta == 2 * (r.cost - baseline)).all()


def test_antithetic_record():
    t = trainer(ENTROPY, Settings(input_shift=6), [1, 2])
    total = 0
    for _ in range(10):
        r = t.step()
        assert r.baseline is None
        assert r.cost_plus is not None
        assert (r.delta == r.cost_plus - r.cost).all()
        total = total + r.cost_plus + r.cost
    assert (t.cost_sum == total).all()


@pytest.mark.parametrize(("tau_x", "tau_p"), [(1, 1), (3, 1), (1, 4), (3, 5), (20, 2)])
def test_samples_and_draws_change_when_they_are_due(tau_x, tau_p):
    """Sample ⌊t/tau_x⌋ in the order given, over and over; draw ⌊t/tau_p⌋."""
    settings = Settings(tau_x=tau_x, tau_p=tau_p, input_shift=6)
    t = trainer(ENTROPY, settings, [1, 2])
    fresh = trainer(ENTROPY, settings, [1, 2])
    draws = [fresh.perturbation.draw() for _ in range(40)]
    for number in range(40):
        t.step()
        at = t.order[:, number // tau_x % SAMPLES]
        assert (t.trace.inputs[:, :-1] == t.inputs[at]).all()
        assert (t.trace.inputs[:, -1] == ONE).all()
        assert (t.trace.labels == t.labels[at]).all()
        for got, want in zip(t.trace.draw, draws[number // tau_p], strict=True):
            assert (got == want).all()


def test_no_order_means_the_order_given():
    settings = Settings(input_shift=6, eta_exp=5)
    codes, labels, weights, _ = make(ENTROPY, settings, [1])
    plain = Trainer(ENTROPY, settings, codes, labels, weights, [1])
    same = Trainer(ENTROPY, settings, codes, labels, weights, [1], np.arange(SAMPLES)[None])
    other = Trainer(ENTROPY, settings, codes, labels, weights, [1], np.arange(SAMPLES)[None, ::-1])
    for t in (plain, same, other):
        t.train(30)
    assert state(plain, 0) == state(same, 0) != state(other, 0)


@pytest.mark.parametrize("method", ["wp", "np"])
def test_mini_batch_is_one_draw_for_all_its_samples(method):
    """tau_p = tau_theta = B: G is the sum over B samples of ΔC_b·x_b under one perturbation."""
    batch = 5
    network = Network((3, 2), "tanh", "identity", accumulators=True, tau_theta_max=TAU_MAX)
    fields = {"method": method, "rounding": "residual", "tau_p": batch, "input_shift": 6}
    probe = trainer(network, Settings(tau_theta=TAU_MAX, **fields), [1, 2])
    t = trainer(network, Settings(tau_theta=batch, eta_exp=7, **fields), [1, 2])
    start = [w.copy() for w in t.weights]
    for _ in range(batch - 1):
        t.step()
        probe.step()
        assert (t.weights[0] == start[0]).all(), "no update inside the batch"
    t.step()
    probe.step()
    step = np.floor(probe.accumulators[0] / 2.0**t.shift)
    assert (start[0] - t.weights[0] == step).all()
    assert (step != 0).any()
    if method == "wp":  # one draw: every synapse has the same |G|
        assert len(np.unique(np.abs(probe.accumulators[0][0]))) == 1


def test_activation_saturations_are_counted_in_every_pass():
    """A neuron that is always above 2.0: one count a pass, two passes a step."""
    network = Network((1, 1, 1), "relu", "identity")
    weights = [np.array([[[0, network.weight_max]]]), np.array([[[0, 0]]])]
    codes, labels = np.zeros((1, 1), dtype=int), np.zeros(1, dtype=int)
    for difference, passes in (("antithetic", 2), ("forward", 2)):
        settings = Settings("np", difference, eta_exp=28)
        t = Trainer(network, settings, codes, labels, weights, [1])
        t.train(10)
        assert t.activation_saturations.tolist() == [10 * passes]
        assert t.weight_saturations.tolist() == [0]


@pytest.mark.parametrize("name", NETWORKS)
def test_evaluate_changes_nothing(name):
    network = NETWORKS[name]
    settings = Settings(
        rounding="residual", tau_theta=4, tau_x=3, difference="forward", input_shift=6
    )
    disturbed, plain = trainer(network, settings, [1, 2]), trainer(network, settings, [1, 2])
    for number in range(1, 50):
        codes, labels, *_ = make(network, settings, [1], samples=11)
        before = state(disturbed, 0)
        disturbed.evaluate(codes, labels)
        assert state(disturbed, 0) == before
        disturbed.train(number)
        plain.train(number)
        assert state(disturbed, 0) == state(plain, 0)
        assert state(disturbed, 1) == state(plain, 1)


@pytest.mark.parametrize("name", NETWORKS)
def test_evaluate_is_the_unperturbed_cost_of_each_sample(name):
    network, settings = NETWORKS[name], Settings(input_shift=6)
    t = trainer(network, settings, [1, 2], gain=2.0)
    codes, labels, weights, _ = make(network, settings, [1, 2], gain=2.0)
    correct, cost = t.evaluate(codes, labels)
    for k in (0, 1):
        oracle = Oracle(network, settings, codes, labels, [w[k] for w in weights], 1, None)
        assert cost[k] == sum(oracle.cost(i, 0, 0)[0] for i in range(SAMPLES))
        one_by_one = [t.evaluate(codes[i : i + 1], labels[i : i + 1]) for i in range(SAMPLES)]
        assert correct[k] == sum(c[k] for c, _ in one_by_one)
        assert cost[k] == sum(c[k] for _, c in one_by_one)
    # Labels that are the network's own answers are all correct.
    answers = [
        next(c for c in range(network.classes) if t.evaluate(row[None], [c])[0][0]) for row in codes
    ]
    assert t.evaluate(codes, np.array(answers))[0][0] == SAMPLES


def test_train_reports_every_step():
    t, seen = trainer(ENTROPY, Settings(input_shift=6), [1]), []
    t.train(5, lambda record: seen.append(record.number))
    t.train(8, lambda record: seen.append(record.number))
    assert seen == list(range(8))


@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_weights_given_are_copied(kind):
    settings = Settings(input_shift=6, eta_exp=3)
    codes, labels, weights, orders = make(ENTROPY, settings, [1])
    given = [w.astype(kind) for w in weights]
    t = Trainer(ENTROPY, settings, codes, labels, given, [1], orders)
    t.train(20)
    assert all((a == b).all() for a, b in zip(given, weights, strict=True))
    assert any((a != b).any() for a, b in zip(t.weights, weights, strict=True))


def test_every_pair_of_methods_differs():
    """A setting that changed nothing would be no setting."""
    runs = []
    for method, difference, rounding in product(
        ("wp", "np"), ("antithetic", "forward"), ("stochastic", "residual")
    ):
        settings = Settings(method, difference, rounding, eta_exp=5, input_shift=6)
        t = trainer(ENTROPY, settings, [1])
        t.train(40)
        runs.append(str(state(t, 0)[0]))
    assert len(set(runs)) == 8
