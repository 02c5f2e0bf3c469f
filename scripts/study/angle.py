"""`mgd study angle`: cos(G, ∇C) and ‖G‖² after τ steps, for each perturbation.

One sample, fixed weights, many seeds.  G is what the fixed-point model's accumulators hold after τ
steps, divided by τ and by the mean square of the perturbation's values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from mgd.api.backends import say
from mgd.golden_model.errors import UserError
from mgd.golden_model.network import DELTA_EXP_MAX, TAU_MAX, Network
from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.reference import network as reference
from mgd.golden_model.seeds import initial_weights
from mgd.golden_model.settings import DIFFERENCES, METHODS, SCOPES, Settings
from mgd.golden_model.trainer import Trainer
from mgd.host.task.task import Task
from mgd.scripts.bench.group import json_option, record
from mgd.scripts.study.plot import COLOURS, check_results, figure, plot_option


def finest(network: Network) -> Network:
    """`network` with the finest pre-activations and costs there are: rounding would hide the
    small components of the true gradient."""
    return replace(network, pre_frac=14, cost_frac=16)


@dataclass(frozen=True)
class Problem:
    """Weights, one sample and how it is perturbed."""

    network: Network
    settings: Settings
    weights: list[np.ndarray]
    """Per layer (nodes, fan_in + 1), integers."""
    codes: np.ndarray
    """(1, inputs)."""
    label: np.ndarray
    """(1,)."""

    @classmethod
    def of(cls, task: Task, difference: str | None, scope: str | None, fine: bool) -> Problem:
        """The task's initial weights and its first training sample; in finest formats if `fine`."""
        network = replace(task.spec.network, accumulators=True, tau_theta_max=TAU_MAX, shift_max=32)
        network = finest(network) if fine else network
        plain = task.spec.settings
        settings = Settings(
            plain.method,
            difference or plain.difference,
            "residual",
            delta_exp=plain.delta_exp,
            eta_exp=16,
            input_shift=plain.input_shift,
            scope=scope or plain.scope,
            trainable=plain.trainable,
        )
        train, _ = task.datasets()
        weights = initial_weights(network, task.spec.seed, task.spec.init_gain)
        return cls(network, settings, weights, train.codes[:1], train.labels[:1])

    def trainer(self, seeds: list[int]) -> Trainer:
        """One that measures and never updates."""
        weights = [np.tile(w, (len(seeds), 1, 1)) for w in self.weights]
        return Trainer(
            self.network, self.settings, self.codes, self.label, weights, seeds, updates=False
        )

    def pick(self, layers: list[np.ndarray]) -> list[np.ndarray]:
        """The perturbed quantities of arrays like the weights, per trained layer (..., quantities).

        For nodes the biases: their input is 1, so theirs is the pre-activation's gradient.
        """
        numbering = self.settings.numbering(self.network)
        perturbed = [a for a, numbers in zip(layers, numbering, strict=True) if numbers is not None]
        if self.settings.perturbs_nodes:
            return [a[..., -1] for a in perturbed]
        return [a.reshape(*a.shape[:-2], -1) for a in perturbed]


def measured(problem: Problem, trainer: Trainer, tau: int) -> list[np.ndarray]:
    """G per trained layer, (seeds, quantities), in natural units: an estimate of ∇C."""
    settings, network = problem.settings, problem.network
    kind = PERTURBATIONS[settings.perturbation]
    unit = 2.0 ** (settings.delta_exp - network.cost_frac - 1 - settings.value_frac)
    totals = [n.total for n in settings.numbering(network) if n is not None]
    return [
        g * unit / tau / kind.mean_square(total)
        for g, total in zip(problem.pick(trainer.accumulators), totals, strict=True)
    ]


