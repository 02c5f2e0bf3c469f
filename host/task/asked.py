"""The values in a task file and its overrides, before others are derived from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mgd.golden_model.declaration import Declaration
from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.run_spec import CoreSpec
from mgd.golden_model.settings import METHODS
from mgd.host.data.content import format_of
from mgd.host.task.file import NETWORK, PER_METHOD, TRAINING, Overrides, TaskFile
from mgd.host.task.keys import AUTO

STOCHASTIC_WEIGHT_BITS = 14
"""Below this width stochastic rounding loses too much; the residual is carried instead."""


@dataclass(frozen=True)
class Asked:
    """A task file and its overrides.  An override decides, then the section of the method, then
    [training], then the default of the setting's declaration."""

    file: TaskFile
    overrides: Overrides
    regression: bool = False
    """Whether the data are numbers to approach (host.data.reading.is_regression)."""

    @property
    def method(self) -> str:
        """'wp' or 'np'."""
        return _given(TRAINING["method"], self.overrides.method, self.file.training.method)

    @property
    def seed(self) -> int:
        return _given(TRAINING["seed"], self.overrides.seed, self.file.training.seed)

    @property
    def kind(self) -> str:
        """'folded' or 'spatial'."""
        return _first(self.overrides.core, self.file.core.kind, CoreSpec.kind)

    @property
    def schedule(self) -> str:
        """'sequential' or 'pipelined'."""
        return self.overrides.schedule or self.file.core.schedule

    @property
    def lanes(self) -> int | None:
        """None where none are given."""
        return _first(self.overrides.lanes, self.file.core.lanes)

    @property
    def fixed(self) -> tuple[str, ...]:
        return tuple(_first(self.overrides.fixed, self.file.core.fixed))

    def network(self, name: str) -> Any:
        """A key of [network] or [numbers] that golden_model.network.Network declares."""
        file = self.file
        home = file.network if name in type(file.network).model_fields else file.numbers
        return _given(NETWORK[name], getattr(home, name))

    def value(self, name: str, method: str | None = None) -> Any:
        """One of PER_METHOD as the user gave it, "auto" included."""
        method = method or self.method
        known = PER_METHOD[name]
        default: Any = AUTO if known.auto else known.by_method.get(method, known.default)
        if name == "eta_exp" and format_of(self.file.data.source) is not None:
            default += table_rate(self.file.network.layers)
        return _first(*(getattr(section, name) for section in self._sections(method)), default)

    def given(self, name: str, method: str) -> bool:
        """Whether the value of this key is no default."""
        return any(getattr(section, name) is not None for section in self._sections(method))

    @cached_property
    def values(self) -> Mapping[str, Mapping[str, Any]]:
        """By method, all of PER_METHOD; "auto" is resolved, delta_exp does not follow from norm
        yet."""
        return {method: self._values(method) for method in METHODS}

    @property
    def own(self) -> Mapping[str, Any]:
        """`values` of this task's method."""
        return self.values[self.method]

    @property
    def sized_twice(self) -> list[float]:
        """norm of each method that has delta_exp, too."""
        return [
            values["norm"]
            for method, values in self.values.items()
            if values["norm"] is not None and self.given("delta_exp", method)
        ]

    def _values(self, method: str) -> dict[str, Any]:
        values = {name: self.value(name, method) for name in PER_METHOD}
        values["trainable"] = tuple(values["trainable"])
        if values["rounding"] == AUTO:
            wide = self.network("weight_bits") >= STOCHASTIC_WEIGHT_BITS
            by_node = values["accumulate"] == "nodes"
            residual = not by_node and (_needs_accumulators(values) or not wide)
            values["rounding"] = "residual" if residual else "stochastic"
        return values

    def _sections(self, method: str) -> tuple[Any, ...]:
        training = self.file.training
        return self.overrides, getattr(training, method), training


def table_rate(layers: Sequence[int]) -> int:
    """What a task with a table adds to the default eta_exp: −1 for up to 32 inputs, then 1 more for
    each doubling, up to 3.

    The slope of the cost by the first layer's weights grows with the inputs' number, so that the
    largest rate at which training is stable falls with it.  Measured by `mgd bench tables`.
    """
    inputs = max(1, layers[0]) if layers else 1
    return min(max((inputs - 1).bit_length() - 6, -1), 3)


def _needs_accumulators(values: Mapping[str, Any]) -> bool:
    """Whether no rounding but residual will do."""
    fine = PERTURBATIONS[values["perturbation"]].frac
    remembers = values["optimizer"] == "adam" or values["momentum_exp"] or values["decay_exp"]
    return values["tau_theta"] > 1 or bool(fine or remembers)


def _first(*values: Any) -> Any:
    """The first that is not None."""
    return next((value for value in values if value is not None), None)


def _given(known: Declaration, *values: Any) -> Any:
    """The first that is not None, or the default."""
    return _first(*values, known.default)
