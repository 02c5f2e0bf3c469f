"""Refusals of a task, as rows, beyond its keys' limits and golden_model.rules.

=========== ===================================================================================
ASKED       `a`, the values in a task file and its overrides (host.task.asked.Asked)
CORE        `run`, the RunSpec that follows from them, and the layout of its core (`core`)
CHECKPOINTS checkpoints `every` so many steps of a run, and the `period` that does not change it
=========== ===================================================================================
"""

from __future__ import annotations

from typing import Any

from mgd.golden_model.perturbations import PERTURBATIONS
from mgd.golden_model.rules import Rule
from mgd.golden_model.settings import PIPELINED, SEQUENTIAL
from mgd.host.task.keys import AUTO
from mgd.protocol.core_kinds import KINDS
from mgd.protocol.framing import LANE_WORDS_MAX

_ASKED = f"with schedule = '{PIPELINED}'"


def _pipelined(a: Any) -> bool:
    return a.schedule == PIPELINED


def _needs_accumulator(name: str, needs: Any) -> Rule:
    return Rule(
        f"pipelined-{name}",
        lambda a: _pipelined(a) and needs(a.own[name]) and {"value": a.own[name]},
        f"{name} = {{value!r}} {_ASKED}: it needs an accumulator for every weight, and there are "
        "none",
        f"use the folded core, or leave {name} out",
    )


def _needless(name: str, asked: Any) -> Rule:
    return Rule(
        f"pipelined-{name}",
        lambda a: _pipelined(a) and asked(a.file.core) and {"text": asked(a.file.core)},
        f"{name} = {{text}} {_ASKED}: the update of every step is made by itself and there are no "
        "accumulators",
        f"leave {name} out, or use schedule = '{SEQUENTIAL}'",
    )


ASKED = (
    Rule(
        "norm-beside-delta-exp",
        lambda a: a.sized_twice and {"norm": a.sized_twice[0]},
        "norm = {norm:g} beside delta_exp: each says how large the perturbation is",
        "give one of them",
    ),
    Rule(
        "pipelined-folded",
        lambda a: _pipelined(a) and not KINDS[a.kind].pipelines,
        f"schedule = '{PIPELINED}' with core = {{a.kind!r}}: only where every synapse is a circuit "
        "can a step enter in each clock",
        'use --core spatial (kind = "spatial" in [core]), or ' + f"schedule = '{SEQUENTIAL}'",
    ),
    Rule(
        "pipelined-tau-theta",
        lambda a: _pipelined(a) and a.own["tau_theta"] != 1 and {"steps": a.own["tau_theta"]},
        f"tau_theta = {{steps}} {_ASKED}: the update of every step is made by itself and nothing "
        "is summed up",
        f"set tau_theta = 1, or schedule = '{SEQUENTIAL}'",
    ),
    _needs_accumulator("perturbation", lambda value: PERTURBATIONS[value].frac),
    _needs_accumulator("optimizer", lambda value: value != "sgd"),
    _needs_accumulator("momentum_exp", bool),
    _needs_accumulator("decay_exp", bool),
    Rule(
        "pipelined-narrow-weights",
        lambda a: (
            _pipelined(a)
            and a.own["rounding"] == "residual"
            and a.value("rounding") == AUTO
            and {"bits": a.network("weight_bits")}
        ),
        f"weight_bits = {{bits}} {_ASKED}: weights so narrow carry the bits that rounding drops in "
        "accumulators, and there are none",
        "use 16 bits, or rounding = 'stochastic'",
    ),
    _needless("accumulators", lambda core: core.accumulators is True and "true"),
    _needless("tau_theta_max", lambda core: (core.tau_theta_max or 1) > 1 and core.tau_theta_max),
    Rule(
        "lanes-unfolded",
        lambda a: not KINDS[a.kind].folds and a.overrides.lanes is not None,
        "lanes = {a.overrides.lanes} with core = {a.kind!r}: every synapse is a circuit there, and "
        "there are no lanes",
        "leave lanes out",
    ),
)

CORE = (
    Rule(
        "lane-words",
        lambda run, core: core.lane_words > LANE_WORDS_MAX and {"layers": list(run.network.layers)},
        "[network] layers = {layers} with lanes = {run.core.lanes}: {core.lane_words} weights in a "
        f"lane, the link addresses {LANE_WORDS_MAX}",
        "use smaller layers or more lanes",
    ),
)

CHECKPOINTS = (
    Rule(
        "checkpoint-period",
        lambda every, period, parts: every % period,
        f"--checkpoint-every {{every}} {_ASKED}: a checkpoint makes the updates under way, and "
        "between two evaluations that would change the run",
        "use a multiple of {period} ({parts})",
    ),
)

GROUPS = {"asked": ASKED, "core": CORE, "checkpoints": CHECKPOINTS}
