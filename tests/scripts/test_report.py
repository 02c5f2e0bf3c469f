"""`mgd report`: the page says what the run says, and looks right in a browser."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from mgd.boards.flow.build_report import with_speed
from mgd.host.report import weight_pictures as pictures
from mgd.host.report.page import backend_text, report_html
from mgd.host.report.png import png
from mgd.host.report.svg_plot import Curve, plot, short, thinned, ticks
from mgd.host.runs.stored import read_run
from tests.support.paths import ROOT
from tests.support.simulation import WAIT_SECONDS, mgd, refused

pytestmark = pytest.mark.xdist_group("report")

BROWSER = ROOT / "tests" / "support" / "browser.py"
SCHEMES = ("dark", "light")
"""In the order of Blink's numbers for them."""
LIBRARIES = (
    "sudo apt-get install libasound2 libdbus-1-3 libegl1 libfontconfig1 libgbm1 libgl1 "
    "libglib2.0-0 libgssapi-krb5-2 libnss3 libxcomposite1 libxdamage1 libxfixes3 libxkbcommon0 "
    "libxkbfile1 libxrandr2 libxtst6"
)
"""What Debian 12 and Ubuntu 22.04 without a desktop lack."""
BUILD = with_speed(
    {
        "network": "64-32-10", "lanes": 8, "board": "icebreaker", "device": "iCE40 UP5K",
        "core_hz": 32_625_000, "fmax_mhz": 35.22, "timing_met": True, "fmax_holds": True,
        "resources": {
            "lut": {"used": 5032, "available": 5280}, "dsp": {"used": 8, "available": 8},
        },
    },
    427.1,
)  # fmt: skip
LONG_NAME = "a_class_whose_name_is_longer_than_any_screen_of_a_telephone_is_wide_" * 2
MARKUP = "<script>alert('x')</script>&amp;"