def true_gradient(problem: Problem) -> list[np.ndarray]:
    """∇C per trained layer: each quantity perturbed alone by ±δ, in the finest formats."""
    alone = replace(
        problem.settings, perturbation="sequential", difference="antithetic", scope="network"
    )
    fine = replace(problem, network=finest(problem.network), settings=alone)
    trainer = fine.trainer([0])
    steps = next(n.total for n in alone.numbering(fine.network) if n is not None)
    trainer.train(steps)
    return [g[0] for g in measured(fine, trainer, steps)]


def float_gradient(problem: Problem) -> list[np.ndarray]:
    """The same by backpropagation in float64, exact functions in place of tables."""
    x = reference.float_inputs(problem.codes, problem.settings.input_shift)[0]
    weights = reference.float_weights(problem.weights, problem.network)
    return problem.pick(reference.gradient(weights, x, problem.label[0], problem.network))


def moments(steps: int, period: int | None) -> list[int]:
    """The τ at which G is compared: three an octave, and whole periods."""
    found = {round(2 ** (k / 3)) for k in range(3 * steps.bit_length() + 3)}
    if period:
        found |= {period, 2 * period, 4 * period}
    return sorted(tau for tau in found if tau <= steps)


def curve(problem: Problem, truth: list[np.ndarray], seeds: int, steps: int) -> Iterator[dict]:
    """A row per τ: mean cosine and mean of ‖G‖²/‖∇C‖² over the seeds, and theory."""
    settings = problem.settings
    kind = PERTURBATIONS[settings.perturbation]
    totals = [n.total for n in settings.numbering(problem.network) if n is not None]
    g = np.concatenate(truth)
    square = float(g @ g)
    shares = [float(part @ part) / square for part in truth]
    trainer = problem.trainer(list(range(1, seeds + 1)))
    for tau in moments(steps, kind.period(max(totals))):
        trainer.train(tau)
        estimate = np.concatenate(measured(problem, trainer, tau), axis=-1)
        lengths = (estimate**2).sum(axis=1)
        # All of it can be 0 after few steps of a sequential walk; that is at a right angle.
        cosines = (estimate @ g) / np.sqrt(np.where(lengths > 0, lengths, 1) * square)
        excess = sum(w * kind.excess(n, tau) for w, n in zip(shares, totals, strict=True))
        yield {
            "perturbation": settings.perturbation,
            "tau": tau,
            "cos": float(cosines.mean()),
            "cos_error": float(cosines.std() / seeds**0.5),
            "cos_theory": (1 + excess) ** -0.5,
            "square": float(lengths.mean() / square),
            "square_error": float(lengths.std() / square / seeds**0.5),
            "square_theory": 1 + excess,
        }


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Both quantities against τ: points are measured, lines are theory."""
    with figure(path, 2, title) as (left, right):
        for colour, name in zip(
            COLOURS, dict.fromkeys(r["perturbation"] for r in rows), strict=False
        ):
            mine = [r for r in rows if r["perturbation"] == name]
            taus = [r["tau"] for r in mine]
            for axis, key in ((left, "cos"), (right, "square")):
                axis.plot(taus, [r[f"{key}_theory"] for r in mine], color=colour, linewidth=1)
                points = {"color": colour, "marker": "o", "markersize": 3, "linestyle": "none"}
                axis.plot(taus, [r[key] for r in mine], label=name, **points)
        left.set_ylabel("cos(G, ∇C)")
        left.set_ylim(0, 1.03)
        right.set_ylabel("‖G‖² / ‖∇C‖²")
        right.set_yscale("log")
        for axis in (left, right):
            axis.set_xscale("log", base=2)
            axis.set_xlabel("τ, steps accumulated")


def table(rows: list[dict[str, Any]], shown: int = 8) -> list[str]:
    """Some of the rows of each family as text."""
    lines = [f"{'':<12}{'τ':>8}{'cos':>9}{'theory':>9}{'‖G‖²':>11}{'theory':>11}"]
    for name in dict.fromkeys(r["perturbation"] for r in rows):
        mine = [r for r in rows if r["perturbation"] == name]
        picked = sorted({round(k * (len(mine) - 1) / (shown - 1)) for k in range(shown)})
        for r in (mine[k] for k in picked):
            lines.append(
                f"{name:<12}{r['tau']:>8,}{r['cos']:>9.4f}{r['cos_theory']:>9.4f}"
                f"{r['square']:>11.3f}{r['square_theory']:>11.3f}"
            )
            name = ""
    return lines


@click.command()
@click.argument("task_name", metavar="[TASK_OR_TOML]", default="nist7x7_easy")
@click.option("--method", type=click.Choice(METHODS), default="wp", show_default=True)
@click.option("--difference", type=click.Choice(DIFFERENCES), help="The task's own by default.")
@click.option("--scope", type=click.Choice(SCOPES), help="The task's own by default.")
@click.option(
    "--family",
    "families",
    multiple=True,
    type=click.Choice(list(PERTURBATIONS)),
    help="Perturbation; more than once for several.  [default: all]",
)
@click.option("--seeds", type=click.IntRange(min=1), default=64, show_default=True)
@click.option(
    "--steps", type=click.IntRange(1, TAU_MAX), default=4096, show_default=True, help="Largest τ."
)
@click.option(
    "--delta-exp",
    type=click.IntRange(1, DELTA_EXP_MAX),
    help="Perturbation 2^-N.  [default: the task's own]",
)
@click.option("--fine", is_flag=True, help="14 and 16 fraction bits for sums and costs.")
@plot_option
@json_option
def angle(
    task_name: str,
    method: str,
    difference: str | None,
    scope: str | None,
    families: tuple[str, ...],
    seeds: int,
    steps: int,
    delta_exp: int | None,
    fine: bool,
    plot_file: Path | None,
    json_file: Path | None,
) -> None:
    """Angle and length of the measured gradient against τ, in the fixed-point model.

    The weights are the task's initial ones and do not change, the sample is its first.  Node
    perturbation is measured by the pre-activations' gradient.  Theory: with N quantities
    cos = 1/√(1+e) and ‖G‖²/‖∇C‖² = 1+e, e = (N−1)/τ for random signs; for values that repeat
    after P draws (N−1)·r·(1−r/P)/τ², r = τ mod P.
    """
    check_results(json_file, plot_file)
    task = Task.load(task_name).with_overrides(method=method)
    problem = Problem.of(task, difference, scope, fine)
    if delta_exp is not None:
        problem = replace(problem, settings=replace(problem.settings, delta_exp=delta_exp))
    problem.settings.check(problem.network)
    truth = true_gradient(problem)
    whole = np.concatenate(truth)
    if not whole.any():
        raise UserError(
            f"{task.name}: the gradient at the initial weights is 0, there is no angle to it; "
            "choose another seed in a copy of the task file"
        )
    exact = np.concatenate(float_gradient(problem))
    cosine = float(whole @ exact / np.linalg.norm(whole) / np.linalg.norm(exact))
    title = (
        f"{task.name} ({problem.network.describe()}), {method}, "
        f"{problem.settings.difference}, scope {problem.settings.scope}, N = {len(whole)}, "
        f"delta = 2^-{problem.settings.delta_exp}, {seeds} seeds"
    )
    click.echo(title)
    click.echo(f"cosine of the fixed point's gradient with float backpropagation: {cosine:.4f}")
    rows: list[dict[str, Any]] = []
    for name in families or PERTURBATIONS:
        say(f"{name} ...")
        one = replace(problem, settings=replace(problem.settings, perturbation=name))
        rows += curve(one, truth, seeds, steps)
    click.echo("\n".join(table(rows)))
    if plot_file is not None:
        draw(rows, title, plot_file)
    common = {
        "task": task.name,
        "method": method,
        "difference": problem.settings.difference,
        "scope": problem.settings.scope,
        "quantities": len(whole),
        "delta_exp": problem.settings.delta_exp,
        "fine": fine,
        "seeds": seeds,
        "cos_with_float": cosine,
    }
    record(json_file, "study angle", [common | row for row in rows])
