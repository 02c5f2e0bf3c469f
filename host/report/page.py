"""A run as one HTML page that needs no network, no other file and no JavaScript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from mgd.golden_model.costs import KINDS
from mgd.golden_model.learning import LEARNING
from mgd.golden_model.network import Network
from mgd.golden_model.reference.network import float_weights
from mgd.golden_model.settings import PIPELINED
from mgd.host.report import weight_pictures as pictures
from mgd.host.report.png import data_uri
from mgd.host.report.svg_plot import Curve, plot
from mgd.host.runs.progress import ACCURACY, R2, score_name, score_text, target_text
from mgd.host.runs.stored import StoredRun

MARK = "mgd report"
"""Content of the page's meta element named generator."""
ROWS = 20
"""Evaluations in the table."""
PIXELS = 8
"""A weight is drawn as wide as that where there is room."""


def report_html(run: StoredRun, build: Mapping[str, Any] | None = None) -> str:
    """The page.  build: a report.json of mgd build, for the core that was trained."""
    values = run.values
    score = values.get("score", ACCURACY)
    found = score_text(score, values["accuracy"])
    named = f"{score_name(score)} {found}" if score != ACCURACY else found
    title = f"{values['task']}: {named} after {values['steps']:,} steps"
    sections = [
        _summary(run),
        _section("Curves", _curves(run)),
        _section("Weights", _weights(run)),
        _section("Resources", _resources(run, build)),
        _section("Limits and errors", _errors(run)),
        _section("Settings", _settings(run)),
        _section("Evaluations", _evaluations(run)),
    ]
    style = files("mgd.host.report").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{MARK}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(sections) + "\n</main>\n</body>\n</html>\n"
    )


def backend_text(backend: str) -> str:
    """The backend in words, so that simulation and hardware cannot be confused."""
    if backend == "sim":
        return "the simulated board (no FPGA; times are those of the simulation)"
    if backend == "golden":
        return "the golden model (software; there are no clocks)"
    if backend.startswith("replay:"):
        return f"a recording in place of a board ({backend.removeprefix('replay:')})"
    return f"the board on {backend}"


# -- parts of the page ----------------------------------------------------------------------


def _summary(run: StoredRun) -> str:
    values = run.values
    layers = "-".join(map(str, values["network"]["layers"]))
    count = sum(w.size for w in run.weights)
    if values["target"] is None:
        target = "no target was set"
    elif values["target_reached_at_step"] is None:
        wanted = target_text(values.get("score", ACCURACY), values["target"])
        target = f"the target of {wanted} was not reached"
    else:
        wanted = target_text(values.get("score", ACCURACY), values["target"])
        target = f"the target of {wanted} was reached at step {values['target_reached_at_step']:,}"
    if values["interrupted"]:
        target += "; it was interrupted"
    text = (
        f"<p>A network {layers} with {count:,} parameters, trained by "
        f"{LEARNING[values['method']].title} on {escape(backend_text(values['backend']))}, seed "
        f"{values['seed']}; {target}.</p>"
    )
    return text + "".join(f"<p>Note: {escape(note)}</p>" for note in values["notes"])


def _curves(run: StoredRun) -> str:
    values, curve = run.values, run.curve
    score, watched = values.get("score", ACCURACY), values.get("watched", "test")
    name = score_name(score)
    unit = KINDS[values["network"]["cost"]].unit
    unit = unit and f" ({unit})"
    trained = [(p.step, p.train_cost) for p in curve if p.train_cost is not None]
    first, last = curve[0], curve[-1]
    end = max(last.step, 1)
    cost = plot(
        f"Cost over training steps: from {first.test_cost:.4g} to {last.test_cost:.4g} on the "
        f"{watched} samples",
        [
            Curve("training", trained, "cost"),
            Curve(watched, [(p.step, p.test_cost) for p in curve], "test"),
        ],
        x_end=end,
        x_label="training step",
        y_label=f"mean cost{unit}",
    )
    level = None if values["target"] is None else (values["target"], "target")
    accuracy = plot(
        f"{watched.capitalize()} {name} over training steps: from "
        f"{score_text(score, first.test_accuracy)} to {score_text(score, last.test_accuracy)}",
        [Curve(watched, [(p.step, p.test_accuracy) for p in curve], "accuracy")],
        x_end=end,
        y_end=1.0,
        x_label="training step",
        y_label=f"{watched} {name}",
        y_text=lambda y: f"{y:.1f}" if score == R2 else f"{100 * y:.0f} %",
        level=level,
    )
    dotted = "" if level is None else f"; dotted: the target, {target_text(score, level[0])}"
    share = f"Share of the {watched} samples classified right"
    if score == R2:
        share = f"R² on the {watched} samples"
    return (
        '<div class="columns">'
        f"<figure>{cost}<figcaption>Mean cost per step{unit}. Line: training, since the "
        f"evaluation before; dashed: {watched} samples.</figcaption></figure>"
        f"<figure>{accuracy}<figcaption>{share}{dotted}."
        "</figcaption></figure></div>"
    )