def train(folder: Path, *arguments: object) -> Path:
    done = mgd("train", *arguments, "--backend", "golden", "--out", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A run of digits; what a page must not trust or cannot lay out easily is put into it."""
    folder = train(tmp_path_factory.mktemp("digits"), "digits", "--steps", 4000)
    values = json.loads((folder / "run.json").read_text())
    values["class_names"][3:5] = [LONG_NAME, MARKUP]
    values["notes"] = [f"a note with {MARKUP}"]
    values |= {"clocks_per_step": 427.125, "train_clocks": 1_708_500, "clocks": 2_000_001}
    values["saturations"] = {"weights": 1234, "activations": 56_789}
    values |= {"link_errors": 42, "link_repeats": 43, "board_losses": 2}
    values |= {"wait_clocks": 569_500, "wait_share": 0.25, "bound_by": "link"}
    (folder / "run.json").write_text(json.dumps(values))
    build = folder.parent / "build"
    build.mkdir()
    (build / "report.json").write_text(json.dumps(BUILD))
    done = mgd("report", "run", "--build", "build", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "written    run/report.html\n"
    return folder


@pytest.fixture(scope="module")
def page(digits) -> str:
    return (digits / "report.html").read_text(encoding="utf-8")


# -- what it says ---------------------------------------------------------------------------

VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """Checks that elements are closed in order; collects tables, text and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_the_page_says_what_the_run_says(digits, page):
    values = json.loads((digits / "run.json").read_text())
    outline = Outline(page)
    facts = {row[0]: row[1] for row in outline.rows if len(row) == 2}
    assert facts["clocks per step"] == "427.1"
    assert facts["clocks of training"] == "1,708,500"
    assert facts["waited for samples"] == "569,500 clocks, 25.0 %, bound by the link"
    assert facts["clocks in all"] == "2,000,001"
    assert facts["LUT"] == "5,032 of 5,280"
    assert facts["DSP"] == "8 of 8"
    assert facts["steps per second at this clock"] == f"{32_625_000 / 427.125:,.0f}"
    assert facts["slowest path allows"] == "35.22 MHz, timing met"
    assert facts["weight updates that met the end of the range"] == "1,234"
    assert facts["activations that met the end of the range"] == "56,789"
    assert facts["frames damaged on the link"] == "42"
    assert facts["requests sent again"] == "43"
    assert facts["times that the board lost the run"] == "2"
    assert facts["method"] == "node perturbation"
    assert facts["perturbation δ"] == "2^-5"
    assert facts["learning rate over tau_theta"] == "2^-9"
    assert facts["cost"] == "cross-entropy (base 2)"
    assert facts["weights"] == "16 bits, 12 of them fraction"
    assert facts["host"].startswith(values["machine"]["cpu"])
    title = f"digits: {100 * values['accuracy']:.2f} % after 4,000 steps"
    assert f"<title>{title}</title>" in page
    assert f"<h1>{title}</h1>" in page
    assert "the golden model (software" in page
    assert "the target of 95 % was not reached" in page


def test_the_page_has_every_evaluation_and_layer(digits, page):
    run = read_run(digits)
    rows = [row for row in Outline(page).rows if len(row) == 4 and row[0] != "step"]
    assert [row[0] for row in rows] == ["0", "1,000", "2,000", "3,000", "4,000"]
    assert rows[0][1] == "–"
    assert rows[-1][1:] == [
        f"{run.curve[-1].train_cost:.4f}",
        f"{run.curve[-1].test_cost:.4f}",
        f"{100 * run.curve[-1].test_accuracy:.2f} %",
    ]
    layers = [row for row in Outline(page).rows if len(row) == 5 and row[0] != "layer"]
    with np.load(digits / "weights.npz") as arrays:
        for number, row in enumerate(layers, start=1):
            w = arrays[f"values_{number}"]
            expected = [w.min(), w.max(), abs(w).mean()]
            assert row[0] == str(number)
            assert [float(cell) for cell in row[1:4]] == pytest.approx(expected, rel=1e-3)
    assert len(layers) == 2


def test_nothing_in_a_run_becomes_markup(page):
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;amp;") == 2


def test_the_page_needs_nothing_else(page):
    for tag, attributes in Outline(page).tags:
        assert tag not in ("script", "link", "iframe")
        assert attributes.get("src", "data:").startswith("data:")
        assert "href" not in attributes
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_can_be_listened_to(page):
    tags = Outline(page).tags
    assert ("html", {"lang": "en"}) in tags
    assert all(len(attributes["alt"]) > 20 for tag, attributes in tags if tag == "img")
    assert all(attributes["aria-label"] for tag, attributes in tags if tag == "svg")
    heads = [attributes for tag, attributes in tags if tag == "th"]
    assert all(attributes.get("scope") in ("row", "col") for attributes in heads)
    assert page.count("<caption>") == page.count("<table")
    assert [tag for tag, _ in tags if re.fullmatch("h[1-6]", tag)] == ["h1"] + ["h2"] * 6


def test_a_page_without_target_clocks_and_steps(tmp_path):
    folder = train(tmp_path, "xor", "--steps", 1)
    values = json.loads((folder / "run.json").read_text())
    values |= {"target": None, "backend": "sim", "steps": 0, "interrupted": True}
    (folder / "run.json").write_text(json.dumps(values))
    (folder / "curve.csv").write_text(
        "step,train_cost,test_accuracy,test_cost,clocks\n0,,0.5,1.0071,0\n"
    )
    page = report_html(read_run(folder))
    Outline(page)
    assert "no target was set; it was interrupted" in page
    assert 'class="target"' not in page
    assert "after 0 steps" in page
    assert not re.search(r"\bnan\b|\binf\b|None", page)


@pytest.mark.parametrize(
    ("backend", "text"),
    [
        ("sim", "the simulated board (no FPGA"),
        ("golden", "the golden model (software"),
        ("replay:a.rec", "a recording in place of a board (a.rec)"),
        ("/dev/ttyUSB1", "the board on /dev/ttyUSB1"),
    ],
)
def test_nobody_takes_one_backend_for_another(backend, text):
    assert backend_text(backend).startswith(text)


# -- plots and pictures ---------------------------------------------------------------------


def test_ticks_are_round_and_few():
    assert ticks(1.0, 5) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(19_000, 5) == [0, 5000, 10000, 15000]
    assert ticks(3.5, 5) == [0, 1, 2, 3]
    assert ticks(0, 5) == [0]
    for end in np.geomspace(1e-6, 1e9, 200):
        found = ticks(float(end), 5)
        assert 2 < len(found) + 1 <= 7
        assert found[-1] <= end * 1.0000001
    assert [short(x) for x in (0, 950, 20_000, 1_500_000)] == ["0", "950", "20k", "1.5M"]


def path(svg: str, style: str) -> list[tuple[float, float]]:
    (d,) = re.findall(rf'class="{style}" d="M([^"]*)"', svg)
    return [(float(x), float(y)) for x, y in (point.split() for point in d.split("L"))]


def test_a_plot_is_to_scale():
    points = [(0, 0.0), (50, 1.0), (100, 0.5)]
    svg = plot("t", [Curve("c", points, "cost")], x_end=100, y_end=1.0, x_label="x", y_label="y")
    (x0, y0), (x1, y1), (x2, y2) = path(svg, "cost")
    assert x0 < x1 < x2
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11)
    assert y1 < y2 < y0
    assert y0 - y2 == pytest.approx(y2 - y1, abs=0.11)
    # The ticks of 0 and 1 are where the curve is 0 and 1.
    assert f'y="{y0}" dy=".35em" text-anchor="end">0<' in svg
    assert f'y="{y1}" dy=".35em" text-anchor="end">1<' in svg


