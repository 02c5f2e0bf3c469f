"""The task file: its sections, keys, types and limits.  What they mean is in host.task.task."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mgd.golden_model.network import ACT_FRAC, DELTA_EXP_MAX, TAU_MAX
from mgd.golden_model.perturbations import FAMILIES
from mgd.golden_model.samples.window import RESIDENT_MAX
from mgd.golden_model.settings import STEPS_MAX
from mgd.host.task.errors import near
from mgd.protocol.link_protocol import FIXABLE

Seed = Annotated[int, Field(ge=0, le=(1 << 63) - 1)]
Steps = Annotated[int, Field(ge=1, le=STEPS_MAX)]


def _auto_or_bool(value: object) -> object:
    if value is True or value is False or value == "auto":
        return value
    raise ValueError('must be true, false or "auto"')


def _family(value: str) -> str:
    if value in FAMILIES:
        return value
    raise ValueError(f"must be one of {', '.join(FAMILIES)}{near(value, FAMILIES)}")


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


class Section(BaseModel):
    """Keys that are not listed are refused; "3" is no number and true is no 1."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TaskSection(Section):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Names the run folder, so only letters, digits, '_', '.' and '-'."""


class DataSection(Section):
    source: str
    """A generator's name, or the path of a .csv or .npz file or, with a / at its end, of a folder
    of IDX files, relative to the task file."""
    variant: Literal["easy", "full"] | None = None
    """nist7x7 only."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Part of the samples that is kept for testing; 0.2 where the source has no test set."""
    test_samples: Annotated[int, Field(ge=1)] | None = None
    """Only so many of the test set, drawn by `seed`: samples to evaluate must be streamed, too."""
    seed: Seed = 0
    """Draws the split and generated noise.  Apart from the training seed, so that every
    training seed is judged on the same test set."""
    label_column: Annotated[int | str, BeforeValidator(_column)] | None = None
    """CSV only; the last column by default."""


class NetworkSection(Section):
    layers: list[int]
    hidden: str = "tanh"
    output: str = "tanh"
    cost: str = "mse"
    smoothing_exp: int = 0
    target_low: float = Field(default=-1.0, ge=-2, lt=2)
    target_high: float = Field(default=1.0, ge=-2, lt=2)


class NumbersSection(Section):
    """The widths; golden_model.network.Network checks them."""

    weight_bits: int = 16
    pre_frac: int = 12
    cost_frac: int = 12
    sample_bits: int | None = None
    sample_signed: bool | None = None
    input_shift: Annotated[int, Field(ge=0, le=ACT_FRAC)] | None = None


class MethodSection(Section):
    """[training.wp] and [training.np]: what differs from [training] for one method."""

    difference: Literal["antithetic", "forward", "highpass"] | None = None
    rounding: Literal["auto", "stochastic", "residual"] | None = None
    delta_exp: Annotated[int, Field(ge=1, le=DELTA_EXP_MAX)] | None = None
    eta_exp: Annotated[int, Field(ge=0, le=31)] | None = None
    norm: Annotated[float, Field(gt=0)] | None = None
    """Length of the whole perturbation, in place of delta_exp: m of McCaughan et al. 2023."""
    perturbation: Annotated[str, AfterValidator(_family)] | None = None
    scope: Literal["network", "layer"] | None = None
    trainable: list[bool] | None = None
    """A flag per layer of weights."""
    gate_zeros: bool | None = None
    skip_zeros: bool | None = None
    optimizer: Literal["sgd", "adam"] | None = None
    momentum_exp: Annotated[int, Field(ge=0, le=16)] | None = None
    decay_exp: Annotated[int, Field(ge=0, le=31)] | None = None
    halve_every: Annotated[int, Field(ge=0, le=STEPS_MAX)] | None = None
    warmup_exp: Annotated[int, Field(ge=0, le=31)] | None = None
    warmup_every: Steps | None = None
    highpass_exp: Annotated[int, Field(ge=1, le=16)] | None = None
    sample_order: Literal["cycle", "epoch", "random"] | None = None
    resident: Annotated[int, Field(ge=0, le=RESIDENT_MAX)] | None = None
    """Training samples in the core's memory at a time; 0: all of them."""
    passes: Annotated[int, Field(ge=1, le=RESIDENT_MAX)] | None = None
    """Passes over a resident sample."""
    accumulate: Literal["weights", "nodes"] | None = None
    """What sums up over tau_theta steps: each weight, or each node while its sample stays."""
    adam_mean_exp: Annotated[int, Field(ge=0, le=16)] | None = None
    adam_square_exp: Annotated[int, Field(ge=0, le=16)] | None = None
    tau_x: Annotated[int, Field(ge=1, le=TAU_MAX)] | None = None
    tau_p: Annotated[int, Field(ge=1, le=TAU_MAX)] | None = None
    tau_theta: Annotated[int, Field(ge=1, le=TAU_MAX)] | None = None
    steps: Steps | None = None
    target: Annotated[float, Field(gt=0, le=1)] | None = None
    eval_every: Steps | None = None
    init_gain: Annotated[float, Field(gt=0, le=8)] | None = None


class TrainingSection(MethodSection):
    method: Literal["wp", "np"] = "np"
    seed: Seed = 1
    wp: MethodSection = MethodSection()
    np: MethodSection = MethodSection()


class CoreSection(Section):
    kind: Literal["folded", "spatial"] = "folded"
    """folded: the network in turns on a few lanes.  spatial: a circuit for every synapse."""
    schedule: Literal["sequential", "pipelined"] = "sequential"
    """sequential: a step is measured with the weights that the update before it has made.
    pipelined, of a spatial core: a step never waits, and sees updates some 30 steps late."""
    lanes: Annotated[int, Field(ge=1, le=256)] | None = None
    """The link addresses a lane in 8 bits.  8, or the widest layer's nodes if that has fewer."""
    accumulators: Annotated[bool | Literal["auto"], BeforeValidator(_auto_or_bool)] = "auto"
    tau_theta_max: Annotated[int, Field(ge=1, le=TAU_MAX)] | None = None
    fixed: list[Fixable] = []
    """Settings that are wiring in a core built for this task: it takes no others, and fewer
    cells."""


class TaskFile(Section):
    task: TaskSection
    data: DataSection
    network: NetworkSection
    numbers: NumbersSection = NumbersSection()
    training: TrainingSection = TrainingSection()
    core: CoreSection = CoreSection()


class Overrides(MethodSection):
    """What the command line or a program may change in a task that is already loaded."""

    method: Literal["wp", "np"] | None = None
    core: Literal["folded", "spatial"] | None = None
    schedule: Literal["sequential", "pipelined"] | None = None
    seed: Seed | None = None
    lanes: Annotated[int, Field(ge=1, le=256)] | None = None
    fixed: list[Fixable] | None = None
