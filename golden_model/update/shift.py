"""The update shift S, by which an update's scalar D·x becomes weight units."""

from __future__ import annotations

from typing import Any, Protocol


class UpdateFormats(Protocol):
    """The part of a golden_model.network.Network that S depends on."""

    @property
    def cost_frac(self) -> int: ...

    @property
    def weight_frac(self) -> int: ...


def update_shift(network: UpdateFormats, eta_exp: Any, delta_exp: Any) -> Any:
    """S: an update is D·2^-S weight units, D being the cost change in units of 2^-(cost_frac+1).

    From W −= η·ΔC·s/δ: S = cost_frac + 1 + eta_exp − delta_exp − weight_frac.  The exponents are
    integers, or the registers of a core: the gateware makes its S with this function, too.
    """
    return eta_exp - delta_exp + (network.cost_frac + 1 - network.weight_frac)
