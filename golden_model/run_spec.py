"""All of a training run but its data, resolved once and passed on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mgd.golden_model import rules
from mgd.golden_model.declaration import Choice, Real, Whole, declarations, declare, digest_fields
from mgd.golden_model.limits import LANES_MAX, SEED_MAX, STEPS_MAX
from mgd.golden_model.network import Network
from mgd.golden_model.settings import Settings


@dataclass(frozen=True)
class CoreSpec:
    """The core that a run is made for.  It changes no result but by Settings.update_delay."""

    kind: str = "folded"
    """Name of the kind in protocol.core_kinds.  folded: the network in turns on a few lanes.
    spatial: a circuit for every synapse."""
    lanes: int = declare(8, Whole(1, LANES_MAX))
    """Of a folded core."""
    fixed: tuple[str, ...] = ()
    """Names of the settings that are build constants beside those that always are."""

    def __post_init__(self) -> None:
        rules.check_declared(self)


@dataclass(frozen=True)
class RunSpec:
    """A network, how it is trained, on which core, how long and from which seed.

    Raises UserError where a value is out of range, or where network and settings do not suit each
    other.
    """

    network: Network
    settings: Settings
    core: CoreSpec = field(default_factory=CoreSpec)
    norm: float | None = declare(None, Real(0), later=True)
    """Length of the whole perturbation from which delta_exp followed: m of McCaughan et al. 2023.
    None: delta_exp was given."""
    steps: int = declare(60_000, Whole(1, STEPS_MAX))
    target: float | None = declare(None, Real(0, 1))
    """Training stops at the first evaluation with at least this accuracy on the validation part, or
    the test part where there is none (of a regression: this R²); None: never."""
    eval_every: int = declare(1_000, Whole(1, STEPS_MAX))
    """Steps between two evaluations."""
    keep: str = declare("best", Choice(("best", "last")), later=True)
    """Where there is a validation part: whether the run's weights are those of the evaluation that
    was best on it, or the last ones."""
    init_gain: float = declare(1.0, Real(0, 8))
    """Factor on the initial weights."""
    seed: int = declare(1, Whole(0, SEED_MAX), per_method=False)
    """Of initial weights, signs and sample order."""

    def __post_init__(self) -> None:
        rules.check_declared(self)
        rules.check(rules.RUN, n=self.network, s=self.settings)

    @property
    def method(self) -> str:
        """'wp' or 'np'."""
        return self.settings.method

    @property
    def schedule(self) -> str:
        """'sequential' or 'pipelined'."""
        return self.settings.schedule

    def digest_fields(self) -> dict[str, Any]:
        """All that decides a run's result but the data and the seed, for a digest.

        Core and lanes are not part of it: they change no result.  "settings" has every setting,
        "plan" the keys of [training] for one method.
        """
        settings, run = digest_fields(self.settings), digest_fields(self)
        known = declarations(Settings) | declarations(RunSpec)
        plan = {k: v for k, v in (settings | run).items() if known[k].per_method}
        return {"settings": settings, "plan": plan}