def _weights(run: StoredRun) -> str:
    network = _network(run)
    unit = 2.0**-network.weight_frac
    largest = max((int(abs(w).max()) for w in run.weights), default=0)
    parts = [
        "<p>A row is a node, a column one of its inputs, the column on the right its bias. "
        f'White is 0, the same colours in all pictures:</p><p class="scale"><span>'
        f"{-largest * unit:.3g}</span>"
        f'<img alt="Blue is negative, orange is positive" src="{_src(pictures.scale())}">'
        f"<span>{largest * unit:.3g}</span></p>"
    ]
    rows = []
    for number, weights in enumerate(run.weights, start=1):
        nodes, inputs = weights.shape[0], weights.shape[1] - 1
        (real,) = float_weights([weights], network)
        about = (
            f"layer {number}, {nodes:,} nodes with {inputs:,} inputs each, {real.min():.3g} to "
            f"{real.max():.3g}"
        )
        parts.append(
            _picture(
                pictures.matrix(weights, largest),
                f"Weights of {about}",
                f"Layer {number}: {nodes:,} nodes, {inputs:,} inputs",
            )
        )
        if number == 1 and (side := pictures.tile_side(inputs)):
            parts.append(
                _picture(
                    pictures.tiles(weights, largest),
                    f"Weights of {about}, a picture of {side} by {side} for each node",
                    f"Layer 1 again: for each node its inputs as a picture of {side} × {side}",
                )
            )
        limits = int(((weights == network.weight_min) | (weights == network.weight_max)).sum())
        rows.append(
            [
                f"{number}",
                f"{real.min():.4g}",
                f"{real.max():.4g}",
                f"{abs(real).mean():.4g}",
                f"{limits:,}",
            ]
        )
    parts.append(
        _numbers(
            f"Each weight has {network.weight_bits} bits and steps of 2^-{network.weight_frac}; "
            f"the limits are {network.weight_min * unit:g} and {network.weight_max * unit:g}.",
            ["layer", "smallest", "largest", "mean size", "at a limit"],
            rows,
        )
    )
    return "".join(parts)


