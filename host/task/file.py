"""The task file: its sections, keys, types and limits; host.task.resolve makes the run of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from mgd.golden_model.declaration import Declaration, declarations
from mgd.golden_model.limits import TAU_MAX
from mgd.golden_model.network import Network
from mgd.golden_model.run_spec import CoreSpec, RunSpec
from mgd.golden_model.settings import METHODS, PIPELINED, SEQUENTIAL, Settings
from mgd.host.data.encoding import SCALINGS
from mgd.host.task.errors import near
from mgd.host.task.keys import key_type, section
from mgd.protocol.core_kinds import KINDS
from mgd.protocol.fixed_settings import FIXABLE

NETWORK, CORE = declarations(Network), declarations(CoreSpec)
TRAINING: dict[str, Declaration] = declarations(Settings) | declarations(RunSpec)
"""All that is declared of a run, by name."""
PER_METHOD = {name: known for name, known in TRAINING.items() if known.per_method}
"""The keys of [training], [training.wp] and [training.np]."""

Method = key_type(TRAINING["method"])
Seed = key_type(TRAINING["seed"])
Kind = Literal[tuple(KINDS)]
Lanes = key_type(CORE["lanes"])
Schedule = Literal[SEQUENTIAL, PIPELINED]


def _auto_or_bool(value: object) -> object:
    if value is True or value is False or value == "auto":
        return value
    raise ValueError('must be true, false or "auto"')


def _fixable(value: str) -> str:
    if value in FIXABLE:
        return value
    raise ValueError(f"must be one of {', '.join(FIXABLE)}{near(value, FIXABLE)}")


Fixable = Annotated[str, AfterValidator(_fixable)]


def _column(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(
        "must be a column number (0 is the first, -1 the last) or a name from the header in quotes"
    )


def _columns(value: object) -> object:
    if isinstance(value, list):
        for each in value:
            _column(each)
        if not value:
            raise ValueError("must name a column, such as ['id']")
        return value
    return _column(value)


def _list_of_columns(value: object) -> object:
    if not isinstance(value, list):
        raise ValueError("must be a list of column names or numbers, such as ['id'] or [0]")
    return _columns(value)


Columns = Annotated[list[int | str], BeforeValidator(_list_of_columns)]
Sign = Annotated[str, Field(min_length=1, max_length=1)]


class Section(BaseModel):
    """Keys that are not listed are refused; "3" is no number and true is no 1."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TaskSection(Section):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Names the run folder, so only letters, digits, '_', '.' and '-'."""


class DataSection(Section):
    source: str
    """A generator's name, or the path of a table (CSV, NPZ, Parquet) or, with a / at its end, of a
    folder of IDX files, relative to the task file."""
    variant: Literal["easy", "full"] | None = None
    """nist7x7 only."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Part of the samples that is reserved for testing; 0.2 where the source has no test set."""
    test_samples: Annotated[int, Field(ge=1)] | None = None
    """Only so many of the test set, drawn by `seed`: samples to evaluate must be streamed, too."""
    seed: Seed = 0
    """Draws the split and generated noise.  Apart from the training seed, so that every
    training seed is judged on the same test set."""
    label_column: Annotated[int | str | list[int | str], BeforeValidator(_columns)] | None = None
    """CSV and Parquet; the last column by default.  A list: the targets of a regression."""
    task: Literal["classification", "regression"] | None = None
    """Tables only.  Whether labels are names of classes or numbers to approach; by default what
    host.data.reading.is_regression finds."""
    test_source: str | None = None
    """Tables only: a file with the test samples."""
    validation_fraction: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Part of the samples that decides when to stop and which weights are kept; 0.1 of a table
    with 100 samples or more, 0 of everything else."""
    stratify: bool | None = None
    """Tables only.  Whether every class has its part of the test and validation samples; true."""
    ignore: Columns | None = None
    """Tables only: columns that are no inputs."""
    categorical: Columns | None = None
    """CSV and Parquet: columns that are names although they look like numbers."""
    scaling: Literal[SCALINGS] | None = None
    """Tables only: host.data.encoding.Scaling.fit."""
    missing: Literal["drop", "mean"] | None = None
    """Tables only.  Samples with missing cells: left out, or filled with the column's mean."""
    decimal: Sign | None = None
    """CSV only: the decimal sign; a point by default."""
    thousands: Sign | None = None
    """CSV only: the sign between thousands; none by default."""
    encoding: str | None = None
    """CSV only: UTF-8 by default, or what a byte order mark says."""


_NetworkKeys: Any = section(
    "_NetworkKeys",
    Section,
    (NETWORK[name] for name in ("hidden", "output", "cost", "smoothing_exp")),
    __name__,
)
_NumbersKeys: Any = section(
    "_NumbersKeys",
    Section,
    (
        *(NETWORK[n] for n in ("weight_bits", "pre_frac", "cost_frac")),
        *(NETWORK[n] for n in ("sample_bits", "sample_signed")),
        TRAINING["input_shift"],
    ),
    __name__,
)


class NetworkSection(_NetworkKeys):
    """The keys that golden_model.network.Network declares, and those of other units here."""

    layers: list[int]
    target_low: float = Field(default=-1.0, ge=-2, lt=2)
    target_high: float = Field(default=1.0, ge=-2, lt=2)


class NumbersSection(_NumbersKeys):
    """The widths, as golden_model.network.Network declares them."""


MethodSection: Any = section("MethodSection", Section, PER_METHOD.values(), __name__)
"""[training.wp] and [training.np]: the values that differ from [training] for one method."""


_by_method: dict[str, Any] = {method: (MethodSection, MethodSection()) for method in METHODS}
_MethodSections: Any = create_model(
    "_MethodSections", __base__=MethodSection, __module__=__name__, **_by_method
)


class TrainingSection(_MethodSections):
    method: Method | None = None
    seed: Seed | None = None


class CoreSection(Section):
    kind: Kind | None = None
    schedule: Schedule = SEQUENTIAL
    """sequential: a step is measured with the weights that the update before it has made.
    pipelined, of a spatial core: a step never waits, and sees updates some 30 steps late."""
    lanes: Lanes | None = None
    """8, or the widest layer's nodes if that has fewer."""
    accumulators: Annotated[bool | Literal["auto"], BeforeValidator(_auto_or_bool)] = "auto"
    tau_theta_max: Annotated[int, Field(ge=1, le=TAU_MAX)] | None = None
    fixed: list[Fixable] = []
    """Settings that are constants in a core built for this task: it takes no other values, and
    fewer cells."""


class TaskFile(Section):
    task: TaskSection
    data: DataSection
    network: NetworkSection
    numbers: NumbersSection = NumbersSection()
    training: TrainingSection = TrainingSection()
    core: CoreSection = CoreSection()


class Overrides(MethodSection):
    """The values that the command line or a program may change in a loaded task."""

    method: Method | None = None
    core: Kind | None = None
    schedule: Schedule | None = None
    seed: Seed | None = None
    lanes: Lanes | None = None
    fixed: list[Fixable] | None = None
