"""PLL settings against the limits of the data sheets, and against an exhaustive search."""

from __future__ import annotations

from fractions import Fraction

import pytest
from amaranth import Signal

from mgd.boards.devices import ECP5, GOWIN, ICE40
from mgd.boards.flow import pll
from mgd.golden_model.errors import UserError

INPUTS = {ICE40: 12_000_000, ECP5: 25_000_000, GOWIN: 27_000_000}
WANTED = (24e6, 31.7e6, 40e6, 48e6, 61.3e6, 83.1e6, 100e6, 118.9e6, 140e6)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("family", list(INPUTS))
def test_setting_keeps_the_data_sheet(family, wanted):
    setting = pll.search(family, INPUTS[family], wanted)
    phase = INPUTS[family] / setting.divide
    vco = phase * setting.multiply * setting.feedback
    assert vco / setting.post == pytest.approx(float(setting.output_hz))
    assert setting.output_hz <= wanted
    # The numbers of the data sheets, not those of the code under test.
    low, high = {ICE40: (533e6, 1066e6), ECP5: (400e6, 800e6), GOWIN: (400e6, 1200e6)}[family]
    assert low <= vco <= high
    assert phase >= (3e6 if family == GOWIN else 10e6)
    if family == ICE40:
        assert 1 <= setting.divide <= 16
        assert 1 <= setting.multiply <= 128
        assert setting.post in (2, 4, 8, 16, 32, 64)
        assert setting.feedback == 1
    elif family == ECP5:
        assert max(setting.divide, setting.multiply, setting.feedback, setting.post) <= 128
        assert 3.125e6 <= vco / setting.feedback <= 400e6
    else:
        assert setting.post in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
        assert max(setting.divide, setting.multiply) <= 64
        assert setting.feedback == setting.post


@pytest.mark.parametrize("wanted", [25_300_000, 40_000_000, 47_990_000])
def test_ice40_setting_is_the_best_there_is(wanted):
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
    assert pll.search(ICE40, 12_000_000, wanted).output_hz == best


def test_ecp5_setting_is_the_best_there_is():
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
    assert pll.search(ECP5, 25_000_000, wanted).output_hz == best


def test_refused_in_one_line():
    with pytest.raises(UserError, match=r"5 MHz: its input must be 10 to 133"):
        pll.search(ICE40, 5_000_000, 40e6)
    with pytest.raises(UserError, match=r"no PLL setting gives 10\.000 MHz"):
        pll.search(ICE40, 12_000_000, 10e6)


def test_never_above_what_the_pll_gives():
    assert pll.search(ICE40, 12_000_000, 10e9).output_hz <= 275_000_000


@pytest.mark.parametrize(("phase", "expected"), [(12, 1), (24, 2), (27, 3), (50, 4), (75, 5)])
def test_ice40_filter_range(phase, expected):
    """Ranges of the phase detector's frequency: below 17, 26, 44, 66, 101 MHz."""
    setting = pll.Setting(ICE40, phase * 1_000_000, 1, 800 // phase, 1, 16)
    cell = pll.instance(setting, Signal(), Signal(), Signal(), "")
    assert cell.parameters["FILTER_RANGE"].value == expected
    assert cell.parameters["DIVF"].value == 800 // phase - 1
    assert cell.parameters["DIVQ"].value == 4