def test_thinning_keeps_ends_and_peaks():
    random = np.random.default_rng(2)
    points = list(enumerate(random.normal(size=50_000).tolist()))
    points[31_337] = (31_337, 99.0)
    kept = thinned(points, 300)
    assert len(kept) <= 1200
    assert kept == sorted(kept)
    assert {points[0], points[31_337], points[-1], min(points, key=lambda p: p[1])} <= set(kept)
    assert thinned(points[:1200], 300) == points[:1200]


def decoded(data: bytes) -> np.ndarray:
    """(rows, columns, red green blue alpha) 0 to 255, by another program's decoder."""
    return (image.imread(io.BytesIO(data)) * 255).round().astype(int)


def test_a_png_is_what_was_drawn():
    random = np.random.default_rng(3)
    colours = random.integers(0, 256, (7, 3), dtype=np.uint8)
    pixels = random.integers(0, 7, (5, 9), dtype=np.uint8)
    shown = decoded(png(pixels, colours, transparent=6))
    np.testing.assert_array_equal(shown[..., :3][pixels != 6], colours[pixels][pixels != 6])
    np.testing.assert_array_equal(shown[..., 3], np.where(pixels == 6, 0, 255))


def test_colours_of_weights():
    colours = pictures.palette().astype(int)
    assert colours.shape == (pictures.GAP + 1, 3)
    weights = np.array([[-400, -1, 0, 1, 200, 400]])
    (row,) = pictures.indices(weights, 400)
    low, *_, zero, _, half, high = colours[row]
    assert low[2] > low[0] + 50  # blue
    assert high[0] > high[2] + 50  # orange
    assert (zero > 240).all()
    assert high.sum() < half.sum() < zero.sum()
    assert pictures.indices(np.zeros((2, 2)), 0).tolist() == [[pictures.ZERO] * 2] * 2


def test_where_a_weight_is_drawn():
    weights = np.zeros((10, 37), dtype=np.int64)
    weights[9, 8] = 5  # node 9: second row, second tile; input 8: row 1, column 2
    weights[9, 36] = -5  # its bias
    drawn = pictures.matrix(weights, 5)
    assert drawn.shape == (10, 38)
    assert (drawn[9, 8], drawn[9, 36], drawn[9, 37]) == (254, pictures.GAP, 0)
    grid = pictures.tiles(weights, 5)
    assert grid.shape == (2 * 7 - 1, 8 * 7 - 1)
    assert grid[7 + 1, 7 + 2] == 254
    assert (grid == 254).sum() == 1
    assert (grid[6] == pictures.GAP).all()
    assert [pictures.tile_side(n) for n in (4, 25, 36, 50, 64, 784)] == [None, None, 6, None, 8, 28]


# -- the command ----------------------------------------------------------------------------


def test_where_the_page_is_written(tmp_path):
    train(tmp_path, "xor", "--steps", 40)
    assert mgd("report", "run", "--out", "a.html", cwd=tmp_path).returncode == 0
    assert mgd("report", "run", "--out", "a.html", cwd=tmp_path).returncode == 0  # its own
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "run"]
    (tmp_path / "mine.html").write_text("mine")
    line = refused(mgd("report", "run", "--out", "mine.html", cwd=tmp_path))
    assert "did not write" in line
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert "is no folder" in refused(mgd("report", "run", "--out", "x/a.html", cwd=tmp_path))
    assert "no such run" in refused(mgd("report", "walk", cwd=tmp_path))
    (tmp_path / ".walk.live").write_text("{}\n")
    assert "has not ended" in refused(mgd("report", "walk", cwd=tmp_path))


def test_builds_that_are_refused(tmp_path):
    train(tmp_path, "xor", "--steps", 40)
    build = tmp_path / "build"
    assert "cannot be read" in refused(mgd("report", "run", "--build", "build", cwd=tmp_path))
    build.mkdir()
    for text, why in (
        ("{", "cannot be read"),
        (json.dumps({**BUILD, "network": "2-2-1"}), "8 lanes, the run was on 2-2-1 with 2"),
        (json.dumps({**BUILD, "lanes": 2}), "a core for 64-32-10"),
        (json.dumps({"network": "2-2-1"}), "has no lanes, board"),
    ):
        (build / "report.json").write_text(text)
        assert why in refused(mgd("report", "run", "--build", "build", cwd=tmp_path))
    assert not (tmp_path / "run" / "report.html").exists()


