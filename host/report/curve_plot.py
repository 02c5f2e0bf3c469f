"""The picture of a run: cost and accuracy against steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mgd.golden_model.learning import LEARNING
from mgd.host.runs.progress import ACCURACY, score_name, target_text
from mgd.host.runs.training import RunResult

COST_COLOUR = "#b3541e"
ACCURACY_COLOUR = "#1f5f8b"


def draw_curve(result: RunResult, path: Path) -> None:
    """Write a PNG: training cost on the left axis, accuracy or R² on the right one."""
    # Slow to import; Figure and its Agg canvas need no display and leave pyplot's state alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, PercentFormatter

    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    right = left.twinx()
    trained = [(p.step, p.train_cost) for p in result.curve if p.train_cost is not None]
    shown = f"{result.watched} {score_name(result.score)}"
    marker = "o" if len(result.curve) <= 30 else None
    unit = " (bits)" if result.network.cost == "cross_entropy" else ""
    style: dict[str, Any] = {"linewidth": 1.4, "marker": marker, "markersize": 3.5}
    lines = left.plot(
        [step for step, _ in trained],
        [cost for _, cost in trained],
        color=COST_COLOUR,
        label="training cost",
        **style,
    )
    lines += right.plot(
        [p.step for p in result.curve],
        [p.test_accuracy for p in result.curve],
        color=ACCURACY_COLOUR,
        label=shown,
        **style,
    )
    if result.target is not None:
        lines.append(
            right.axhline(
                result.target,
                color=ACCURACY_COLOUR,
                linestyle=":",
                linewidth=1,
                label=f"target {target_text(result.score, result.target)}",
            )
        )
    left.set_xlabel("training step")
    left.set_ylabel(f"mean training cost{unit}", color=COST_COLOUR)
    right.set_ylabel(shown, color=ACCURACY_COLOUR)
    left.set_ylim(bottom=0)
    lowest = min(point.test_accuracy for point in result.curve)
    right.set_ylim(max(min(0.0, lowest), -1.0), 1.03)  # R² of a bad start is far below 0
    left.set_xlim(0, max(result.steps, 1))
    left.xaxis.set_major_formatter(EngFormatter(sep=""))
    if result.score == ACCURACY:
        right.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    left.grid(axis="both", color="#dddddd", linewidth=0.6)
    left.set_axisbelow(True)
    for axes in (left, right):
        axes.spines["top"].set_visible(False)
    left.set_title(
        f"{result.task} ({result.network.describe()}), {LEARNING[result.method].title}\n"
        f"backend {result.backend}, {result.lanes} lanes, seed {result.seed}: "
        f"{100 * result.accuracy:.1f} % after {result.steps:,} steps",
        fontsize=10,
        loc="left",
    )
    # Below the axes, where it hides no data.
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)
    figure.savefig(path, metadata={"Software": None})
