"""Figures of the studies: no display, no state of pyplot, written completely or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from mgd.golden_model.errors import UserError
from mgd.host.runs.atomic import write_result
from mgd.host.runs.folder import check_json

COLOURS = ("#1f5f8b", "#b3541e", "#3c7a3f", "#7a4b94", "#8a7a1e", "#555555")

plot_option = click.option(
    "--plot",
    "plot_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw the result: a name that ends in .png, .svg or .pdf.",
)


def check_plot(path: Path) -> None:
    """Raise UserError where figure() would fail later: call it before the work."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"--plot {path}: a figure's name ends in .png, .svg or .pdf")
    check_json(path)


def check_results(json_file: Path | None, plot_file: Path | None) -> None:
    """check_json() and check_plot() of the files that are asked for."""
    if json_file is not None:
        check_json(json_file)
    if plot_file is not None:
        check_plot(plot_file)


@contextmanager
def figure(path: Path, panels: int, title: str) -> Iterator[Any]:
    """Axes of `panels` figures, four in a row; what was drawn on them is written on leaving."""
    # Slow to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(panels, 4)
    rows = -(-panels // columns)
    size = (4.6 * columns, 0.7 + 3.5 * rows) if rows == 1 else (3.4 * columns, 0.7 + 2.6 * rows)
    drawn = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(drawn)
    axes = list(drawn.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[panels:]:
        axis.remove()
    axes = axes[:panels]
    for axis in axes:
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    drawn.suptitle(title, fontsize=10, x=0.01, ha="left")
    yield axes
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        drawn.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    save(drawn, path)


def save(drawn: Any, path: Path) -> None:
    """Write a figure, the same bytes for the same picture.  Raises UserError where it cannot be."""
    kind = path.suffix[1:]
    content = io.BytesIO()
    drawn.savefig(content, format=kind, metadata={"Software": None} if kind == "png" else None)
    write_result(path, content.getvalue())