# -- in a browser ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """Runs BROWSER: (page, scheme, folder) to its result."""
    probe = subprocess.run(
        [sys.executable, "-c", "import PyQt6.QtWebEngineWidgets"], capture_output=True, text=True
    )
    if "No module named" in probe.stderr:
        pytest.skip("no browser: pip install -e '.[browser]'")
    if probe.returncode:
        pytest.skip(f"the browser lacks a library ({probe.stderr.splitlines()[-1]}): {LIBRARIES}")

    def load(page: Path, scheme: str, folder: Path) -> dict:
        environment = {
            **os.environ,
            "QT_QPA_PLATFORM": "offscreen",
            "QTWEBENGINE_DISABLE_SANDBOX": "1",  # root has none
            "QTWEBENGINE_CHROMIUM_FLAGS": "--disable-gpu --disable-dev-shm-usage "
            f"--blink-settings=preferredColorScheme={SCHEMES.index(scheme)}",
        }
        done = subprocess.run(
            [sys.executable, str(BROWSER), str(page), str(folder)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return load


@pytest.fixture(scope="module", params=SCHEMES)
def shown(request, browser, digits, tmp_path_factory) -> dict:
    """What a reader who prefers dark or light pages gets of the page of digits."""
    folder = tmp_path_factory.mktemp(request.param)
    result = browser(digits / "report.html", request.param, folder)
    return {**result, "scheme": request.param, "folder": folder, "page": digits / "report.html"}


def test_the_browser_has_nothing_to_complain_of(shown):
    assert shown["said"] == []
    assert shown["asked"] == [shown["page"].as_uri()]
    assert [state["inner"] for state in shown["states"]] == [400, 1200]


def test_nothing_overflows(shown):
    for state in shown["states"]:
        assert state["outside"] == []
        assert state["clipped"] == []
        assert state["scroll"] <= state["inner"]


def test_pictures_plots_and_tables_are_visible(shown):
    for state in shown["states"]:
        assert len(state["images"]) == 4
        assert len(state["plots"]) == 2
        assert len(state["tables"]) == 7
        for element in state["images"] + state["plots"] + state["tables"]:
            left, top, right, bottom = element["box"]
            assert right - left >= 100
            assert bottom - top >= 10
            assert 0 <= left < right <= state["inner"]
        assert all(picture["natural"] > 0 for picture in state["images"])
        assert all(table["rows"] >= 3 for table in state["tables"])
        for curves in state["plots"]:
            assert curves["curves"] > 8
            assert curves["font"] >= 9.5
        for text in (LONG_NAME, MARKUP, "weight updates that met", "427.1", "Layer 1 again"):
            assert text in state["text"].replace("\n", "")
    narrow, wide = shown["states"]
    # Beside each other where there is room, else one below the other.
    (a, b), (c, d) = ([plot["box"] for plot in s["plots"]] for s in (narrow, wide))
    assert a[0] == b[0]
    assert a[3] <= b[1]
    assert c[2] <= d[0]
    assert c[1] == d[1]


def luminance(colour: str) -> float:
    """WCAG's relative luminance of rgb(r, g, b)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_follow_the_reader_and_can_be_told_apart(shown):
    for state in shown["states"]:
        assert state["dark"] == (shown["scheme"] == "dark")
        colours = state["colours"]
        page = luminance(colours.pop("page"))
        assert (page < 0.1) == state["dark"]
        for name, colour in colours.items():
            light, dark = sorted((luminance(colour), page), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, name


def test_the_page_prints(shown):
    assert shown["printed"]
    assert (shown["folder"] / "page.pdf").read_bytes().startswith(b"%PDF")


def test_a_page_that_is_broken_is_noticed(browser, page, tmp_path):
    broken = page.replace("<main>", '<main><hr style="width: 1500px">')
    broken = broken.replace("</main>", "<script>missing()</script></main>")
    broken = broken.replace("data:image/png;base64,iVBOR", "data:image/png;base64,xxxxx")
    (tmp_path / "broken.html").write_text(broken)
    result = browser(tmp_path / "broken.html", "light", tmp_path)
    assert "missing is not defined" in result["said"][0]
    for state in result["states"]:
        assert len(state["outside"]) == 1
        assert state["scroll"] > state["inner"]
        assert all(picture["natural"] == 0 for picture in state["images"])