def _resources(run: StoredRun, build: Mapping[str, Any] | None) -> str:
    values = run.values
    seconds = values["wall_seconds"]
    rows = [
        ("lanes", f"{values['lanes']}"),
        ("clocks per step", _or_dash(values["clocks_per_step"], "{:,.1f}")),
        ("clocks of training", f"{values['train_clocks']:,}" if values["train_clocks"] else "–"),
        ("clocks in all", f"{values['clocks']:,}" if values["clocks"] else "–"),
        *_waits(values),
        ("time of training and evaluation", f"{seconds:,.1f} s"),
        ("steps per second in that time", f"{values['steps'] / max(seconds, 1e-9):,.0f}"),
    ]
    machine = values["machine"]
    rows.append(("host", f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"))
    text = _table("The run", rows)
    if build is None:
        return text
    used = [
        (kind.upper(), f"{count['used']:,} of {count['available']:,}")
        for kind, count in build["resources"].items()
    ]
    met = "met" if build["timing_met"] else "not met"
    rows = [
        ("board", f"{build['board']} ({build['device']})"),
        ("clock", f"{build['core_hz'] / 1e6:.2f} MHz"),
        ("slowest path allows", f"{build['fmax_mhz']:.2f} MHz, timing {met}"),
        *used,
        ("steps per second at this clock", _or_dash(_rate(values, build), "{:,.0f}")),
    ]
    return f'<div class="columns"><div>{text}</div><div>{_table("The build", rows)}</div></div>'


def _waits(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """For a run that was streamed."""
    if values.get("wait_share") is None:
        return []
    share = f"{100 * values['wait_share']:.1f} %, bound by the {values['bound_by']}"
    return [("waited for samples", f"{values['wait_clocks']:,} clocks, {share}")]


def _rate(values: Mapping[str, Any], build: Mapping[str, Any]) -> float | None:
    clocks = values["clocks_per_step"]
    return build["core_hz"] / clocks if clocks else None


def _errors(run: StoredRun) -> str:
    values = run.values
    saturations = values["saturations"]
    return _table(
        "Counted during the run",
        [
            ("weight updates that met the end of the range", f"{saturations['weights']:,}"),
            ("activations that met the end of the range", f"{saturations['activations']:,}"),
            ("frames damaged on the link", f"{values['link_errors']:,}"),
            ("requests sent again", f"{values['link_repeats']:,}"),
            ("times that the board lost the run", f"{values['board_losses']:,}"),
        ],
    )


def _lateness(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Of a pipelined schedule; runs of earlier versions know of none."""
    late = settings.get("update_delay")
    return [("updates", f"{late} steps late ({PIPELINED})")] if late else []


def _settings(run: StoredRun) -> str:
    values = run.values
    network, settings = _network(run), values["settings"]
    cost = network.cost_kind.title
    training = [
        ("method", LEARNING[values["method"]].title),
        ("difference", settings["difference"]),
        ("rounding", settings["rounding"]),
        ("perturbation δ", f"2^-{settings['delta_exp']}"),
        ("learning rate over tau_theta", f"2^-{settings['eta_exp']}"),
        (
            "tau_x, tau_p, tau_theta",
            ", ".join(str(settings[f"tau_{k}"]) for k in ["x", "p", "theta"]),
        ),
        *_lateness(settings),
        ("seed", f"{values['seed']}"),
    ]
    core = [
        ("layers", network.describe()),
        ("activation", network.hidden),
        ("output activation", "–" if network.reads_sums else network.output),
        ("cost", cost),
        ("classes", ", ".join(values["class_names"])),
        ("weights", f"{network.weight_bits} bits, {network.weight_frac} of them fraction"),
        ("accumulators", "yes" if network.accumulators else "no"),
        ("input codes", f"{network.sample_bits} bits, shifted left by {settings['input_shift']}"),
    ]
    machine = values["machine"]
    made = (
        f"Program {values['version']}, configuration {values['config_digest'][:16]}, Python "
        f"{machine['python']}, NumPy {machine['numpy']}."
    )
    return (
        f'<div class="columns"><div>{_table("Training", training)}</div>'
        f"<div>{_table('Network', core)}</div></div>"
        f'<p class="quiet">{escape(made)}</p>'
    )


def _evaluations(run: StoredRun) -> str:
    curve = run.curve
    score, watched = run.values.get("score", ACCURACY), run.values.get("watched", "test")
    count = min(ROWS, len(curve))
    chosen = sorted({round(k * (len(curve) - 1) / max(count - 1, 1)) for k in range(count)})
    rows = [
        [
            f"{p.step:,}",
            _or_dash(p.train_cost, "{:.4f}"),
            f"{p.test_cost:.4f}",
            score_text(score, p.test_accuracy),
        ]
        for p in (curve[k] for k in chosen)
    ]
    some = "" if len(chosen) == len(curve) else f"{len(chosen)} of {len(curve):,} evaluations; "
    return _numbers(
        f"{some}curve.csv in the run's folder holds all.",
        ["step", "training cost", f"{watched} cost", f"{watched} {score_name(score)}"],
        rows,
    )


# -- elements -------------------------------------------------------------------------------


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>"


def _table(caption: str, rows: Sequence[tuple[str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>{escape(caption)}</caption><tbody>{body}</tbody></table>"


def _numbers(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<table class="numbers"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    )


def _picture(pixels: Any, alt: str, caption: str) -> str:
    width = PIXELS * pixels.shape[1]
    return (
        f'<figure><img alt="{escape(alt)}" src="{_src(pixels)}" style="width: {width}px">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _src(pixels: Any) -> str:
    return data_uri(pictures.picture(pixels))


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _network(run: StoredRun) -> Network:
    values = dict(run.values["network"])
    return Network(**{**values, "layers": tuple(values["layers"])})
