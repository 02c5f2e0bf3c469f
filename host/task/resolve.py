"""From the values that the user gave to a RunSpec, made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mgd.golden_model import rules as model_rules
from mgd.golden_model.declaration import declarations
from mgd.golden_model.learning import LEARNING
from mgd.golden_model.limits import TAU_MAX
from mgd.golden_model.network import ONE, Network
from mgd.golden_model.perturbations import PERTURBATIONS, number_quantities
from mgd.golden_model.run_spec import CoreSpec, RunSpec
from mgd.golden_model.settings import PIPELINED, Settings, delta_exp_for
from mgd.golden_model.update.shift import update_shift
from mgd.host.data.datasets import default_format
from mgd.host.task import rules
from mgd.host.task.asked import Asked
from mgd.host.task.file import PER_METHOD
from mgd.protocol.core_kinds import KINDS

LANES = 8
"""Of a folded core where none are given, and no more than its widest layer can use."""
SHIFT_HEADROOM = 4
"""The accumulators take this much smaller a step than the task file asks for."""

Values = Mapping[str, Any]


def resolve(asked: Asked) -> RunSpec:
    """The run.  Raises UserError for all that cannot be used, whatever the data are."""
    model_rules.check(rules.ASKED, a=asked)
    values = {method: _sized(asked, method, each) for method, each in asked.values.items()}
    network = _network(asked, values)
    settings = _settings(asked, asked.method, values[asked.method])
    if asked.schedule == PIPELINED:
        late = KINDS[asked.kind].update_delay(network, settings)
        settings = replace(settings, update_delay=late)
    own = values[asked.method]
    lanes = asked.lanes or min(LANES, max(network.layers[1:]))
    return RunSpec(
        network,
        settings,
        CoreSpec(asked.kind, lanes, asked.fixed),
        seed=asked.seed,
        **{name: own[name] for name in declarations(RunSpec) if name in PER_METHOD},
    )


def _sized(asked: Asked, method: str, values: Values) -> Values:
    """`values` with the delta_exp for which the perturbation's length is nearest to norm."""
    if values["norm"] is None:
        return values
    trainable, layers = values["trainable"], asked.file.network.layers
    if trainable and len(trainable) != len(layers) - 1:
        return values  # golden_model.rules.RUN refuses such flags
    perturbed = LEARNING[method].perturbed_of(tuple(layers))
    numbering = number_quantities(perturbed, values["scope"] == "layer", trainable)
    exp = delta_exp_for(values["norm"], values["perturbation"], numbering)
    return {**values, "delta_exp": exp}


def _network(asked: Asked, values: Mapping[str, Values]) -> Network:
    """The network, the same for both methods, so that one core serves either; but a pipelined core
    is built for this task's method alone, without accumulators."""
    section, core = asked.file.network, asked.file.core
    residual = [
        method
        for method, each in values.items()
        if each["rounding"] == "residual"
        and (asked.schedule != PIPELINED or method == asked.method)
    ]
    accumulators = bool(residual) if core.accumulators == "auto" else core.accumulators
    sample_bits, sample_signed, _ = _sample_format(asked)
    widest = TAU_MAX if accumulators else 1
    network = Network(
        layers=tuple(section.layers),
        hidden=asked.network("hidden"),
        output=_output(asked),
        cost=asked.network("cost"),
        smoothing_exp=asked.network("smoothing_exp"),
        weight_bits=asked.network("weight_bits"),
        pre_frac=asked.network("pre_frac"),
        cost_frac=asked.network("cost_frac"),
        sample_bits=sample_bits,
        sample_signed=sample_signed,
        target_low=round(section.target_low * ONE),
        target_high=round(section.target_high * ONE),
        accumulators=accumulators,
        tau_theta_max=widest if core.tau_theta_max is None else core.tau_theta_max,
        targets="value" if asked.regression else "class",
    )
    shifts = [_largest_shift(network, each) for each in values.values()]
    network = replace(network, shift_max=min(32, max(0, *shifts) + SHIFT_HEADROOM))
    if core.tau_theta_max is not None or not accumulators:
        return network
    needed = [
        _settings(asked, method, values[method]).tau_theta_needed(network) for method in residual
    ]
    return replace(network, tau_theta_max=max(needed, default=1))


def _output(asked: Asked) -> str:
    """The output activation; by default that of a regression reaches every target."""
    given = asked.file.network.output
    return "identity" if given is None and asked.regression else asked.network("output")


def _largest_shift(network: Network, values: Values) -> int:
    """Of a run with these values: S, the bits by which accumulators are finer, and the slowest
    learning rate on the way."""
    halvings = values["steps"] // values["halve_every"] if values["halve_every"] else 0
    return (
        update_shift(network, values["eta_exp"], values["delta_exp"])
        + PERTURBATIONS[values["perturbation"]].frac
        + values["momentum_exp"]
        + values["warmup_exp"]
        + halvings
    )


def _settings(asked: Asked, method: str, values: Values) -> Settings:
    """Without update_delay, which takes the network to know."""
    return Settings(
        method=method,
        input_shift=_sample_format(asked)[2],
        **{name: values[name] for name in declarations(Settings) if name in PER_METHOD},
    )


def _sample_format(asked: Asked) -> tuple[int, bool, int]:
    """(sample_bits, sample_signed, input_shift), the source's own where not given."""
    numbers = asked.file.numbers
    return default_format(
        asked.file.data.source, numbers.sample_bits, numbers.sample_signed, numbers.input_shift
    )
