"""Clock plans of the PLLs against the data sheets, and against an exhaustive search."""

from __future__ import annotations

from fractions import Fraction

import pytest
from amaranth import Signal

from mgd.boards.devices import ECP5, GOWIN, ICE40
from mgd.boards.families.pll import ClockPlan
from mgd.golden_model.errors import UserError

INPUTS = {ICE40: 12_000_000, ECP5: 25_000_000, GOWIN: 27_000_000}
WANTED = (24e6, 31.7e6, 40e6, 48e6, 61.3e6, 83.1e6, 100e6, 118.9e6, 140e6)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("family", list(INPUTS), ids=lambda family: family.name)
def test_plan_keeps_the_data_sheet(family, wanted):
    plan = family.pll.search(INPUTS[family], wanted)
    phase = INPUTS[family] / plan.divide
    vco = phase * plan.multiply * plan.feedback
    assert vco / plan.post == pytest.approx(float(plan.output_hz))
    assert plan.output_hz <= wanted
    # The numbers of the data sheets, not those of the code under test.
    low, high = {ICE40: (533e6, 1066e6), ECP5: (400e6, 800e6), GOWIN: (400e6, 1200e6)}[family]
    assert low <= vco <= high
    assert phase >= (3e6 if family is GOWIN else 10e6)
    if family is ICE40:
        assert 1 <= plan.divide <= 16
        assert 1 <= plan.multiply <= 128
        assert plan.post in (2, 4, 8, 16, 32, 64)
        assert plan.feedback == 1
    elif family is ECP5:
        assert max(plan.divide, plan.multiply, plan.feedback, plan.post) <= 128
        assert 3.125e6 <= vco / plan.feedback <= 400e6
    else:
        assert plan.post in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
        assert max(plan.divide, plan.multiply) <= 64
        assert plan.feedback == plan.post


@pytest.mark.parametrize("wanted", [25_300_000, 40_000_000, 47_990_000])
def test_ice40_plan_is_the_best_there_is(wanted):
    """All dividers tried, by a loop that shares nothing with the search."""
    best = Fraction(0)
    for divide in range(1, 17):
        phase = Fraction(12_000_000, divide)
        if not 10_000_000 <= phase <= 133_000_000:
            continue
        for multiply in range(1, 129):
            if not 533_000_000 <= phase * multiply <= 1_066_000_000:
                continue
            for exponent in range(1, 7):
                output = phase * multiply / (1 << exponent)
                if 16_000_000 <= output <= min(wanted, 275_000_000):
                    best = max(best, output)
    assert ICE40.pll.search(12_000_000, wanted).output_hz == best


def test_ecp5_plan_is_the_best_there_is():
    """The output used is any VCO frequency over any whole number."""
    wanted = 118_700_000
    best = max(
        Fraction(25_000_000, divide) * vco / post
        for divide in (1, 2)
        for vco in range(1, 129)
        if 400_000_000 <= Fraction(25_000_000, divide) * vco <= 800_000_000
        for post in range(1, 129)
        if Fraction(25_000_000, divide) * vco / post <= wanted
    )
    assert ECP5.pll.search(25_000_000, wanted).output_hz == best


def test_refused_in_one_line():
    with pytest.raises(UserError, match=r"5 MHz: its input must be 10 to 133"):
        ICE40.pll.search(5_000_000, 40e6)
    with pytest.raises(UserError, match=r"no PLL setting gives 10\.000 MHz"):
        ICE40.pll.search(12_000_000, 10e6)


def test_never_above_what_the_pll_gives():
    assert ICE40.pll.search(12_000_000, 10e9).output_hz <= 275_000_000


@pytest.mark.parametrize(("phase", "expected"), [(12, 1), (24, 2), (27, 3), (50, 4), (75, 5)])
def test_ice40_filter_range(phase, expected):
    """Ranges of the phase detector's frequency: below 17, 26, 44, 66, 101 MHz."""
    plan = ClockPlan(phase * 1_000_000, 1, 800 // phase, 1, 16)
    cell = ICE40.pll.instance(plan, Signal(), Signal(), Signal(), None)
    assert cell.parameters["FILTER_RANGE"].value == expected
    assert cell.parameters["DIVF"].value == 800 // phase - 1
    assert cell.parameters["DIVQ"].value == 4
