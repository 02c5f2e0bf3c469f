"""The picture of `mgd bench time-to-train`: a bar for each core or program, logarithmic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mgd.scripts.study.plot import save

COLOURS = {"spatial, pipelined": "#0b3954", "spatial": "#1f5f8b", "folded": "#6a9cbf"}
OTHERS = "#9a9a9a"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write an image of the rows that have a time, a panel for each task and method."""
    # Slow to import; Figure and its Agg canvas need no display and leave pyplot's state alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("seconds") and row["seconds"][-1]:
            groups.setdefault((row["task"], row["method"]), []).append(row)
    heights = [len(group) for group in groups.values()]
    figure = Figure(figsize=(7.2, 0.7 + 0.34 * sum(heights) + 0.45 * len(groups)), dpi=150)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(groups), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for panel, ((task, method), group) in zip(panels, groups.items(), strict=True):
        group = sorted(group, key=lambda row: -row["seconds"][-1])
        names = [_name(row) for row in group]
        seconds = [row["seconds"][-1] for row in group]
        bars = panel.barh(
            names, seconds, color=[COLOURS.get(row["by"], OTHERS) for row in group], height=0.7
        )
        panel.bar_label(bars, [EngFormatter("s", places=1)(s) for s in seconds], padding=3)
        target = group[0]["targets"][-1]
        panel.set_title(f"{task}, {method}: to {target:.0%} (median)", loc="left", fontsize=10)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(EngFormatter("s", places=0))
        panel.margins(x=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def _name(row: dict[str, Any]) -> str:
    if "source" in row:
        kind, *schedule = row["by"].split(", ")
        return ", ".join([f"{kind} core", *schedule, row["source"]])
    return row["by"]
