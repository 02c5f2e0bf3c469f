"""Task files: what they mean, and one line for everything that is wrong with one."""

import tomllib
from pathlib import Path

import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ONE
from mgd.host.task.names import builtin_names
from mgd.host.task.task import Task
from tests.support.paths import ROOT

XOR = """
[task]
name = "my-xor"
[data]
source = "xor"
[network]
layers = [2, 2, 1]
"""


def parse(text: str) -> Task:
    return Task.parse(text, origin="my.toml", folder=Path("."))


def error_of(text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(text)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("my.toml: ")
    return message


@pytest.mark.parametrize("name", builtin_names())
@pytest.mark.parametrize("method", ["wp", "np"])
def test_builtin_tasks_load_for_both_methods(name, method):
    task = Task.load(name).with_overrides(method=method)
    assert task.name == name
    assert task.spec.settings.method == method
    task.spec.settings.check(task.spec.network)
    train, test = task.datasets()
    assert train.codes.shape == (len(train), task.spec.network.layers[0])
    assert len(test)


@pytest.mark.parametrize(
    ("layers", "lanes"), [("[2, 2, 1]", 2), ("[2, 1]", 1), ("[2, 8, 1]", 8), ("[2, 3, 20, 1]", 8)]
)
def test_lanes_default_to_eight_or_what_the_widest_layer_can_use(layers, lanes):
    task = parse(XOR.replace("[2, 2, 1]", layers))
    assert task.spec.core.lanes == lanes
    assert task.with_overrides(lanes=1).spec.core.lanes == 1
    assert parse(XOR.replace("[2, 2, 1]", layers) + "[core]\nlanes = 1\n").spec.core.lanes == 1


def test_builtin_names():
    assert {"xor", "parity4", "nist7x7", "nist7x7_easy", "digits", "moons"} <= set(builtin_names())


def test_defaults():
    task = parse(XOR)
    network, settings = task.spec.network, task.spec.settings
    assert (network.weight_bits, network.pre_frac, network.cost_frac) == (16, 12, 12)
    assert (network.sample_bits, network.sample_signed, settings.input_shift) == (2, True, 14)
    assert (network.target_low, network.target_high) == (-ONE, ONE)
    assert (settings.method, settings.difference) == ("np", "antithetic")
    assert settings.rounding == "stochastic"
    assert not network.accumulators
    assert task.spec.target is None
    assert (task.spec.core.lanes, task.spec.seed, task.spec.eval_every) == (2, 1, 1000)


@pytest.mark.parametrize(
    ("numbers", "training", "rounding"),
    [
        ("", "", "stochastic"),
        ("weight_bits = 14", "", "stochastic"),
        ("weight_bits = 13", "", "residual"),
        ("", "tau_theta = 2", "residual"),
        ("", 'rounding = "residual"', "residual"),
    ],
)
def test_rounding_and_accumulators_follow(numbers, training, rounding):
    task = parse(f"{XOR}[numbers]\n{numbers}\n[training]\n{training}\n")
    assert task.spec.settings.rounding == rounding
    assert task.spec.network.accumulators == (rounding == "residual")


def test_tau_theta_max_is_the_largest_asked_for():
    task = parse(f"{XOR}[training.wp]\ntau_theta = 100\n[training.np]\ntau_theta = 20\n")
    assert task.spec.network.tau_theta_max == 100
    assert task.spec.settings.tau_theta == 20


def test_a_method_has_values_of_its_own():
    text = f"{XOR}[training]\neta_exp = 4\nsteps = 10\n[training.wp]\neta_exp = 6\n"
    task = parse(text)
    assert (task.spec.settings.eta_exp, task.spec.steps) == (4, 10)
    weights = task.with_overrides(method="wp")
    assert (weights.spec.settings.eta_exp, weights.spec.steps) == (6, 10)
    assert task.spec.method == "np", "an override must not change the task it came from"


def test_one_core_serves_both_methods():
    task = Task.load("digits")
    other = task.with_overrides(method="wp", seed=9, lanes=2, steps=5, target=0.5)
    assert other.spec.network.digest() == task.spec.network.digest()
    assert (other.spec.seed, other.spec.core.lanes, other.spec.steps, other.spec.target) == (
        9,
        2,
        5,
        0.5,
    )
    for t in (task, other):
        assert t.spec.settings.shift(t.spec.network) < t.spec.network.shift_max


def test_overrides_add_up_and_none_changes_nothing():
    task = parse(XOR).with_overrides(seed=0, target=None).with_overrides(steps=7)
    assert (task.spec.seed, task.spec.steps) == (0, 7)


def test_override_errors_name_the_key():
    with pytest.raises(UserError, match=r"steps = 0: must be at least 1"):
        parse(XOR).with_overrides(steps=0)
    with pytest.raises(UserError, match=r"method = 'mp': must be 'wp' or 'np'"):
        parse(XOR).with_overrides(method="mp")


def test_config_digest_ignores_seed_and_lanes_only():
    task = Task.load("moons")
    digest = task.config_digest()
    assert task.with_overrides(seed=5, lanes=1).config_digest() == digest
    assert Task.load("moons").config_digest() == digest
    others = [
        task.with_overrides(**{key: value}).config_digest()
        for key, value in (("method", "wp"), ("steps", 3), ("eta_exp", 3), ("target", 0.5))
    ]
    assert len({digest, *others}) == 5


def test_config_digest_follows_the_data(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,a\n3,4,b\n")
    text = XOR.replace('"xor"', '"a.csv"')
    first = Task.parse(text, "my.toml", tmp_path).config_digest()
    (tmp_path / "a.csv").write_text("1,2,a\n3,5,b\n")
    assert Task.parse(text, "my.toml", tmp_path).config_digest() != first


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (XOR + "[training]\nstep = 3\n", ["'step'", "[training]", "did you mean 'steps'?"]),
        (XOR + "[training]\nlanes = 3\n", ["'lanes'", "[training]", "belongs in [core]"]),
        (XOR + "[training.np]\netaexp = 3\n", ["[training.np]", "did you mean 'eta_exp'?"]),
        (XOR + "[trainig]\nsteps = 3\n", ["[trainig]", "did you mean 'training'?"]),
        ("lanes = 3\n" + XOR, ["'lanes'", "belongs in [core]"]),
        ("core = 3\n" + XOR, ["core = 3", "must be a section"]),
        (XOR + "[training]\nsteps = 0\n", ["[training] steps = 0", "at least 1"]),
        (XOR + '[training]\nsteps = "many"\n', ["[training] steps = 'many'", "whole number"]),
        (XOR + "[training]\nsteps = true\n", ["steps = True", "whole number"]),
        (XOR + "[training]\ntarget = 1.5\n", ["target = 1.5", "at most 1"]),
        (XOR + "[training]\ntarget = nan\n", ["target = nan", "finite"]),
        (XOR + "[training]\neta_exp = 32\n", ["[training] eta_exp = 32", "at most 31 (0 to 31)"]),
        (XOR + '[training]\nmethod = "nps"\n', ["method = 'nps'", "'wp' or 'np'", "mean 'np'"]),
        (XOR + "[training]\ndelta_exp = 9\n", ["delta_exp = 9", "cost_frac"]),
        (XOR + "[training]\neta_exp = 0\ndelta_exp = 8\n", ["eta_exp = 0", "-4"]),
        (XOR + "[core]\naccumulators = 1\n", ["accumulators = 1", '"auto"']),
        (XOR + "[core]\nlanes = 1000\n", ["[core] lanes = 1000", "at most 256"]),
        (XOR + "[core]\nlanes = 3\n", ["lanes = 3", "widest layer of 2-2-1 has 2 neurons"]),
        (XOR + "[training]\ntau_theta = 4\n[core]\ntau_theta_max = 2\n", ["tau_theta = 4"]),
        (XOR + '[training]\ntau_theta = 4\nrounding = "stochastic"\n', ["residual"]),
        (XOR.replace("[2, 2, 1]", "[2, 2.5, 1]"), ["layers[1] = 2.5", "whole number"]),
        (XOR.replace("[2, 2, 1]", "5"), ["layers = 5", "a list"]),
        (XOR.replace("[2, 2, 1]", "[2]"), ["layers = [2]"]),
        (XOR.replace("[2, 2, 1]", "[2, 5000, 1]"), ["5000", "4096"]),
        (XOR.replace("[2, 2, 1]", "[2, 4096, 4096, 1]"), ["lanes = 8", "65536", "more lanes"]),
        (XOR.replace("layers = [2, 2, 1]", ""), ["[network] layers is missing", "write layers ="]),
        (XOR.replace('[data]\nsource = "xor"', ""), ["section [data] is missing"]),
        (XOR.replace('"xor"', '"xor2"'), ["source = 'xor2'", "did you mean 'xor'?", ".csv"]),
        (XOR.replace('"my-xor"', '"a/b"'), ["[task] name = 'a/b'", "folder"]),
        (XOR + "hidden = 'gelu'\n", ["hidden = 'gelu'", "tanh"]),
        (XOR + "cost = 'cross_entropy'\n", ["cross_entropy", "one output"]),
        (XOR + "target_low = 1.0\n", ["target_low"]),
        (XOR + "[numbers]\nsample_bits = 4\n", ["input_shift"]),
        (XOR.replace('"xor"', '"xor"\nvariant = "full"'), ["variant", "remove it"]),
        (XOR.replace('"xor"', '"xor"\ntest_fraction = 0.5'), ["test_fraction", "remove it"]),
        (XOR.replace('"xor"', '"xor"\nlabel_column = -1'), ["label_column", "remove it"]),
        (XOR.replace('"xor"', '"a.csv"\nlabel_column = 1.5'), ["label_column = 1.5", "-1"]),
        ("x = = 3", ["no valid TOML", "line 1"]),
    ],
)
def test_one_line_names_file_key_value_and_mend(text, parts):
    message = error_of(text)
    for part in parts:
        assert part in message


