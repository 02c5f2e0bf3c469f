"""The resident window: its order beside a loop that fills slots, and what is refused."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.samples.order import SampleOrder
from mgd.golden_model.samples.window import SampleWindow
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from tests.golden_model.test_family import ENTROPY, SEEDS, same_run
from tests.golden_model.test_trainer import make

WINDOWS = [(1, 1), (6, 1), (6, 2), (6, 3), (6, 6), (4, 4), (12, 3)]
SAMPLES = 13


def filled(resident: int, passes: int, takes: int) -> list[int]:
    """What `takes` takes use: slots that are filled, gone through, and changed."""
    fresh = itertools.count()
    slots: dict[int, int] = {}
    for turn in range(passes):
        slots |= {slot: next(fresh) for slot in range(turn, resident, passes)}
    used: list[int] = []
    for whole in itertools.count():
        used += [slots[slot] for slot in range(resident)]
        if len(used) >= takes:
            return used[:takes]
        for slot in range(whole % passes, resident, passes):
            slots[slot] = next(fresh)
    raise AssertionError


@pytest.mark.parametrize(("resident", "passes"), WINDOWS)
def test_places_equal_a_loop_over_slots(resident, passes):
    takes = 5 * resident * passes + 7
    wanted = [place % SAMPLES for place in filled(resident, passes, takes)]
    window = SampleWindow(resident, passes)
    assert window.places(np.arange(takes), SAMPLES).tolist() == wanted
    order = SampleOrder("cycle", Network((3, 2)), [start_state(1)], SAMPLES, window)
    assert [order.take() for _ in range(takes)] == wanted
    for skipped in (0, 1, resident, takes - 3):
        order = SampleOrder("cycle", Network((3, 2)), [start_state(1)], SAMPLES, window)
        order.skip(skipped)
        assert [order.take() for _ in range(3)] == wanted[skipped : skipped + 3]


@pytest.mark.parametrize(("resident", "passes"), WINDOWS)
def test_what_a_window_promises(resident, passes):
    """A sample stays for `passes` passes, but for the first ones, and all have their turn."""
    used = filled(resident, passes, 8 * resident * passes)
    counts = Counter(used)
    last = max(used) - 2 * resident
    assert all(counts[place] == passes for place in range(resident, last))
    assert [counts[place] for place in range(resident)] == [
        1 + place // (resident // passes) for place in range(resident)
    ]
    if passes == 1:
        assert used == list(range(len(used)))


@pytest.mark.parametrize(
    "plan",
    [
        {"method": "np", "eta_exp": 4, "resident": 2, "passes": 2},
        {"method": "np", "eta_exp": 4, "resident": 3, "passes": 1},
        {"method": "wp", "difference": "forward", "tau_x": 3, "eta_exp": 6, "resident": 4,
         "passes": 2},
        {"method": "np", "difference": "highpass", "eta_exp": 6, "tau_x": 2, "resident": 3,
         "passes": 3},
    ],
)  # fmt: skip
def test_a_run_equals_the_written_out_rules(plan):
    same_run(ENTROPY, Settings(input_shift=6, **plan))


def test_one_pass_is_a_set_that_is_there_as_a_whole():
    runs = []
    for window in ({}, {"resident": 3}):
        settings = Settings(input_shift=6, eta_exp=4, **window)
        codes, labels, weights, orders = make(ENTROPY, settings, SEEDS)
        runs.append(Trainer(ENTROPY, settings, codes, labels, weights, SEEDS, orders))
        runs[-1].train(30)
    for a, b in zip(runs[0].weights, runs[1].weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"passes": 0, "resident": 4}, ["passes = 0", "between 1 and"]),
        ({"resident": -1}, ["resident = -1", "between 0 and"]),
        ({"resident": 1 << 24}, ["resident = 16777216", "between 0 and 16777215"]),
        ({"passes": 2}, ["passes = 2 without resident", "tau_x"]),
        ({"resident": 10, "passes": 4}, ["resident = 10 with passes = 4", "use resident = 8"]),
        ({"resident": 3, "passes": 4}, ["resident = 3 with passes = 4", "use resident = 4"]),
        (
            {"resident": 4, "sample_order": "epoch"},
            ["resident = 4 with sample_order = 'epoch'", "'cycle'"],
        ),
    ],
)
def test_refused(fields, words):
    with pytest.raises(UserError) as error:
        Settings(**fields)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_a_set_smaller_than_the_window_is_refused():
    codes = np.zeros((5, 4), dtype=np.int64)
    settings = Settings(resident=6, input_shift=6)
    with pytest.raises(UserError, match="resident = 6, but the training set has only 5") as error:
        Trainer(ENTROPY, settings, codes, np.zeros(5), [], [1])
    assert "\n" not in str(error.value)
