"""A task: one TOML file from which model, core, board and host all take what they need."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mgd.golden_model.errors import UserError
from mgd.golden_model.learning import LEARNING
from mgd.golden_model.network import ONE, TAU_MAX, Network
from mgd.golden_model.perturbations import FAMILIES, number_quantities
from mgd.golden_model.settings import FIRST_VARIANT, METHODS, PIPELINED, Settings, delta_exp_for
from mgd.host.data.datasets import SOURCES, check_options, default_format, prepare, source_digest
from mgd.host.data.prepared import Prepared
from mgd.host.session.base import Samples
from mgd.host.task.errors import to_user_error
from mgd.host.task.file import MethodSection, Overrides, TaskFile
from mgd.host.task.names import find_task, read_task
from mgd.host.task.pipelining import check_schedule
from mgd.protocol.build_options import Variant
from mgd.rtl.fixed_settings import Fixed, fixed_settings
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.timing import update_delay

DEFAULTS: dict[str, Any] = {
    "difference": "antithetic",
    "rounding": "auto",
    "delta_exp": 5,
    "norm": None,
    "tau_x": 1,
    "tau_p": 1,
    "tau_theta": 1,
    "steps": 60_000,
    "target": None,
    "eval_every": 1_000,
    "init_gain": 1.0,
    **{f.name: f.default for f in fields(Settings)[FIRST_VARIANT:] if f.name != "update_delay"},
}
"""Of Plan; update_delay follows from the core."""
DEFAULT_ETA_EXP = {"wp": 13, "np": 9}
LANES = 8

STOCHASTIC_WEIGHT_BITS = 14
"""Below this width stochastic rounding loses too much; the residual is carried instead."""
SHIFT_HEADROOM = 4
"""The accumulators take this much smaller a step than the task file asks for."""
LANE_WORDS_MAX = 1 << 16
"""The link addresses a weight inside its lane in 16 bits."""


@dataclass(frozen=True)
class Plan:
    """Everything in [training] for one method, defaults filled in."""

    difference: str
    rounding: str
    delta_exp: int
    norm: float | None
    """delta_exp follows from it where it is given."""
    eta_exp: int
    perturbation: str
    scope: str
    trainable: tuple[bool, ...]
    gate_zeros: bool
    skip_zeros: bool
    optimizer: str
    momentum_exp: int
    decay_exp: int
    halve_every: int
    warmup_exp: int
    warmup_every: int
    highpass_exp: int
    sample_order: str
    adam_mean_exp: int
    adam_square_exp: int
    resident: int
    passes: int
    accumulate: str
    tau_x: int
    tau_p: int
    tau_theta: int
    steps: int
    target: float | None
    eval_every: int
    init_gain: float

    @property
    def needs_accumulators(self) -> bool:
        """Whether no rounding but residual will do."""
        if self.accumulate == "nodes":
            return False
        fine = FAMILIES[self.perturbation].frac
        kept = self.optimizer == "adam" or self.momentum_exp or self.decay_exp
        return self.tau_theta > 1 or bool(fine or kept)

    @property
    def slowest(self) -> int:
        """By how many powers of two the learning rate gets smaller on the way."""
        return self.warmup_exp + (self.steps // self.halve_every if self.halve_every else 0)


@dataclass(frozen=True)
class Task:
    """A checked task file.  Make one with Task.load; it never changes."""

    file: TaskFile
    origin: str
    """The file's path, or the built-in's name: errors start with it."""
    folder: Path
    """Relative data paths start here."""
    overrides: Overrides = field(default_factory=Overrides)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Task:
        """The built-in task of that name, or the TOML file at that path.

        Raises UserError, one line, for a name that is unknown, a file that cannot be read and
        anything in it that cannot be used.
        """
        path = find_task(name_or_path)
        return cls.parse(read_task(path), origin=str(name_or_path), folder=path.parent)

    @classmethod
    def parse(cls, text: str, origin: str, folder: Path) -> Task:
        """The task in `text`; errors name `origin`, data paths start at `folder`."""
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{origin}: no valid TOML: {error}".replace("\n", " ")) from None
        try:
            task = cls(TaskFile.model_validate(raw), origin, folder)
        except ValidationError as error:
            raise to_user_error(origin, error, TaskFile) from None
        task._check()
        return task

    def with_overrides(self, **values: object) -> Task:
        """This task with other values; None keeps what there is.

        Keys: method, core, schedule, lanes, fixed, steps, target, seed, and every key of
        [training.np].  Raises UserError like load().
        """
        given = {key: value for key, value in values.items() if value is not None}
        if not given:
            return self
        before = self.overrides.model_dump(exclude_none=True)
        try:
            overrides = Overrides.model_validate({**before, **given})
        except ValidationError as error:
            raise to_user_error(f"{self.origin}, overridden", error, Overrides) from None
        task = replace(self, overrides=overrides)
        task._check()
        return task

    # -- what to train ----------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.file.task.name

    @property
    def method(self) -> str:
        """'wp' or 'np'."""
        return self.overrides.method or self.file.training.method

    @property
    def lanes(self) -> int:
        """As given, else LANES or as many as the widest layer can use."""
        widest = max(self._network.layers[1:])
        return _first(self.overrides.lanes, self.file.core.lanes, min(LANES, widest))

    @property
    def core(self) -> str:
        """'folded' or 'spatial'."""
        return self.overrides.core or self.file.core.kind

    @property
    def schedule(self) -> str:
        """'sequential' or 'pipelined'."""
        return self.overrides.schedule or self.file.core.schedule

    def core_config(self) -> CoreConfig | SpatialConfig:
        """The core that trains this task."""
        if self.core == "spatial":
            return SpatialConfig.of(self._network, self.settings(), self.fixed)
        return CoreConfig(self._network, self.lanes, fixed=self.fixed, variant=self.variant)

    @property
    def variant(self) -> Variant:
        """Which of the family of methods a core for this task is built for."""
        return Variant.of(self.settings())

    @property
    def fixed(self) -> Fixed:
        """What is wiring in a core built for this task, and the task's values of it."""
        names = _first(self.overrides.fixed, self.file.core.fixed)
        return fixed_settings(self.settings(), names)

    @property
    def seed(self) -> int:
        """The training seed: initial weights, signs, sample order."""
        return _first(self.overrides.seed, self.file.training.seed)

    @property
    def steps(self) -> int:
        return self.plan().steps

    @property
    def target(self) -> float | None:
        """Training stops at the first evaluation with at least this test accuracy."""
        return self.plan().target

    @property
    def eval_every(self) -> int:
        """Steps between evaluations."""
        return self.plan().eval_every

    @property
    def init_gain(self) -> float:
        """Factor on the initial weights."""
        return self.plan().init_gain

    def plan(self, method: str | None = None) -> Plan:
        """The training values for `method` (this task's by default).

        Override, then [training.<method>], then [training], then the default.
        """
        method = method or self.method
        layers = self._layers(method)
        defaults = {**DEFAULTS, "eta_exp": DEFAULT_ETA_EXP[method]}
        values = {
            key: _first(*(getattr(layer, key) for layer in layers), default)
            for key, default in defaults.items()
        }
        values["trainable"] = tuple(values["trainable"])
        if values["norm"] is not None:
            if any(layer.delta_exp is not None for layer in layers):
                raise UserError(
                    f"norm = {values['norm']:g} beside delta_exp: each says how "
                    "large the perturbation is; give one of them"
                )
            values["delta_exp"] = self._delta_exp(method, values)
        plan = Plan(**values)
        if plan.rounding == "auto":
            wide = self.file.numbers.weight_bits >= STOCHASTIC_WEIGHT_BITS
            narrow = not wide and plan.accumulate == "weights"
            residual = plan.needs_accumulators or narrow
            plan = replace(plan, rounding="residual" if residual else "stochastic")
        return plan

    def _layers(self, method: str) -> tuple[MethodSection, ...]:
        """What may say a training value, the first that does so decides."""
        training = self.file.training
        return self.overrides, getattr(training, method), training

    @property
    def asked_rounding(self) -> str:
        """rounding as it is given, where Plan's follows from 'auto'."""
        asked = (layer.rounding for layer in self._layers(self.method))
        return _first(*asked, DEFAULTS["rounding"])

    def _delta_exp(self, method: str, values: dict[str, Any]) -> int:
        """The exponent of the perturbation whose whole length is nearest to norm."""
        trainable = values["trainable"]
        layers = self.file.network.layers
        if trainable and len(trainable) != len(layers) - 1:
            return DEFAULTS["delta_exp"]  # Settings.check tells about the flags
        perturbed = LEARNING[method].perturbed_of(tuple(layers))
        numbering = number_quantities(perturbed, values["scope"] == "layer", trainable)
        return delta_exp_for(values["norm"], values["perturbation"], numbering)

    # -- what it is made of -----------------------------------------------------------------

    def network(self) -> Network:
        """The network, the same for both methods, so that one core serves either; but what a
        pipelined core is built for is this task's method alone, without accumulators."""
        return self._network

    @cached_property
    def _network(self) -> Network:
        section, numbers, core = self.file.network, self.file.numbers, self.file.core
        plans = {method: self.plan(method) for method in METHODS}
        residual = [
            method
            for method, plan in plans.items()
            if plan.rounding == "residual" and (self.schedule != PIPELINED or method == self.method)
        ]
        accumulators = bool(residual) if core.accumulators == "auto" else core.accumulators
        sample_bits, sample_signed, _ = self._sample_format
        fine = numbers.cost_frac + 1 - (numbers.weight_bits - 4)
        shifts = [
            fine + plan.eta_exp - plan.delta_exp + FAMILIES[plan.perturbation].frac
            + plan.momentum_exp + plan.slowest
            for plan in plans.values()
        ]  # fmt: skip
        network = Network(
            layers=tuple(section.layers),
            hidden=section.hidden,
            output=section.output,
            cost=section.cost,
            smoothing_exp=section.smoothing_exp,
            weight_bits=numbers.weight_bits,
            pre_frac=numbers.pre_frac,
            cost_frac=numbers.cost_frac,
            sample_bits=sample_bits,
            sample_signed=sample_signed,
            target_low=round(section.target_low * ONE),
            target_high=round(section.target_high * ONE),
            accumulators=accumulators,
            tau_theta_max=_first(core.tau_theta_max, TAU_MAX if accumulators else 1),
            shift_max=min(32, max(0, *shifts) + SHIFT_HEADROOM),
        )
        if core.tau_theta_max is not None or not accumulators:
            return network
        needed = [self._settings(method).tau_theta_needed(network) for method in residual]
        return replace(network, tau_theta_max=max(needed, default=1))

    @property
    def _sample_format(self) -> tuple[int, bool, int]:
        """(sample_bits, sample_signed, input_shift), the source's own where not given."""
        numbers = self.file.numbers
        return default_format(
            self.file.data.source, numbers.sample_bits, numbers.sample_signed, numbers.input_shift
        )

    def settings(self) -> Settings:
        """The run-time registers for this task's method; update_delay is what its core has."""
        return self._settings_made

    @cached_property
    def _settings_made(self) -> Settings:
        settings = self._settings(self.method)
        if self.schedule != PIPELINED:
            return settings
        return replace(settings, update_delay=update_delay(self._network, settings))

    def _settings(self, method: str) -> Settings:
        """Without update_delay, which takes the network to know."""
        plan = self.plan(method)
        names = {f.name for f in fields(Plan)} & {f.name for f in fields(Settings)}
        return Settings(
            method=method,
            input_shift=self._sample_format[2],
            **{name: getattr(plan, name) for name in names},
        )

    def datasets(self) -> tuple[Samples, Samples]:
        """(training, test) samples.  The split is fixed by [data] seed; the training samples
        are put into the order that the training seed draws.

        Raises UserError for data that is missing, broken or does not fit the network.
        """
        return self.prepared.train, self.prepared.test

    @cached_property
    def prepared(self) -> Prepared:
        """The data sets with class names, scaling and remarks about the data."""
        return prepare(self.file.data, self._network, self.folder, self.origin, self.seed)

    def whole(self) -> Task:
        """This task with all training samples resident, for what uses a few of them only."""
        return self.with_overrides(resident=0, passes=1)

    def config_digest(self) -> str:
        """Hexadecimal SHA-256 of all that decides a run's result except its seed.

        Backend and lane count are not part of it: they change no result.  Runs with equal
        digests are one experiment and may be averaged.
        """
        data = self.file.data.model_dump(exclude_none=True)
        source = self.folder / self.file.data.source
        if self.file.data.source not in SOURCES:
            try:
                data["source"] = source_digest(source, self.file.data.source)
            except (OSError, UserError):
                data["source"] = source.name
        parts = {
            "network": asdict(self._network),
            "settings": told(self.settings()),
            "plan": told(self.plan()),
            "data": data,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    # -- checks -----------------------------------------------------------------------------

    def _check(self) -> None:
        try:
            check_options(self.file.data)
            check_schedule(self)
            network = self._network
            self.settings().check(network)
            if self.core == "spatial" and self.overrides.lanes is not None:
                raise UserError(
                    f"lanes = {self.overrides.lanes} with core = 'spatial': every synapse is a "
                    "circuit there, and there are no lanes; leave lanes out"
                )
            words = self.core_config().lane_words
            if words > LANE_WORDS_MAX:
                raise UserError(
                    f"[network] layers = {list(network.layers)} with lanes = {self.lanes}: "
                    f"{words} weights in a lane, the link addresses {LANE_WORDS_MAX}; use smaller "
                    "layers or more lanes"
                )
        except UserError as error:
            raise UserError(f"{self.origin}: {error}") from None


def told(values: Settings | Plan) -> dict[str, Any]:
    """The fields of `values`, those of variants only where they have not their default: a
    variant that is added later leaves the digests of all others as they were."""
    later = {f.name: f.default for f in fields(Settings)[FIRST_VARIANT:]} | {"norm": None}
    return {k: v for k, v in asdict(values).items() if k not in later or v != later[k]}


def _first(*values: Any) -> Any:
    """The first that is not None."""
    return next((value for value in values if value is not None), None)