def test_further_errors_are_counted():
    assert error_of(XOR + "[training]\nsteps = 0\nseed = -1\n").endswith("(and 1 more)")


def test_unknown_name_lists_near_match_and_builtins():
    with pytest.raises(UserError, match=r"did you mean 'digits'.*parity4"):
        Task.load("digit")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"[task]\nname = '\xe9'\n")
    for path, part in (
        (tmp_path / "none.toml", "no such file"),
        (tmp_path, "folder"),
        (tmp_path / "latin.toml", "UTF-8"),
    ):
        with pytest.raises(UserError, match=part) as caught:
            Task.load(path)
        assert str(path) in str(caught.value)


def test_examples_are_commented_and_complete():
    text = (ROOT / "examples" / "digits.toml").read_text()
    assert set(tomllib.loads(text)) == {"task", "data", "network", "numbers", "training", "core"}
    assert text.count("#") > 20


@pytest.mark.parametrize(
    ("inputs", "rate"), [(1, 8), (32, 8), (33, 9), (64, 9), (65, 10), (784, 12), (4000, 12)]
)
def test_rate_of_a_table_follows_its_inputs(tmp_path, inputs, rate):
    text = XOR.replace('"xor"', '"a.csv"').replace("[2, 2, 1]", f"[{inputs}, 2, 1]")
    for method, more in (("np", 0), ("wp", 4)):
        task = Task.parse(text, "my.toml", tmp_path).with_overrides(method=method)
        assert task.spec.settings.eta_exp == rate + more
