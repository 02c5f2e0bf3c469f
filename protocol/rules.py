"""Refusals of a core's build, and of a run on a core that is built, as rows.

============== ================================================================================
OPTIONS        `s`, build options by themselves (protocol.build_options.BuildOptions)
OPTIONS_MASK   `o`, build options, for the network `n`; the identity record can mark `most` layers
FIXED_NAMES    `names` of settings to fix, of those that are `fixable`
FIXED          `fixed`, pairs of a name and a value; `fixable`; `named`, the values of settings that
               have names; `most`, the largest number that can be fixed
FOLDED         `c`, the layout of a folded core
SPATIAL        `c`, the layout of a spatial core
SPATIAL_OF     `n` and `s`: a spatial core is to be built for settings on a network
CAPABILITIES   `n` and `s`; `missing`, the settings that no core supports; `most`, the largest
               eta_exp that a register holds
OPTIONS_TAKE   `o`, the options of a core that is built, and the settings `s` of a run on it
FIXED_TAKE     `c`, a core that is built, and the settings `s` of a run on it
FOLDED_TAKE    the same where it is a folded core
CONSTANTS_TAKE the same where it is a spatial core
SHIFT_TAKE     the same where it is a spatial core
RATE           `n` and `s`: a run on a spatial core
PERIOD         a run with settings `s` goes on at `step`, within a `period` of the time constant
               `name`, on a core with these settings `fixed`
============== ================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgd.golden_model.declaration import declarations
from mgd.golden_model.rules import SKIP_ZEROS, Rule, as_toml
from mgd.golden_model.run_spec import CoreSpec
from mgd.golden_model.settings import Settings

PARAMETERS_MAX = 4096
"""Of a spatial core, far beyond what an FPGA holds: a mistake is refused before it takes all
memory."""
FOLDED_ONLY = {
    "scope": "it measures all layers' changes at once, in one clock",
    "perturbation": "its synapses have random signs",
    "gate_zeros": "its synapses do not keep whether they had an input",
    "skip_zeros": "it visits no weight by itself, and has nothing to skip",
    "sample_order": "its samples follow each other in memory",
    "difference": "it has no filter for its costs",
    "momentum_exp": "its synapses take all that their accumulators have",
    "decay_exp": "its synapses take all that their accumulators have",
    "accumulate": "each of its synapses has an update term of its own",
}
"""Build options that a spatial core does not support, and why."""

LANES = declarations(CoreSpec)["lanes"].allowed

# -- a build by itself --------------------------------------------------------------------------

OPTIONS = (
    SKIP_ZEROS,
    Rule(
        "by-layer-perturbation",
        lambda s: s.by_layer and s.perturbation != "random",
        "perturbation = {s.perturbation!r} with scope = 'layer': a core numbers the quantities of "
        "all layers in one",
        "use scope = 'network' or perturbation = 'random'",
    ),
    *(
        Rule(
            f"node-sums-{name.replace('_', '-')}-in-gates",
            lambda s, name=name, plain=plain: (
                s.by_node and getattr(s, name) != plain and {"value": as_toml(getattr(s, name))}
            ),
            f"{name} = {{value}} with accumulate = 'nodes': {why}",
            f"use {name} = {as_toml(plain)}, accumulate = 'weights' or --backend golden",
        )
        for name, plain, why in (
            ("perturbation", "random", "the lanes keep a sign for each node, and no other value"),
            ("scope", "network", "the lanes add one delta cost per step to their nodes' sums"),
            ("skip_zeros", False, "the sweep that changes weights goes by all inputs"),
        )
    ),
)

OPTIONS_MASK = (
    Rule(
        "mask-too-short",
        lambda o, n, most: o.trainable and n.depth > most,
        "trainable with {n.depth} layers of weights: the identity record can mark {most} of them",
        "use fewer layers or --backend golden",
    ),
)

FIXED_NAMES = (
    Rule(
        "fixed-unknown",
        lambda names, fixable: _first(
            {"name": n, "known": ", ".join(fixable)} for n in names if n not in fixable
        ),
        "fixed = {name!r}: no such setting can be fixed",
        "there are {known}",
    ),
)

FIXED = (
    Rule(
        "fixed-twice",
        lambda fixed, fixable, **_: _first(
            {"name": name, "known": ", ".join(fixable)}
            for name, value in fixed
            if name not in fixable or dict(fixed)[name] != value
        ),
        "fixed = {name!r}: it cannot be fixed in this core, or stands there twice",
        "give each of {known} once at most",
    ),
    Rule(
        "fixed-name",
        lambda fixed, named, **_: _first(
            {"name": name, "value": value, "known": ", ".join(named[name])}
            for name, value in fixed
            if name in named and value not in named[name]
        ),
        "{name} = {value!r} is to be fixed: no core has it so",
        "{name} must be one of {known}",
    ),
    Rule(
        "fixed-number",
        lambda fixed, named, most, **_: _first(
            {"name": name, "value": value}
            for name, value in fixed
            if name not in named and not 0 <= int(value) <= most
        ),
        "{name} = {value} is to be fixed: at most {most:,} can be, the largest number in the "
        "board's identity record",
        "leave {name} a register",
    ),
)


def _without_accumulators(name: str) -> Rule:
    return Rule(
        f"{name}-on-core-without-accumulators",
        lambda c: not c.network.accumulators and getattr(c.variant, name),
        f"{name} = {{c.variant.{name}}} without accumulators: it works on what they hold",
        "set accumulators = true in the task's [core] section",
    )


def _fixed_beside_option(c: Any) -> Mapping[str, Any] | None:
    plain = type(c.variant)()
    if not c.fixed or c.variant == plain:
        return None
    name = next(n for n in type(c.variant).names() if getattr(c.variant, n) != getattr(plain, n))
    return {
        "names": ", ".join(name for name, _ in c.fixed),
        "option": name,
        "value": as_toml(getattr(c.variant, name)),
    }


FOLDED = (
    Rule(
        "lanes-range",
        lambda c: not LANES.allows(c.lanes),
        f"lanes = {{c.lanes}}: must be {LANES}",
        "lower lanes, or leave them out",
    ),
    Rule(
        "lanes-idle",
        lambda c: (
            c.lanes > max(c.network.layers[1:])
            and {"shape": c.network.describe(), "widest": max(c.network.layers[1:])}
        ),
        "lanes = {c.lanes}: the widest layer of {shape} has {widest} neurons, more lanes would "
        "never work",
        "lower lanes",
    ),
    Rule(
        "fixed-beside-option",
        _fixed_beside_option,
        "fixed = {names} with {option} = {value}: a core that is built for that has no setting "
        "fixed",
        "leave fixed out",
    ),
    Rule(
        "fractions-on-core-without-accumulators",
        lambda c: c.variant.value_frac and not c.network.accumulators,
        "perturbation = {c.variant.perturbation!r} on a core without accumulators: its values are "
        "parts of a sign, which whole weight units do not have",
        "set accumulators = true in the task's [core] section",
    ),
    Rule(
        "node-sums-beside-accumulators",
        lambda c: c.variant.by_node and c.network.accumulators,
        "accumulate = 'nodes' on a core with accumulators: its weights have none",
        "set accumulators = false in the task's [core] section",
    ),
    _without_accumulators("momentum_exp"),
    _without_accumulators("decay_exp"),
)

SPATIAL = (
    Rule(
        "spatial-too-large",
        lambda c: (
            c.network.parameters > PARAMETERS_MAX
            and {"shape": c.network.describe(), "count": c.network.parameters}
        ),
        "core = 'spatial': {shape} has {count:,} parameters, each would be a circuit of its own, "
        f"and {PARAMETERS_MAX:,} are the limit",
        "use the folded core, which takes its weights from memory",
    ),
)


def _rate_changes(name: str) -> Rule:
    return Rule(
        f"spatial-{name}",
        lambda n, s: n.accumulators and getattr(s, name),
        f"{name} = {{s.{name}}}: the accumulators of a spatial core hold what the weights leave "
        "over in units of one learning rate, so it cannot change in a run",
        f"use the folded core, rounding = 'stochastic', or leave {name} out",
    )


def _folded_only(name: str, why: str) -> Rule:
    plain = declarations(Settings)[name].default
    return Rule(
        f"spatial-{name}",
        # Of the difference only the filter is a build option: forward and antithetic are not.
        lambda n, s: (
            (s.continuous if name == "difference" else getattr(s, name) != plain)
            and {"value": as_toml(getattr(s, name))}
        ),
        f"{name} = {{value}} with core = 'spatial': {why}",
        f"use the folded core, or {name} = {as_toml(plain)}",
    )


RATE = tuple(map(_rate_changes, ("halve_every", "warmup_exp")))
SPATIAL_OF = (
    *RATE,
    Rule(
        "spatial-stochastic-accumulators",
        lambda n, s: n.accumulators and not s.accumulates,
        "core = 'spatial' with accumulators and rounding = 'stochastic': its weights take from "
        "their accumulators alone",
        "use rounding = 'residual', or accumulators = false",
    ),
    *(_folded_only(name, why) for name, why in FOLDED_ONLY.items()),
)

CAPABILITIES = (
    Rule(
        "no-core",
        lambda missing, **_: missing and {"name": missing[0][0], "value": as_toml(missing[0][1])},
        "{name} = {value}: no core has it yet, only the golden model does",
        "train with --backend golden, or leave {name} out of the task file",
    ),
    Rule(
        "rate-below-register",
        lambda n, s, most, **_: _slowest_rate(n, s, most),
        "{name} = {value}: with shift_max = {n.shift_max} the learning rate may be 2^-{slowest}, "
        "and a core's register ends at 2^-{most}",
        "lower shift_max to {lower} or leave {name} out",
    ),
)


def _slowest_rate(n: Any, s: Any, most: int) -> Mapping[str, Any] | None:
    name, slowest = "warmup_exp", s.eta_exp_at(0, n)
    if s.halve_every:
        name, slowest = "halve_every", s.eta_exp + n.shift_max - s.shift(n)
    if slowest <= most:
        return None
    lower = n.shift_max - slowest + most
    return {"name": name, "value": getattr(s, name), "slowest": slowest, "lower": lower}


# -- a run on a core that is built --------------------------------------------------------------

OPTIONS_TAKE = (
    Rule(
        "built-for-option",
        lambda o, s: o.mismatch(s),
        "{name} = {wanted}: this core was built for {built}, which is a constant there",
        "build it for this task",
    ),
)
FIXED_TAKE = (
    Rule(
        "rate-fixed",
        lambda c, s: "eta_exp" in dict(c.fixed) and (s.halve_every or s.warmup_exp),
        "halve_every or warmup_exp: the learning rate changes, and this core was built with "
        "eta_exp fixed",
        "build it without eta_exp among its fixed settings",
    ),
    Rule(
        "built-for-fixed",
        lambda c, s: _first(
            {"name": name, "wanted": getattr(s, name), "built": built}
            for name, built in c.fixed
            if getattr(s, name) != built
        ),
        "{name} = {wanted!r}: this core was built for {built!r}, which is a constant there",
        "build it with another one, or without {name} among its fixed settings",
    ),
)
FOLDED_TAKE = (
    Rule(
        "late-updates-folded",
        lambda c, s: s.update_delay,
        "updates that are {s.update_delay} steps late (schedule = 'pipelined') on a folded core: "
        "it makes each update in the sweep of the next step",
        "use core = 'spatial', or schedule = 'sequential'",
    ),
)


def _other_constant(c: Any, s: Any) -> Mapping[str, Any] | None:
    built = {
        "method": "np" if c.nodes else "wp",
        "difference": "antithetic" if c.antithetic else "forward",
        "input_shift": c.input_shift,
        "rounding": "residual" if c.network.accumulators else "stochastic",
    }
    return _first(
        {"name": name, "built": value, "wanted": getattr(s, name)}
        for name, value in built.items()
        if getattr(s, name) != value
    )


CONSTANTS_TAKE = (
    Rule(
        "built-for-constant",
        _other_constant,
        "{name} = {wanted!r}: this spatial core was built for {built!r}, which is a constant there",
        "build it for this task, or use a folded core, which takes both",
    ),
    Rule(
        "built-for-schedule",
        lambda c, s: c.schedule != s.schedule,
        "schedule = {s.schedule!r}: this spatial core was built for {c.schedule!r}, which is "
        "a constant there",
        "build it for this task, or train with schedule = {c.schedule!r}",
    ),
    Rule(
        "built-for-delay",
        lambda c, s: c.update_delay != s.update_delay,
        "schedule = 'pipelined': the updates of this spatial core are {c.update_delay} steps late, "
        "this task's would be {s.update_delay}, which changes what is learnt",
        "build it for this task, with this version of the program",
    ),
)
SHIFT_TAKE = (
    Rule(
        "built-for-shift",
        lambda c, s: (
            c.network.accumulators
            and not c.shift_low <= s.shift(c.network) <= c.shift_high
            and {"shift": s.shift(c.network)}
        ),
        "eta_exp = {s.eta_exp} with delta_exp = {s.delta_exp} makes an update shift of {shift}; "
        "this spatial core was built for {c.shift_low} to {c.shift_high}",
        "change both together, or build it for this task",
    ),
)

PERIOD = (
    Rule(
        "period-of-late-updates",
        lambda step, period, s, **_: s.update_delay and {"over": step % period},
        "step {step:,} lies {over:,} steps into a period of {name} = {period:,}: to end that "
        "period training would stop on the way, and make updates that a pipelined core has not "
        "made by then",
        "continue from a multiple of {name}, or with --backend golden",
    ),
    Rule(
        "period-fixed",
        lambda step, period, name, fixed, **_: name in fixed and {"over": step % period},
        "step {step:,} lies {over:,} steps into a period of {name} = {period:,}, which is a "
        "constant of this core: it can only begin one",
        "continue from a multiple of it, or on a core without {name} among its fixed settings",
    ),
)

GROUPS = {
    "options": OPTIONS,
    "options mask": OPTIONS_MASK,
    "fixed names": FIXED_NAMES,
    "fixed": FIXED,
    "folded": FOLDED,
    "spatial": SPATIAL,
    "spatial of": SPATIAL_OF,
    "capabilities": CAPABILITIES,
    "options take": OPTIONS_TAKE,
    "fixed take": FIXED_TAKE,
    "folded take": FOLDED_TAKE,
    "constants take": CONSTANTS_TAKE,
    "shift take": SHIFT_TAKE,
    "period": PERIOD,
}


def _first(found: Any) -> Any:
    return next(iter(found), None)
