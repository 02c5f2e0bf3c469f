"""A kind of perturbation in a folded core: signs of two draws for a sweep of tokens."""

from __future__ import annotations

from amaranth import Array, Const, Module
from amaranth.lib.wiring import In, Out

from mgd.golden_model.perturbations import Numbering
from mgd.golden_model.settings import Settings
from mgd.golden_model.signs.sequence import STATE_BITS
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.signs import SignGenerator
from mgd.rtl.lib.delay import delayed
from mgd.rtl.lib.unit import Unit


class Family(Unit):
    """Common ports.  Tokens and times are those of rtl.folded.signs.SignGenerator.

    `load` takes `data`, the number of protocol.run_codes, and is followed by `ready` when the
    family's own state is complete.  `new_draw`: the next draw begins with the sweep to come;
    `keep_draw`: this draw is then the previous one.  `active` is low where a lane's quantity
    has the value 0; its sign means nothing there.
    """

    name: str
    """In task files."""
    latency = SignGenerator.latency
    signs_latency = SignGenerator.signs_latency

    def __init__(self, config: CoreConfig, **ports) -> None:
        self.config = config
        super().__init__(
            {
                "data": In(STATE_BITS),
                "load": In(1),
                "ready": Out(1, init=1),
                "nodes": In(1),
                "keep_draw": In(1),
                "new_draw": In(1),
                "valid": In(1),
                "group": In(range(max(len(config.group_table), 2))),
                "input": In(range(max(config.network.layers[:-1]) + 1)),
                "word": In(range(max(config.lane_words, 2))),
                "lead": In(1),
                "signs": Out(config.lanes),
                "active": Out(config.lanes),
                "previous_signs": Out(config.lanes),
                "previous_active": Out(config.lanes),
                **ports,
            }
        )

    def listen(self, m: Module, signs: SignGenerator) -> None:
        """Connects the sign generator to a family that reads stretches.  Its statements come after
        all others that drive the generator, and so override them."""

    def numberings(self) -> tuple[list[Numbering | None], list[Numbering | None]]:
        """The numbers of the perturbed quantities per layer: of parameters, and of nodes."""
        trainable, network = self.config.variant.trainable, self.config.network
        of = [Settings(method=method, trainable=trainable) for method in ("wp", "np")]
        return of[0].numbering(network), of[1].numbering(network)

    def perturb_trained(self, m: Module) -> None:
        """Makes every quantity of a trained layer active in all draws, and no other."""
        trained = self.config.variant.layers(self.config.network)
        flags = [Const(group["layer"] in trained, 1) for group in self.config.group_table]
        counted = Array(flags)[self.group]
        # Only the token's group decides, so the flag waits for the signs.
        for port, latency in (
            (self.active, self.signs_latency),
            (self.previous_active, self.latency),
        ):
            m.d.comb += port.eq(delayed(m, counted, latency).replicate(self.config.lanes))

    def starts(self, numbering: list[Numbering | None]) -> list[int | None]:
        """Of each group the number of its first neuron's first quantity; None if not trained."""
        starts: list[int | None] = []
        for group in self.config.group_table:
            numbers, layer = numbering[group["layer"]], group["layer"]
            if numbers is None:
                starts.append(None)
                continue
            number = len(starts) - self.config.first_group[layer]
            starts.append(numbers.first + number * self.config.lanes * numbers.shape[1])
        return starts
