"""`mgd bench core`: clocks per training step against the bound of the multipliers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np

from mgd.boards.simulated import board as simulated
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import initial_weights, words
from mgd.golden_model.settings import Settings
from mgd.host.session.board import BoardSession
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.record import Samples
from mgd.rtl.folded.config import CoreConfig
from mgd.scripts.bench.group import json_option, record

SAMPLES = 32
SEED = 1


class Case(NamedTuple):
    """A network on a number of lanes."""

    layers: tuple[int, ...]
    lanes: int


CASES = (
    Case((64, 32, 10), 8),
    Case((784, 32, 10), 8),
    Case((784, 128, 64, 10), 32),
    Case((49, 4, 4), 4),
)


def products(layers: tuple[int, ...]) -> list[int]:
    """Multiplications of each layer of weights, biases not counted."""
    return [a * b for a, b in itertools.pairwise(layers)]


def bound(case: Case, settings: Settings) -> float:
    """Clocks that the multiplications of a step take when every lane does one per clock.

    Antithetic, new sample each step: M₁ + 2·(M − M₁), the first layer's products serving both
    passes.  Forward with τ = tau_x = tau_theta: with weight perturbation a visit to every weight
    and the baseline once in τ steps, M + M/τ; with node perturbation the first layer and
    the baseline once in τ steps and the other layers once a step, M/τ + M − M₁.

    Sums per node, every product of a window counted: the first layer's sums once in τ steps, the
    outer products of all weights once, M₁/τ + M/τ; the other layers twice a step (antithetic), or
    once a step and once in τ steps for the baseline (forward).
    """
    first, *others = products(case.layers)
    rest = sum(others)
    if settings.by_node:
        tau = settings.tau_theta
        passes = 2 if settings.antithetic else 1 + 1 / tau
        return ((2 * first + rest) / tau + passes * rest) / case.lanes
    if settings.antithetic:
        return (first + 2 * rest) / case.lanes
    total, tau = first + rest, settings.tau_theta
    visits = total / tau + (rest if settings.perturbs_nodes else total)
    return visits / case.lanes


def variants() -> list[tuple[str, Settings]]:
    """The measurements on each network: name and settings."""
    found = []
    for method in ("wp", "np"):
        common: dict[str, Any] = {"method": method, "input_shift": 7}
        found += [
            (f"{method} tau_theta=1", Settings(eta_exp=9, **common)),
            (
                f"{method} tau_theta=100",
                Settings(eta_exp=9, tau_theta=100, rounding="residual", **common),
            ),
            (
                f"{method} forward tau=16",
                Settings(
                    eta_exp=9,
                    tau_theta=16,
                    tau_x=16,
                    rounding="residual",
                    difference="forward",
                    **common,
                ),
            ),
        ]
    found += [
        (
            f"np {difference} nodes=16",
            Settings(
                "np",
                difference,
                input_shift=7,
                eta_exp=9,
                tau_x=16,
                tau_theta=16,
                accumulate="nodes",
            ),
        )
        for difference in ("antithetic", "forward")
    ]
    return found


def builds() -> Iterator[tuple[bool, list[tuple[str, Settings]]]]:
    """Whether a build has accumulators, and what is measured on it."""
    for accumulators, by_node in ((False, False), (True, False), (False, True)):
        yield (
            accumulators,
            [
                (name, settings)
                for name, settings in variants()
                if (settings.accumulates, settings.by_node) == (accumulators, by_node)
            ],
        )


def measure(case: Case, accumulators: bool, runs: list[tuple[str, Settings]], steps: int):
    """Rows of one build: clocks per step by the core's own counter over `steps` steps."""
    network = Network(
        case.layers,
        cost="cross_entropy",
        accumulators=accumulators,
        tau_theta_max=100 if accumulators else 1,
    )
    raw = words(SAMPLES * (network.layers[0] + 1), SEED, "data") >> np.uint64(33)
    table = raw.astype(np.int64).reshape(SAMPLES, -1)
    samples = Samples(table[:, 1:] % 256, table[:, 0] % network.classes)
    one = Samples(samples.codes[:1], samples.labels[:1])
    memory = 2 * (SAMPLES + 1) * network.sample_words
    variant = BuildOptions.of(runs[0][1])
    board = simulated.start(CoreConfig(network, case.lanes, variant=variant), memory)
    try:
        with BoardSession(board.port, network, backend="sim") as session:
            session.load_samples(samples, one)
            session.write_weights(initial_weights(network, SEED))
            for name, settings in runs:
                session.start(settings, SEED)
                session.train(steps)
                clocks = session.counters().train_clocks / steps
                limit = bound(case, settings)
                yield {
                    "layers": list(case.layers),
                    "lanes": case.lanes,
                    "variant": name,
                    "steps": steps,
                    "clocks_per_step": clocks,
                    "bound": limit,
                    "ratio": limit / clocks,
                }
    finally:
        board.close()


@click.command()
@click.option("--steps", type=click.IntRange(min=16), default=1600, show_default=True)
@json_option
def core(steps: int, json_file: Path | None) -> None:
    """Clocks per step on the simulated board, everything included, against the bound.

    Sample fetch, activations, cost, broadcast and update are all in the core's own counter.
    The ratio is bound / clocks: the part of the time in which the multipliers are needed.
    """
    rows = []
    click.echo(f"{'network':>16} {'lanes':>5}  {'variant':<20} {'clocks':>9} {'bound':>9}  ratio")
    for case in CASES:
        for accumulators, runs in builds():
            for row in measure(case, accumulators, runs, steps):
                rows.append(row)
                name = "-".join(map(str, case.layers))
                click.echo(
                    f"{name:>16} {case.lanes:>5}  {row['variant']:<20} "
                    f"{row['clocks_per_step']:>9.1f} {row['bound']:>9.1f}  {row['ratio']:.3f}"
                )
    record(json_file, "core", rows)
