"""Variants that only the golden model has: trained there, refused in one line by all else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mgd.golden_model.costs import COSTS
from mgd.golden_model.declaration import declarations
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import ACTIVATIONS, Network
from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.samples.order import ORDERS
from mgd.golden_model.settings import BUILD, METHODS, REGISTER, Settings
from mgd.host.task.task import Task
from mgd.protocol.build_options import FIELDS, BuildOptions
from mgd.protocol.capabilities import CHOICES, check_core, missing
from mgd.protocol.identity import Identity
from mgd.protocol.registers import settings_in_registers
from mgd.rtl.core_kinds import config_for
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.perturbations import FAMILIES
from mgd.rtl.units.activations import KINDS
from mgd.rtl.units.costs import UNITS
from mgd.scripts.cli import main
from mgd.scripts.commands.verify_netlist import runs
from tests.support.simulation import XOR_TOML

TOML = f"""{XOR_TOML}[training]
steps = 40
eval_every = 20
"""
KEYS = [
    ('optimizer = "adam"', "optimizer = 'adam'"),
]
BUILT = [
    ("momentum_exp = 3\neta_exp = 7", "momentum_exp = 3"),
    ("decay_exp = 10", "decay_exp = 10"),
    ('difference = "highpass"', "difference = 'highpass'"),
    ("skip_zeros = true", "skip_zeros = true"),
    ('accumulate = "nodes"', "accumulate = 'nodes'"),
]
"""What a folded core can be built for."""
COMMANDS = [
    ["train"],
    ["train", "--backend", "/dev/ttyUSB7"],
    ["verify"],
    ["build", "--board", "icebreaker"],
    ["fit"],
    ["selftest", "--port", "sim"],
    ["bench", "sim", "--task"],
    ["bench", "peers", "--task"],
]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str):
    return CliRunner().invoke(main, args)


@pytest.mark.parametrize(("key", "shown"), KEYS)
def test_the_golden_model_trains_and_a_board_refuses(here, key, shown):
    (here / "my.toml").write_text(TOML + key + "\n")
    done = run("train", "my.toml", "--backend", "golden", "--out", "out")
    assert done.exit_code == 0, done.output
    settings = json.loads((here / "out" / "run.json").read_text())["settings"]
    name, value = shown.split(" = ")
    assert str(settings[name]).lower() == value.strip("'")
    refused = run("train", "my.toml")
    assert refused.exit_code == 2
    assert refused.output.count("\n") == 1
    assert f"my.toml: {shown}: no core has it yet" in refused.output
    assert "--backend golden" in refused.output


def test_every_network_has_a_core():
    for activation in ACTIVATIONS:
        for cost in COSTS:
            network = Network((2, 2, 2), activation, activation, cost, sample_bits=2)
            check_core(network, Settings())
    smoothed = Network((2, 2, 2), cost="cross_entropy", smoothing_exp=4)
    check_core(smoothed, Settings())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_that_needs_a_core_refuses(here, command):
    (here / "my.toml").write_text(TOML + 'optimizer = "adam"\n')
    done = run(*command, "my.toml")
    assert done.exit_code == 2, done.output
    assert done.output.count("\n") == 1
    assert "optimizer = 'adam'" in done.output
    assert [p.name for p in here.iterdir()] == ["my.toml"]


def test_what_a_core_has():
    network = Network((2, 2, 1))
    check_core(network, Settings("wp", "forward", delta_exp=3, tau_x=7, tau_p=2, input_shift=14))
    names = [name for name, known in declarations(Settings).items() if known.place is REGISTER]
    assert set(names) == set(settings_in_registers())
    names = [name for name, known in declarations(Settings).items() if known.place is BUILD]
    assert set(names) == {field.name for field in FIELDS} - {"difference"}
    check_core(network, Settings(halve_every=3, warmup_exp=4, warmup_every=7))
    check_core(network, Settings(scope="layer", trainable=(False, True)))
    adam = Settings(rounding="residual", gate_zeros=True, optimizer="adam")
    assert missing(network, adam) == [("optimizer", "adam")]
    with pytest.raises(UserError, match="optimizer = 'adam': no core"):
        check_core(network, adam)


def test_every_choice_has_gates():
    assert set(CHOICES["method"]) == set(METHODS)
    assert set(CHOICES["hidden"]) == set(CHOICES["output"]) == set(KINDS)
    assert set(CHOICES["cost"]) == set(UNITS)
    assert set(CHOICES["perturbation"]) == {"random", *FAMILIES}


VARIANTS = [
    BuildOptions(),
    BuildOptions(scope="layer"),
    BuildOptions(trainable=(True, False)),
    BuildOptions("layer", (False, True)),
    *(BuildOptions(perturbation=name) for name in FAMILIES),
    *(BuildOptions(sample_order=name) for name in ORDERS),
    BuildOptions("layer", (True, False), sample_order="epoch"),
    BuildOptions("network", (False, True), "sequential"),
    BuildOptions(gate_zeros=True),
    BuildOptions("layer", (False, True), gate_zeros=True),
    BuildOptions(skip_zeros=True),
    BuildOptions("layer", (False, True), gate_zeros=True, skip_zeros=True),
    BuildOptions(momentum_exp=3),
    BuildOptions(decay_exp=10),
    BuildOptions("layer", (False, True), momentum_exp=16, decay_exp=31),
    BuildOptions(difference="highpass", highpass_exp=1),
    BuildOptions(difference="highpass", highpass_exp=16),
    BuildOptions("network", (False, True), "walsh", "random", 2, 9, "highpass", 2),
]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_board_tells_what_it_was_built_for(variant):
    network = Network((2, 2, 1), accumulators=True)
    words = Identity.of(network, 1, 9, 10, 1, options=variant.word()).words()
    told = Identity.from_words(words)
    assert told.accumulators
    assert BuildOptions.from_word(told.options, network.depth) == variant
    for other in VARIANTS:
        fields = {field.name: getattr(other, field.name) for field in FIELDS}
        if not other.continuous:
            fields |= {"difference": "forward", "highpass_exp": 7}
        settings = Settings(rounding="residual", **fields)
        assert BuildOptions.of(settings) == other
        if other == variant:
            variant.check(settings)
            continue
        with pytest.raises(UserError, match="this core was built for") as caught:
            variant.check(settings)
        assert "\n" not in str(caught.value)


def test_what_no_board_can_be():
    with pytest.raises(UserError, match="perturbation = 'sequential' with scope = 'layer'"):
        check_core(Network((2, 2, 1)), Settings(perturbation="sequential", scope="layer"))
    with pytest.raises(UserError, match="perturbation = 'sine' on a core without accumulators"):
        CoreConfig(Network((2, 2, 1)), 1, variant=BuildOptions(perturbation="sine"))
    with pytest.raises(UserError, match="perturbation number 7, this program knows"):
        BuildOptions.from_word(7 << 4, 2)
    with pytest.raises(UserError, match=r"this program does not know \(bits 0x100000000\)"):
        BuildOptions.from_word(1 << 32 | 1 << 1, 2)
    assert {"random", *FAMILIES} == set(PERTURBATIONS)  # of the golden model


@pytest.mark.parametrize(("key", "shown"), BUILT)
def test_what_a_folded_core_has(here, key, shown):
    """A task file is enough; what cannot go together with it is refused."""
    (here / "my.toml").write_text(TOML + key + "\n")
    task = Task.load("my.toml")
    assert missing(task.spec.network, task.spec.settings) == []
    config = config_for(task.core_layout())
    for settings, _ in runs(task, 9):
        config.variant.check(settings)
    assert BuildOptions.from_word(config.variant.word(), 2) == config.variant != BuildOptions()
    for options, part in (
        (["--core", "spatial"], f"{shown} with core = 'spatial'"),
        (["--fix", "method"], f"fixed = method with {shown}"),
    ):
        done = run("verify", "my.toml", *options)
        assert done.exit_code == 2, done.output
        assert done.output.count("\n") == 1
        assert part in done.output
    if config.network.accumulators:
        with pytest.raises(UserError, match=f"{shown} without accumulators"):
            CoreConfig(Network((2, 2, 1)), 1, variant=config.variant)


def test_the_mask_of_a_variant():
    assert BuildOptions.of(Settings(trainable=(True, True))) == BuildOptions()
    assert BuildOptions(trainable=(False, True)).layers(Network((2, 2, 1))) == [1]
    deep = Network((1,) * 10)
    assert BuildOptions().layers(deep) == list(range(9))
    with pytest.raises(
        UserError, match="trainable with 9 layers of weights: the identity record can mark 8"
    ):
        BuildOptions(trainable=(False,) + (True,) * 8).layers(deep)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"halve_every": 9}, "halve_every = 9: with shift_max = 32 the learning rate may be 2^-39"),
        ({"warmup_exp": 12}, "warmup_exp = 12: with shift_max = 32 the learning rate may be 2^-32"),
    ],
)
def test_a_rate_below_the_register(fields, part):
    network = Network((2, 2, 1), shift_max=32)
    settings = Settings(delta_exp=8, eta_exp=20, **fields)
    settings.check(network)
    with pytest.raises(UserError) as caught:
        check_core(network, settings)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_default_that_is_written_out_changes_no_digest():
    plain = Task.parse(TOML, "my.toml", Path())
    same = Task.parse(TOML + 'perturbation = "random"\nscope = "network"\n', "my.toml", Path())
    other = Task.parse(TOML + 'perturbation = "square"\n', "my.toml", Path())
    assert plain.config_digest() == same.config_digest() != other.config_digest()


def test_accumulators_are_made_wide_enough():
    for key in ['optimizer = "adam"', *(key for key, _ in BUILT)]:
        text = TOML + key + "\ntau_x = 5\ntau_theta = 5\n"
        task = Task.parse(text, "my.toml", Path())
        task.spec.settings.check(task.spec.network)
    sine = Task.parse(TOML + 'perturbation = "sine"\ntau_theta = 5\n', "my.toml", Path())
    assert sine.spec.network.tau_theta_max == 40


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ('perturbation = "wlsh"', ["[training] perturbation = 'wlsh'", "did you mean 'walsh'?"]),
        ("trainable = [true]", ["trainable = [true]: 1 flags", "2 layers"]),
        ("norm = 0.1\ndelta_exp = 5", ["norm = 0.1 beside delta_exp", "give one"]),
        ("norm = 9.0", ["norm = 9 over 9 quantities", "change norm"]),
        ("trainable = [1, 0]", ["trainable[0] = 1", "true or false"]),
    ],
)
def test_mistakes(keys, parts):
    with pytest.raises(UserError) as caught:
        Task.parse(TOML + keys + "\n", "my.toml", Path())
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("my.toml: ")
    assert message.count("my.toml") == 1
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("keys", "delta_exp"),
    [
        ('method = "wp"', 4),  # 0.2/√9 = 0.067
        ("", 3),  # 0.2/√3 = 0.115
        ('perturbation = "sequential"', 2),  # 0.2 itself
        ('method = "wp"\nscope = "layer"', 4),  # 6 parameters: 0.082
        ('method = "wp"\ntrainable = [false, true]', 3),  # 3 parameters
    ],
)
def test_norm(keys, delta_exp):
    task = Task.parse(TOML + keys + "\nnorm = 0.2\n", "my.toml", Path())
    assert task.spec.settings.delta_exp == delta_exp
