"""What a core is told at run time: method, step sizes and time constants."""

from __future__ import annotations

from dataclasses import dataclass

from golden_model.errors import UserError
from golden_model.network import (
    ACT_FRAC,
    ACT_MAX,
    ACT_MIN,
    DELTA_EXP_MAX,
    SHIFT_MIN,
    TAU_MAX,
    Network,
)

METHODS = ("wp", "np")
DIFFERENCES = ("antithetic", "forward")
ROUNDINGS = ("stochastic", "residual")
STEPS_MAX = (1 << 32) - 1
"""Most steps of a run: the core counts them in 32 bits."""


@dataclass(frozen=True)
class Settings:
    """The run-time registers of a core.  δ = 2^-delta_exp and η/tau_theta = 2^-eta_exp."""

    method: str = "np"
    """wp: perturb weights and biases.  np: perturb pre-activations."""
    difference: str = "antithetic"
    """antithetic: ΔC = (C⁺ − C⁻)/2.  forward: ΔC = C − C0."""
    rounding: str = "stochastic"
    """stochastic: round the broadcast scalar, no accumulator (tau_theta = 1).
    residual: sum in G and keep what the shift drops."""
    delta_exp: int = 5
    eta_exp: int = 9
    tau_x: int = 1
    tau_p: int = 1
    tau_theta: int = 1
    input_shift: int = 0
    """An input code is shifted left by this to become an activation."""

    def __post_init__(self) -> None:
        for name, choice, allowed in (
            ("method", self.method, METHODS),
            ("difference", self.difference, DIFFERENCES),
            ("rounding", self.rounding, ROUNDINGS),
        ):
            if choice not in allowed:
                raise UserError(f"{name} = {choice!r}: must be one of {', '.join(allowed)}")
        for name, value, low, high in (
            ("delta_exp", self.delta_exp, 1, DELTA_EXP_MAX),
            ("eta_exp", self.eta_exp, 0, 31),
            ("tau_x", self.tau_x, 1, TAU_MAX),
            ("tau_p", self.tau_p, 1, TAU_MAX),
            ("tau_theta", self.tau_theta, 1, TAU_MAX),
            ("input_shift", self.input_shift, 0, ACT_FRAC),
        ):
            if not low <= value <= high:
                raise UserError(f"{name} = {value}: must be between {low} and {high}")
        if self.rounding == "stochastic" and self.tau_theta != 1:
            raise UserError(
                f"rounding = 'stochastic' with tau_theta = {self.tau_theta}: it works without an "
                "accumulator, so only at tau_theta = 1; use rounding = 'residual'"
            )

    @property
    def perturbs_nodes(self) -> bool:
        return self.method == "np"

    @property
    def antithetic(self) -> bool:
        return self.difference == "antithetic"

    @property
    def accumulates(self) -> bool:
        return self.rounding == "residual"

    def shift(self, network: Network) -> int:
        """S: an update is D·2^-S weight units, D being the cost change in 2^-(cost_frac+1).

        From W −= η·ΔC·s/δ: S = cost_frac + 1 + eta_exp − delta_exp − weight_frac.
        """
        return network.cost_frac + 1 + self.eta_exp - self.delta_exp - network.weight_frac

    def check(self, network: Network) -> None:
        """Raise UserError where these settings ask for more than `network` was built for."""
        shift = self.shift(network)
        if not SHIFT_MIN <= shift <= network.shift_max:
            raise UserError(
                f"eta_exp = {self.eta_exp} with delta_exp = {self.delta_exp} makes an update shift "
                f"of {shift}; it must be between {SHIFT_MIN} and {network.shift_max} "
                "(shift = cost_frac + 1 + eta_exp - delta_exp - weight_frac)"
            )
        if network.cost_frac < self.delta_exp + 4:
            raise UserError(
                f"delta_exp = {self.delta_exp} needs cost_frac >= {self.delta_exp + 4}, the "
                f"network has {network.cost_frac}: the cost change would vanish below its last bit"
            )
        if self.accumulates and not network.accumulators:
            raise UserError(
                "rounding = 'residual' on a core without accumulators; "
                "set accumulators = true in the task's [core] section"
            )
        if self.accumulates and self.tau_theta > network.tau_theta_max:
            raise UserError(
                f"tau_theta = {self.tau_theta} is above tau_theta_max = {network.tau_theta_max}, "
                "which fixes the accumulators' width; raise tau_theta_max and build again"
            )
        low, high = network.code_min << self.input_shift, network.code_max << self.input_shift
        if low < ACT_MIN or high > ACT_MAX:
            raise UserError(
                f"input_shift = {self.input_shift} turns codes {network.code_min}.."
                f"{network.code_max} into {low}..{high}; activations are Q1.14, {ACT_MIN}.."
                f"{ACT_MAX}: lower input_shift or sample_bits"
            )
