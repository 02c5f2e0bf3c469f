"""nextpnr's report and Yosys' statistics, as real runs wrote them, and what is made of them."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest

from mgd.boards.devices import ECP5, ICE40
from mgd.boards.flash.dfu import with_suffix
from mgd.boards.flow.build_report import over_full, read_cells, read_report, summary, with_speed
from mgd.golden_model.errors import UserError

DATA = Path(__file__).parent / "data"
"""Reports of XOR on an iCEBreaker and on a ULX3S, without their lists of paths."""


def test_ice40_report():
    routed = read_report(DATA / "nextpnr_ice40.json", ICE40, {"SB_DFFESR": 40, "SB_DFF": 2})
    assert 10 < routed.fmax_mhz < 100
    assert routed.resources["lut"]["available"] == 5280
    assert routed.resources["dsp"]["available"] == 8
    assert routed.resources["spram"]["available"] == 4
    # nextpnr does not count them: they share a cell with a LUT.
    assert routed.resources["ff"] == {"used": 42, "available": 5280}


def test_ecp5_report():
    path = DATA / "nextpnr_ecp5.json"
    routed = read_report(path, ECP5, {})
    said = json.loads(path.read_text())
    (clock,) = said["fmax"].values()
    assert (routed.fmax_mhz, routed.constraint_mhz) == (clock["achieved"], clock["constraint"])
    assert routed.met == (clock["achieved"] >= clock["constraint"])
    assert routed.resources["lut"] == said["utilization"]["TRELLIS_COMB"]
    assert routed.resources["ff"] == said["utilization"]["TRELLIS_FF"]
    assert routed.resources["ram"] == said["utilization"]["DP16KD"]
    assert routed.resources["dsp"] == said["utilization"]["MULT18X18D"]


def test_the_worst_clock_counts(tmp_path):
    report = json.loads((DATA / "nextpnr_ecp5.json").read_text())
    report["fmax"] = {
        "fast": {"achieved": 200.0, "constraint": 190.0},
        "slow": {"achieved": 24.0, "constraint": 25.0},
    }
    (tmp_path / "r.json").write_text(json.dumps(report))
    routed = read_report(tmp_path / "r.json", ECP5, {})
    assert (routed.fmax_mhz, routed.met) == (24.0, False)


@pytest.mark.parametrize("text", ["", '{"fmax": {', '{"utilization": {}}', '{"fmax": {}}'])
def test_report_cut_off(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(UserError, match="no clock or is cut off"):
        read_report(tmp_path / "r.json", ECP5, {})


def test_cells(tmp_path):
    (tmp_path / "c.json").write_text('{"design": {"num_cells_by_type": {"LUT4": 7}}}')
    assert read_cells(tmp_path / "c.json") == {"LUT4": 7}


def test_what_there_is_too_much_of():
    log = (
        "Info: Device utilisation:\n"
        "Info: \t         ICESTORM_LC:    5516/   5280   104%\n"
        "Info: \t        ICESTORM_RAM:      12/     30    40%\n"
        "Info: \t        ICESTORM_DSP:       9/      8   112%\n"
        "ERROR: Unable to place cell\n"
    )
    assert over_full(log, ICE40) == [("logic cells", 5516, 5280), ("DSP blocks", 9, 8)]


def test_speed_at_both_clocks():
    report = with_speed({"core_hz": 40_000_000, "fmax_mhz": 42.0}, 400.0)
    assert report["steps_per_second"] == 100_000.0
    assert report["steps_per_second_at_fmax"] == 105_000.0
    unknown = with_speed({"core_hz": 40_000_000, "fmax_mhz": 42.0}, None)
    assert unknown["steps_per_second"] is None


def test_summary_says_that_timing_failed():
    report = {
        "network": "2-2-1", "lanes": 2, "board": "icebreaker", "device": "iCE40UP5K",
        "core_hz": 40_000_000, "fmax_mhz": 38.5, "timing_met": False, "seed": 2,
        "fmax_holds": True, "resources": {"lut": {"used": 5000, "available": 5280}},
        "baud": 3_000_000, "serial": "USB", "sample_memory": 16, "bitstream_bytes": 104_090,
        "digest": "ab" * 32, "flash": "load {bitstream}",
    }  # fmt: skip
    text = summary(with_speed(report, 100.0))
    assert "40.00 MHz; the slowest path allows 38.50 MHz, timing FAILED, and allowed" in text
    assert "LUT 5,000 of 5,280" in text
    assert "100.0 clocks per step, 400,000 steps/s" in text
    assert "nothing" not in text
    assert "nothing" in summary({**report, "fmax_holds": False})


def test_dfu_suffix():
    whole = with_suffix(b"bitstream", 0x1209, 0x5AF0)
    assert whole.startswith(b"bitstream")
    release, product, vendor, standard = struct.unpack("<HHHH", whole[9:17])
    assert (release, product, vendor, standard) == (0xFFFF, 0x5AF0, 0x1209, 0x0100)
    assert whole[17:21] == b"UFD\x10"
    # The CRC of a message followed by its own (not inverted) CRC is always this one.
    assert zlib.crc32(whole) ^ 0xFFFFFFFF == 0
