"""Every refusal of the model, as a row, and the function that evaluates rows.

A row (:class:`Rule`) has a name, a condition, and a message with the fault, the value,
the limit and why, and a cure.  Rows stand in groups; a group says which arguments its rows have:

========== =============================================================================
NETWORK    `n`, a network by itself (golden_model.network.Network)
SETTINGS   `s`, settings by themselves (golden_model.settings.Settings)
RUN        `n` and `s`, settings on a network
RESUME     `s`, a run that is to go on from its middle
WINDOW     `w` and `samples`, a resident window and the size of the training set
IMPERFECTIONS `i`, imperfections by themselves (golden_model.imperfections.Imperfections)
STUCK_BITS `i` and `n`, imperfections of a network's hardware
NORM       `norm` over `total` quantities, and the `delta` = 2^-`exp` that it makes
========== =============================================================================

Limits of a single value are not rows here: the field's declaration has them
(golden_model.declaration), and check_declared() makes the row.  A layer above the model has a
`rules` module for its own refusals, made of the same rows.

Network and Settings check themselves with these rows, so this module imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mgd.golden_model.declaration import declarations
from mgd.golden_model.errors import UserError
from mgd.golden_model.formats import ACT_MAX, ACT_MIN, ONE
from mgd.golden_model.limits import DELTA_EXP_MAX, LAYER_MAX, SHIFT_MIN


@dataclass(frozen=True)
class Rule:
    """A refusal.  `says` and `cure` are templates of str.format: they may name the subjects, their
    attributes, and the entries of a mapping from `when`."""

    name: str
    """Unique among all rows; UserError.rule tells which one refused."""
    when: Callable[..., Any]
    """Called with the group's subjects by name; true where the rule is broken.  A mapping is true,
    too, and its values are there for the message."""
    says: str
    """The fault, the value, the limit and why."""
    cure: str


def first_broken(rules: Sequence[Rule], **subjects: Any) -> UserError | None:
    """The refusal of the first row that `subjects` break, not raised; None where they break none.

    subjects: by the names that the group has, for example n=network, s=settings.
    """
    for rule in rules:
        found = rule.when(**subjects)
        if not found:
            continue
        values = {**subjects, **found} if isinstance(found, Mapping) else subjects
        error = UserError(f"{rule.says}; {rule.cure}".format(**values))
        error.rule = rule.name
        return error
    return None


def check(rules: Sequence[Rule], **subjects: Any) -> None:
    """Raise UserError, one line, for the first row that `subjects` break."""
    if error := first_broken(rules, **subjects):
        raise error


def check_declared(owner: Any) -> None:
    """Raise UserError for the first declared field whose value is not allowed."""
    for name, known in declarations(owner).items():
        value = getattr(owner, name)
        if value == known.default:
            continue
        if not known.allowed.allows(value):
            error = UserError(f"{name} = {value!r}: must be {known.allowed}")
            error.rule = f"{name}-allowed"
            raise error


def as_toml(value: Any) -> str:
    """A value as a task file has it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(as_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


# -- a network by itself ------------------------------------------------------------------------

NETWORK = (
    Rule(
        "layers-too-few",
        lambda n: len(n.layers) < 2 and {"layers": list(n.layers)},
        "layers = {layers}: a network needs at least an input and an output layer",
        "give two numbers or more, for example [2, 2, 1]",
    ),
    Rule(
        "layer-size",
        lambda n: next(({"nodes": k} for k in n.layers if not 1 <= k <= LAYER_MAX), None),
        f"layers: a layer of {{nodes}} nodes: the widths of sums are checked for 1 to {LAYER_MAX}",
        f"give each layer 1 to {LAYER_MAX} nodes",
    ),
    Rule(
        "cost-frac-below-sums",
        lambda n: n.cost_frac < n.pre_frac and n.reads_sums and {"cost": n.cost.replace("_", "-")},
        "cost_frac = {n.cost_frac} is below pre_frac = {n.pre_frac}: the {cost} would lose "
        "pre-activation bits",
        "raise cost_frac",
    ),
    Rule(
        "smoothing-without-labels",
        lambda n: n.smoothing_exp and not n.cost_kind.smooths,
        "smoothing_exp = {n.smoothing_exp} with cost = {n.cost!r}: only cross-entropy has labels "
        "to smooth",
        "use cost = 'cross_entropy' or leave it out",
    ),
    *(
        Rule(
            f"{name.replace('_', '-')}-format",
            lambda n, name=name: (
                not ACT_MIN <= getattr(n, name) <= ACT_MAX and {"target": getattr(n, name)}
            ),
            f"{name} = {{target}}: must fit Q1.14, {ACT_MIN} to {ACT_MAX}",
            "give a target between -2 and 2",
        )
        for name in ("target_low", "target_high")
    ),
    Rule(
        "targets-of-another-cost",
        lambda n: n.regression and n.cost not in ("mse", "l1"),
        "a regression with cost = {n.cost!r}: that cost compares classes, not numbers",
        "use cost = 'mse' or 'l1', or task = 'classification' in [data]",
    ),
    Rule(
        "targets-order",
        lambda n: (
            n.target_low >= n.target_high
            and {"low": n.target_low / ONE, "high": n.target_high / ONE}
        ),
        "target_low = {low:g} must be below target_high = {high:g}: the label's node is the one to "
        "be high",
        "lower target_low or raise target_high",
    ),
    Rule(
        "tau-theta-max-without-accumulators",
        lambda n: n.tau_theta_max > 1 and not n.accumulators,
        "tau_theta_max = {n.tau_theta_max} without accumulators: only tau_theta = 1 works without "
        "a gradient memory",
        "set accumulators = true",
    ),
)

# -- settings by themselves ---------------------------------------------------------------------


def _needs_accumulator(name: str, when: Callable[[Any], Any], shown: str) -> Rule:
    return Rule(
        f"{name}-without-accumulator",
        lambda s: when(s) and not s.accumulates,
        f"{shown} with rounding = 'stochastic': it needs an accumulator per weight",
        "use rounding = 'residual'",
    )


def _beside_adam(name: str) -> Rule:
    return Rule(
        f"{name}-with-adam",
        lambda s: s.adam and getattr(s, name),
        f"{name} = {{s.{name}}} with optimizer = 'adam', which has averages of its own",
        f"leave {name} out, or use optimizer = 'sgd'",
    )


def _late(name: str, needed: Any, why: str) -> Rule:
    return Rule(
        f"late-updates-{name}",
        lambda s: s.update_delay and getattr(s, name) != needed,
        f"{name} = {{s.{name}!r}} with late updates (schedule = 'pipelined'): {why}",
        f"use {name} = {needed!r}",
    )


def _by_node(name: str, when: Callable[[Any], Any], why: str, cure: str) -> Rule:
    return Rule(
        f"node-sums-{name.replace('_', '-')}",
        lambda s: s.by_node and when(s),
        f"{name} = {{s.{name}!r}} with accumulate = 'nodes': {why}",
        f"{cure}, or use accumulate = 'weights'",
    )


NODE_SUMS = (
    _by_node(
        "method",
        lambda s: not s.learning.reads_inputs,
        "a weight's perturbation is its own, so no sum per node has it",
        "use method = 'np'",
    ),
    _by_node(
        "rounding",
        lambda s: s.accumulates,
        "no weight has an accumulator for the bits that are rounded off",
        "use rounding = 'stochastic'",
    ),
    _by_node(
        "difference",
        lambda s: s.continuous,
        "the filter's output depends on the samples before",
        "use difference = 'antithetic' or 'forward'",
    ),
    _by_node(
        "update_delay",
        lambda s: s.update_delay,
        "a core that never waits makes the update of every step by itself",
        "use schedule = 'sequential'",
    ),
    *(
        _by_node(name, when, "it needs an accumulator per weight", f"leave {name} out")
        for name, when in (
            ("optimizer", lambda s: s.adam),
            ("momentum_exp", lambda s: s.momentum_exp),
            ("decay_exp", lambda s: s.decay_exp),
        )
    ),
    _by_node(
        "tau_x",
        lambda s: s.tau_x % s.tau_theta,
        "the sum of tau_theta = {s.tau_theta} steps is multiplied by the inputs of one sample, "
        "which must not change in between",
        "use a multiple of {s.tau_theta}",
    ),
)
"""Refusals of accumulate = "nodes"."""

SKIP_ZEROS = Rule(
    "skip-zeros-perturbation",
    lambda s: s.skip_zeros and s.perturbation != "random",
    "skip_zeros = true with perturbation = {s.perturbation!r}: it gives every weight values of "
    "its own in every draw, so that none can be left out",
    "use perturbation = 'random', or leave skip_zeros out",
)
"""Of build options, too."""

SETTINGS = (
    *NODE_SUMS,
    Rule(
        "stochastic-tau-theta",
        lambda s: s.rounding == "stochastic" and s.tau_theta != 1 and not s.by_node,
        "rounding = 'stochastic' with tau_theta = {s.tau_theta}: it works without an accumulator, "
        "so only at tau_theta = 1",
        "use rounding = 'residual'",
    ),
    Rule(
        "highpass-by-layer",
        lambda s: s.continuous and s.by_layer,
        "difference = 'highpass' with scope = 'layer': the filter knows one sequence of costs, not "
        "one per layer",
        "use scope = 'network' or difference = 'antithetic'",
    ),
    Rule(
        "fractions-without-accumulator",
        lambda s: s.value_frac and s.rounding == "stochastic" and not s.by_node,
        "perturbation = {s.perturbation!r} with rounding = 'stochastic': its values lie between 0 "
        "and 1 too, and an update of whole weight units has no such parts",
        "use rounding = 'residual'",
    ),
    SKIP_ZEROS,
    _needs_accumulator("adam", lambda s: s.adam, "optimizer = 'adam'"),
    _needs_accumulator("momentum", lambda s: s.momentum_exp, "momentum_exp = {s.momentum_exp}"),
    _needs_accumulator("decay", lambda s: s.decay_exp, "decay_exp = {s.decay_exp}"),
    _beside_adam("momentum_exp"),
    _beside_adam("decay_exp"),
    _late("rounding", "stochastic", "an update belongs to one step"),
    _late("difference", "antithetic", "C0 would be another one in every step"),
    _late("resident", 0, "waiting for samples would let updates come in time"),
    Rule(
        "passes-without-window",
        lambda s: not s.resident and s.passes > 1,
        "passes = {s.passes} without resident: a set that is resident as a whole has no window",
        "give resident, or use tau_x to keep a sample for several steps",
    ),
    Rule(
        "window-parts",
        lambda s: s.resident % s.passes and {"whole": max(1, s.resident // s.passes) * s.passes},
        "resident = {s.resident} with passes = {s.passes}: a pass replaces resident/passes "
        "samples, which must be whole",
        "use resident = {whole}",
    ),
    Rule(
        "window-order",
        lambda s: s.resident and s.sample_order != "cycle",
        "resident = {s.resident} with sample_order = {s.sample_order!r}: the window goes through "
        "the set in turn",
        "use sample_order = 'cycle', or leave resident out",
    ),
    Rule(
        "nothing-trainable",
        lambda s: s.trainable and not any(s.trainable) and {"flags": as_toml(s.trainable)},
        "trainable = {flags}: no layer would ever change",
        "let at least one be true",
    ),
)

RESUME = tuple(
    Rule(
        name,
        when,
        f"{setting}: a run cannot continue from its middle, as {lost} would be missing",
        "run it from its first step, without checkpoints",
    )
    for name, when, setting, lost in (
        (
            "resume-adam",
            lambda s: s.adam,
            "optimizer = 'adam'",
            "the averages of the gradient",
        ),
        (
            "resume-highpass",
            lambda s: s.continuous,
            "difference = 'highpass'",
            "the filter's state",
        ),
        (
            "resume-node-sums",
            lambda s: s.by_node,
            "accumulate = 'nodes'",
            "the sums of the nodes",
        ),
    )
)

WINDOW = (
    Rule(
        "window-larger-than-set",
        lambda w, samples: w.resident > samples,
        "resident = {w.resident}, but the training set has only {samples} samples",
        "set resident to {samples} or less, or leave it out to keep all of them resident",
    ),
)

NORM = (
    Rule(
        "norm-range",
        lambda norm, total, delta, exp: not 1 <= exp <= DELTA_EXP_MAX,
        f"norm = {{norm:g}} over {{total}} quantities makes delta = {{delta:.3g}}; it must be "
        f"between 2^-{DELTA_EXP_MAX} and 2^-1",
        "change norm, or give delta_exp",
    ),
)

# -- settings on a network ----------------------------------------------------------------------


def _codes_too_wide(n: Any, s: Any) -> Mapping[str, int] | None:
    low, high = n.code_min << s.input_shift, n.code_max << s.input_shift
    return {"low": low, "high": high} if low < ACT_MIN or high > ACT_MAX else None


RUN = (
    Rule(
        "shift-range",
        lambda n, s: (
            not s.adam and not SHIFT_MIN <= s.shift(n) <= n.shift_max and {"shift": s.shift(n)}
        ),
        "eta_exp = {s.eta_exp} with delta_exp = {s.delta_exp} makes an update shift of {shift}; it "
        f"must be between {SHIFT_MIN} and {{n.shift_max}} "
        "(shift = cost_frac + 1 + eta_exp - delta_exp - weight_frac)",
        "change eta_exp or delta_exp",
    ),
    Rule(
        "delta-below-cost",
        lambda n, s: n.cost_frac < s.delta_exp + 4 and {"least": s.delta_exp + 4},
        "delta_exp = {s.delta_exp} needs cost_frac >= {least}, the network has {n.cost_frac}: the "
        "cost change would vanish below its last bit",
        "raise cost_frac or lower delta_exp",
    ),
    Rule(
        "residual-without-accumulators",
        lambda n, s: s.accumulates and not n.accumulators,
        "rounding = 'residual' on a core without accumulators",
        "set accumulators = true in the task's [core] section",
    ),
    Rule(
        "tau-theta-above-max",
        lambda n, s: s.accumulates and s.tau_theta > n.tau_theta_max,
        "tau_theta = {s.tau_theta} is above tau_theta_max = {n.tau_theta_max}, which fixes the "
        "accumulators' width",
        "raise tau_theta_max and build again",
    ),
    Rule(
        "trainable-count",
        lambda n, s: (
            s.trainable
            and len(s.trainable) != n.depth
            and {"flags": as_toml(s.trainable), "count": len(s.trainable)}
        ),
        "trainable = {flags}: {count} flags, the network has {n.depth} layers of weights",
        "give one for each",
    ),
    Rule(
        "delta-below-grid",
        lambda n, s: (
            n.grid_frac < s.delta_exp + s.value_frac and {"most": n.grid_frac - s.value_frac}
        ),
        "delta_exp = {s.delta_exp} with perturbation = {s.perturbation!r}: its values have "
        "{s.value_frac} fraction bits, and sums only {n.grid_frac} for both",
        "delta_exp must be at most {most}",
    ),
    Rule(
        "finer-shift-range",
        lambda n, s: (
            s.gain_bits
            and not s.adam
            and s.shift(n) + s.gain_bits > n.shift_max
            and {"shift": s.shift(n) + s.gain_bits}
        ),
        "eta_exp = {s.eta_exp}: accumulators {s.gain_bits} bits finer need a shift of {shift}, "
        "above shift_max = {n.shift_max}, which fixes their width",
        "lower eta_exp or raise shift_max",
    ),
    Rule(
        "momentum-shift",
        lambda n, s: s.momentum_exp and s.shift(n) < 0 and {"shift": s.shift(n)},
        "eta_exp = {s.eta_exp} makes an update shift of {shift}; with momentum it must be 0 or "
        "more, since the part that leaves G must be whole",
        "raise eta_exp",
    ),
    Rule(
        "accumulators-too-narrow",
        lambda n, s: (
            s.accumulates
            and s.tau_theta_needed(n) > n.tau_theta_max
            and {"needed": s.tau_theta_needed(n)}
        ),
        "tau_theta = {s.tau_theta} with this perturbation, momentum and decay: the accumulators "
        "need tau_theta_max = {needed} or more, not {n.tau_theta_max}",
        "raise tau_theta_max or lower tau_theta",
    ),
    Rule(
        "input-shift-range",
        _codes_too_wide,
        "input_shift = {s.input_shift} turns codes {n.code_min}..{n.code_max} into {low}..{high}; "
        f"activations are Q1.14, {ACT_MIN}..{ACT_MAX}",
        "lower input_shift or sample_bits",
    ),
)

# -- imperfect hardware -------------------------------------------------------------------------

_IMPERFECTION_MAX = {
    "cost_noise": 64,
    "update_noise": 8,
    "gain": 8,
    "offset": 64,
    "stuck": 1,
    "stuck_synapse": 1,
    "stuck_bits": 17,
    "cost_bits": 16,
}
IMPERFECTIONS = tuple(
    Rule(
        f"{name.replace('_', '-')}-range",
        lambda i, name=name, most=most: (
            getattr(i, name) is not None
            and not 0 <= getattr(i, name) <= most
            and {"value": getattr(i, name)}
        ),
        f"{name} = {{value}}: must be between 0 and {most}",
        "0 is none, except for cost_bits, which is left out for none",
    )
    for name, most in _IMPERFECTION_MAX.items()
)
STUCK_BITS = (
    Rule(
        "stuck-bits-of-weight",
        lambda i, n: i.stuck_bits >= n.weight_bits and {"bits": n.weight_bits - 1},
        "stuck_bits = {i.stuck_bits}: a weight has {bits} bits beside its sign",
        "lower stuck_bits",
    ),
)

GROUPS = {
    "network": NETWORK,
    "settings": SETTINGS,
    "run": RUN,
    "resume": RESUME,
    "window": WINDOW,
    "norm": NORM,
    "imperfections": IMPERFECTIONS,
    "stuck bits": STUCK_BITS,
}
"""All of this module's.  A cost brings rows of its own (golden_model.costs.base.Cost.rules)."""
