"""Settings that are constants in a core: its identity record, and the refusals of others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from mgd.api.backends import open_session, sample_words
from mgd.boards.devices import DEVICES
from mgd.boards.estimate.blocks import other_memories, shared_products
from mgd.boards.estimate.fit import assess
from mgd.boards.registry import find_board
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings
from mgd.host.task.task import Task
from mgd.protocol.fixed_settings import FIXABLE, fixed_settings
from mgd.protocol.identity import Identity
from mgd.rtl.core_kinds import config_for
from mgd.rtl.folded.config import CoreConfig
from mgd.scripts.cli import main
from tests.support import simulation  # noqa: F401  sets the cache

NETWORK = Network((7, 13, 3), cost="cross_entropy", sample_bits=5)
SETTINGS = Settings(difference="forward", eta_exp=6, tau_x=300, input_shift=3)


def test_the_identity_says_what_is_fixed():
    for names in ((), ("method",), ("difference", "tau_x"), FIXABLE):
        config = CoreConfig(NETWORK, 3, fixed=fixed_settings(SETTINGS, names))
        identity = Identity.of(NETWORK, 3, config.lane_words, 64, 1, config.constant_words)
        told = Identity.from_words(identity.words())
        assert CoreConfig.of_identity(NETWORK, told) == config
        assert len(told.constants) == (len(FIXABLE) if names else 0)


def test_a_core_has_what_is_not_fixed():
    plain = CoreConfig(NETWORK, 3)
    assert plain.methods == ("wp", "np")
    assert not plain.nodes_only
    assert not plain.weights_only
    assert plain.longest("tau_x", 99) == 99
    fixed = CoreConfig(NETWORK, 3, fixed=fixed_settings(SETTINGS, ("method", "tau_x")))
    assert fixed.methods == ("np",)
    assert fixed.nodes_only
    assert fixed.longest("tau_x", 99) == 300
    assert fixed.out_bits < plain.out_bits == NETWORK.acc_bits
    assert fixed.sign_sum_bits == 1


@pytest.mark.parametrize(
    ("name", "value", "built"),
    [("method", "wp", "np"), ("difference", "antithetic", "forward"), ("tau_x", 1, 300)],
)
def test_other_settings_are_refused(name, value, built):
    config = CoreConfig(NETWORK, 3, fixed=fixed_settings(SETTINGS, (name,)))
    config.check(SETTINGS)
    others = Settings(**{"difference": "forward", "tau_x": 300, name: value})
    with pytest.raises(UserError, match=f"^{name} = {value!r}: this core was built for {built!r}"):
        config.check(others)
    CoreConfig(NETWORK, 3, fixed=fixed_settings(SETTINGS, ("eta_exp",))).check(SETTINGS)


@pytest.mark.parametrize(
    ("fixed", "text"),
    [
        ((("tau_x", 40_000),), "tau_x = 40000 is to be fixed: at most 32,767"),
        ((("difference", "highpass"),), "difference = 'highpass' is to be fixed: no core has it"),
        ((("lanes", 3),), "fixed = 'lanes': it cannot be fixed .*; give each of method"),
        (
            (("method", "np"), ("method", "wp")),
            "fixed = 'method': .* stands there twice; give each",
        ),
    ],
)
def test_what_cannot_be_fixed(fixed, text):
    with pytest.raises(UserError, match=text):
        CoreConfig(NETWORK, 3, fixed=fixed)


def test_weights_alone_take_no_product_and_fewer_memories():
    device = DEVICES["iCE40UP5K"]
    plain = CoreConfig(NETWORK, 3)
    fixed = CoreConfig(NETWORK, 3, fixed=(("method", "wp"),))
    assert len(shared_products(fixed)) == len(shared_products(plain)) - 1
    assert other_memories(device, fixed) != other_memories(device, plain)


def test_fewer_cells_are_estimated():
    board, task = find_board("icebreaker"), Task.load("digits")
    plain, words = CoreConfig(task.spec.network, 8), sample_words(task)
    fixed = replace(plain, fixed=fixed_settings(task.spec.settings, ("method", "difference")))
    assert assess(board, fixed, words).cells.used < assess(board, plain, words).cells.used


def test_a_task_names_what_is_fixed():
    task = Task.load("xor").with_overrides(fixed=["difference", "method"])
    assert task.fixed == (("method", "np"), ("difference", "antithetic"))
    config = config_for(task.with_overrides(method="wp").core_layout())
    assert isinstance(config, CoreConfig)
    assert config.methods == ("wp",)
    with pytest.raises(UserError, match=r"fixed.*methd.*did you mean 'method'"):
        Task.load("xor").with_overrides(fixed=["methd"])


def test_the_command_line_refuses_an_unknown_name():
    result = CliRunner().invoke(main, ["verify", "xor", "--fix", "methods"])
    assert result.exit_code != 0
    assert "method" in result.output
    assert "Traceback" not in result.output


def test_a_run_goes_on_where_a_fixed_period_begins():
    """A period that is under way cannot be shortened there, as the host does with a register."""
    task = Task.load("xor").with_overrides(fixed=["tau_x"], tau_x=4)
    with open_session(task, "sim") as session:
        session.load_samples(*task.datasets())
        session.start(task.spec.settings, 1)
        session.train(8)
        whole = session.read_state()
        session.train(10)
        within, weights = session.read_state(), session.read_weights()
        with pytest.raises(UserError, match="step 10 lies 2 steps into a period of tau_x = 4"):
            session.restore(task.spec.settings, 1, within)
        session.restore(task.spec.settings, 1, whole)
        session.train(10)
        for got, wanted in zip(session.read_weights(), weights, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_the_host_refuses_what_the_board_was_not_built_for():
    task = Task.load("xor").with_overrides(fixed=["method", "difference"])
    with open_session(task, "sim") as session:
        session.load_samples(*task.datasets())
        with pytest.raises(UserError, match="method = 'wp': this core was built for 'np'"):
            session.start(task.with_overrides(method="wp").spec.settings, 1)
        session.start(task.spec.settings, 1)
        session.train(3)
        assert session.counters().step == 3
