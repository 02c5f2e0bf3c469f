"""What perturbs the lanes: random signs, another family's, or values between −1 and 1."""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal

from mgd.protocol.run_codes import PERTURBATION
from mgd.rtl.folded.perturbations import FAMILIES
from mgd.rtl.folded.units import Units
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.magnitude import ONE_FOLD, scaled


class LanePerturbation:
    """Random signs, which every core has: those of the sign generator.

    Connect the generator before making one of these.
    """

    def __init__(self, m: Module, u: Units) -> None:
        self._previous_signs = u.signs.previous_signs
        self._signs = self._at_mac(m, u, u.signs.signs)

    def drive(self, m: Module, u: Units, p: int) -> None:
        """Lane p's perturbation and its update term."""
        lane = u.lanes[p]
        m.d.comb += [
            lane.update_term.eq(self._update_term(m, u, p)),
            lane.previous_sign.eq(self._previous_signs[p]),
            lane.sign.eq(self._signs[p]),
            # A bias' sign is that of its node, where nodes are perturbed.
            lane.add_sign.eq((~u.settings.nodes | u.sums.bias) & self._adds(p)),
        ]

    @staticmethod
    def _at_mac(m: Module, u: Units, values):
        """The perturbation's values leave their source signs_latency clocks after the token; the
        lane takes them with its activation."""
        return delayed(m, values, u.timing.mac - u.timing.signs - u.signs.signs_latency)

    def _update_term(self, m: Module, u: Units, p: int):
        return u.broadcast.update_term

    def _adds(self, p: int):
        """Whether lane p's value is not 0."""
        return Const(1)


class FamilyPerturbation(LanePerturbation):
    """One of rtl.folded.perturbations: signs, or 0."""

    def __init__(self, m: Module, u: Units) -> None:
        at, token, control = u.timing, u.engine.token, u.control
        m.submodules.family = family = FAMILIES[u.config.variant.perturbation](u.config)
        m.d.comb += [
            family.data.eq(u.settings.seed),
            family.nodes.eq(u.settings.nodes),
            family.load.eq(control.codes & (u.settings.sign_layer == PERTURBATION)),
            control.codes_ready.eq(family.ready),
            family.keep_draw.eq(control.keep_draw),
            family.new_draw.eq(control.new_draw),
            family.valid.eq(delayed(m, u.engine.valid, at.signs)),
            family.group.eq(delayed(m, token.group, at.signs)),
            family.input.eq(delayed(m, token.input, at.signs)),
            family.word.eq(delayed(m, token.word, at.signs)),
            family.lead.eq(delayed(m, token.lead, at.signs)),
        ]
        family.listen(m, u.signs)
        lanes = u.config.lanes
        # The host's writes are update terms too, and added.
        self._allows = family.previous_active | (~control.busy).replicate(lanes)
        previous = family.previous_signs | delayed(m, u.access.access, 1).replicate(lanes)
        self._previous_signs = delayed(m, previous, at.lane_term - at.update_term)
        self._signs = self._at_mac(m, u, family.signs)
        self._active = self._at_mac(m, u, family.active)
        self._family = family

    def _update_term(self, m: Module, u: Units, p: int):
        return Mux(self._allows[p], u.broadcast.update_term, 0)

    def _adds(self, p: int):
        return self._active[p]


class ValuedPerturbation(FamilyPerturbation):
    """A family whose values have a magnitude: each lane's own products with the update term and
    with x, a clock later."""

    def drive(self, m: Module, u: Units, p: int) -> None:
        super().drive(m, u, p)
        # With early_x: the product has a register, and is taken with x.
        clocks = u.timing.early_x - u.timing.signs - u.signs.signs_latency
        magnitude = delayed(m, self._family.magnitudes[p], clocks)
        value_x = Signal.like(u.lanes[p].value_x)
        m.d.sync += value_x.eq(scaled(u.memory.early_x, magnitude))
        m.d.comb += u.lanes[p].value_x.eq(value_x)

    def _update_term(self, m: Module, u: Units, p: int):
        # The host's writes are update terms too.
        magnitude = Mux(u.control.busy, self._family.previous_magnitudes[p], ONE_FOLD)
        term = Signal.like(u.lanes[p].update_term)
        m.d.sync += term.eq(scaled(super()._update_term(m, u, p), magnitude))
        return term


def lane_perturbation(m: Module, u: Units) -> LanePerturbation:
    """That of the family a core is built for."""
    variant = u.config.variant
    if variant.value_frac:
        return ValuedPerturbation(m, u)
    if variant.perturbation != "random":
        return FamilyPerturbation(m, u)
    return LanePerturbation(m, u)
