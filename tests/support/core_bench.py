"""A core without a board in Amaranth's own simulator, beside the golden model.

For small cores: nothing is compiled, so a core is there in a second, and takes about a thousand
clocks in another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from amaranth.sim import Simulator

from mgd.golden_model.imperfections import ImperfectHardware, Imperfections
from mgd.golden_model.network import Network
from mgd.golden_model.seeds import start_state
from mgd.golden_model.settings import Settings
from mgd.golden_model.trainer import Trainer
from mgd.protocol.record import Samples, sample_records
from mgd.protocol.registers import Command
from mgd.protocol.run_codes import run_codes
from mgd.protocol.run_setup import register_fields
from mgd.rtl.core_kinds import gateware_of
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.core import FoldedCore
from mgd.rtl.imperfect import ImperfectCore
from mgd.rtl.interface import packed_fields
from mgd.rtl.lockstep import Lockstep, signed_fields
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.core import SpatialCore
from mgd.rtl.spatial.record_memory import record_layout

WATCHDOG_CLOCKS = 20_000
"""Far more than a command of a few steps takes."""


class CoreBench:
    """One core, compared with the golden model value by value in every run that it is given."""

    def __init__(
        self,
        config: CoreConfig | SpatialConfig,
        imperfections: Imperfections | None = None,
        seed: int = 0,
    ) -> None:
        """With imperfections: those of `seed`, which all runs then have."""
        self.imperfections, self._seed = imperfections, seed
        self.core: FoldedCore | SpatialCore
        if imperfections is not None:
            assert isinstance(config, CoreConfig)
            self.core = ImperfectCore(config, imperfections, seed)
        else:
            self.core = gateware_of(config).core(config)
        self.config: CoreConfig | SpatialConfig = self.core.config
        self.values_compared = 0
        self.noise_taken = 0
        """Numbers that were added to costs and to weights."""

    def run(self, settings: Iterable[Settings], seed: int, steps: int) -> None:
        """Train that many steps with each of the settings, in two pieces with an evaluation
        between; raises AssertionError or MismatchError where a value differs."""

        async def all_of_them(ctx):
            self._ctx = ctx
            for number, one in enumerate(settings):
                await self._run(one, seed + number, steps)

        simulator = Simulator(self.core)
        simulator.add_clock(1e-6)
        simulator.add_testbench(all_of_them)
        simulator.run()

    # -- one run ----------------------------------------------------------------------------

    async def _run(self, settings: Settings, seed: int, steps: int) -> None:
        net, random = self.config.network, np.random.default_rng(seed)
        settings.check(net)
        self.config.check(settings)
        codes = random.integers(net.code_min, net.code_max + 1, (5, net.layers[0]))
        labels = random.integers(0, net.classes, 5)
        weights = _weights(net, random)
        if self.imperfections is not None:
            seed = self._seed
            self._hardware = ImperfectHardware(self.imperfections, net, [seed])
            self._noise_word = self.config.lane_words
        trainer = Trainer(
            net,
            settings,
            codes,
            labels,
            [w[None] for w in weights],
            [seed],
            imperfections=self.imperfections,
        )
        self._garbage = random
        self._samples = self._packed(codes, labels)
        self._lockstep: Lockstep | None = None
        self._current = self._place = 0
        self._words: deque[int] = deque()
        self._streams, self._evaluates = False, False
        self._evaluations: list[int] = []
        self._replies: list[int] = []
        self._set("settings", **register_fields(settings), seed=start_state(seed))
        self._set("settings", eval_count=len(codes))
        self._ctx.set(self.core.evaluation.ready, 1)
        self._ctx.set(self.core.weight_reply.ready, 1)

        for lane, row in enumerate(self.config.to_lanes(weights)):
            for word, value in enumerate(row):
                await self._request(lane=lane, word=word, write=1, data=int(value))
        await self._command(Command.INIT)
        for part, value in run_codes(net, settings, seed, len(labels)):
            self._set("settings", sign_layer=part, seed=value)
            await self._command(Command.CODES)
        self._set("settings", sign_layer=0)
        self._lockstep = lockstep = Lockstep(self.config, trainer)
        await self._train(settings, 0, steps // 2)
        await self._command(Command.EVALUATE)
        correct, cost = trainer.evaluate(codes, labels)
        results = [self._fields(self.core.evaluation, raw) for raw in self._evaluations]
        assert sum(result["cost"] for result in results) == cost[0]
        assert sum(result["correct"] for result in results) == correct[0]
        await self._train(settings, steps // 2, steps)
        await self._command(Command.FLUSH)
        assert lockstep.steps == steps
        lockstep.finish(await self._read_weights())
        for name in ("cost_sum", "weight_saturations", "activation_saturations"):
            lockstep.equal(name, int(getattr(trainer, name)[0]), self._get(name))
        self.values_compared += lockstep.values_compared

    async def _train(self, settings: Settings, step: int, until: int) -> None:
        """As host.session.board: a new learning rate between two steps, behind a flush."""
        while step < until:
            change = settings.next_rate(step, self.config.network)
            self._set("settings", eta_exp=settings.eta_exp_at(step, self.config.network))
            step = until if change is None else min(change, until)
            await self._command(Command.TRAIN, step_target=step)
            if step == change:
                await self._command(Command.FLUSH)

    async def _command(self, code: Command, **settings: int) -> None:
        core, ctx = self.core, self._ctx
        self._set("settings", **settings)
        ctx.set(core.command.payload.code, code)
        ctx.set(core.command.valid, 1)
        await self._until(core.command.ready)
        ctx.set(core.command.valid, 0)
        clocks = 0
        while ctx.get(core.busy):
            await self._clock()
            clocks += 1
            assert clocks < WATCHDOG_CLOCKS, f"{code.name} hangs"

    async def _until(self, ready) -> None:
        """Clocks up to and with the first one in which `ready` is high."""
        for _ in range(WATCHDOG_CLOCKS):
            taken = self._ctx.get(ready)
            await self._clock()
            if taken:
                return
        raise AssertionError("never ready")

    async def _request(self, **fields: int) -> None:
        port = self.core.weight_request
        self._ctx.set(port.payload.as_value(), packed_fields(port.payload.shape(), **fields))
        self._ctx.set(port.valid, 1)
        await self._until(port.ready)
        self._ctx.set(port.valid, 0)

    async def _read_weights(self) -> list[np.ndarray]:
        lanes, words = self.config.lanes, self.config.lane_words
        for lane in range(lanes):
            for word in range(words):
                await self._request(lane=lane, word=word)
        for _ in range(WATCHDOG_CLOCKS):
            if len(self._replies) == lanes * words:
                break
            await self._clock()
        bits = self.config.network.weight_bits
        values = [signed_fields(raw, 1, bits)[0] for raw in self._replies]
        return self.config.from_lanes(np.array(values).reshape(lanes, words))

    # -- a clock ----------------------------------------------------------------------------

    async def _clock(self) -> None:
        ctx, core = self._ctx, self.core
        serve = self._serve_spatial if isinstance(core, SpatialCore) else self._serve_folded
        after = serve()
        if self.imperfections is not None:
            self._make_noise()
        if ctx.get(core.evaluation.valid):
            self._evaluations.append(ctx.get(core.evaluation.payload.as_value()))
        if ctx.get(core.weight_reply.valid):
            self._replies.append(ctx.get(core.weight_reply.payload))
        if self._lockstep is not None:
            self._lockstep.observe(ctx.get(core.probe.as_value()))
        await ctx.tick()
        after()

    def _serve_folded(self):
        """Offers the next word of a record, and takes the request for another."""
        ctx, core = self._ctx, self.core
        ctx.set(core.record.valid, bool(self._words))
        if self._words:
            ctx.set(core.record.payload, self._words[0])
        ctx.set(core.sample_request.ready, not self._words)
        taken = self._words and ctx.get(core.record.ready)
        asked = not self._words and ctx.get(core.sample_request.valid)
        evaluate = asked and ctx.get(core.sample_request.payload.evaluate)
        if asked and not evaluate and self.config.variant.ordered:
            address = ctx.get(core.sample_request.payload.address)
            self._current, within = divmod(address, self.config.record_stride)
            assert not within
        restarts = ctx.get(core.restart_train), ctx.get(core.restart_evaluate)

        def after() -> None:
            if restarts[0]:
                self._current = 0
            if restarts[1]:
                self._place = 0
            if taken:
                self._words.popleft()
            if asked and evaluate:
                self._words.extend(self._samples[self._place])
                self._place += 1
            elif asked:
                self._words.extend(self._samples[self._current])
                self._current = (self._current + 1) % len(self._samples)

        return after

    def _make_noise(self) -> None:
        """The golden model's numbers where they are taken, others where they are not."""
        ctx, core, lanes = self._ctx, self.core, self.config.lanes
        if "cost_noise" in core.signature.members:
            value = int(self._garbage.integers(-9, 9))
            if ctx.get(core.cost_noise.ready):
                value = int(self._hardware.cost_noise(1)[0, 0])
                self.noise_taken += 1
            ctx.set(core.cost_noise.payload, value)
        if "update_noise" in core.signature.members:
            values = self._garbage.integers(-9, 9, lanes)
            if ctx.get(core.update_noise.ready):
                word = ctx.get(core.update_noise_word)
                if word <= self._noise_word:
                    change = self._hardware.change_noise()
                    assert change is not None
                    self._change = self.config.to_lanes([layer[0] for layer in change])
                self._noise_word, values = word, self._change[:, word]
                self.noise_taken += lanes
            ctx.set(core.update_noise.payload, values.tolist())

    def _serve_spatial(self):
        """Offers whole records while a stream of them is on."""
        ctx, core = self._ctx, self.core
        offers = self._streams and (not self._evaluates or self._place < len(self._samples))
        ctx.set(core.record.valid, offers)
        if offers:
            ctx.set(core.record.payload.as_value(), self._samples[self._place])
        taken = offers and ctx.get(core.record.ready)
        begin, evaluates = ctx.get(core.begin), ctx.get(core.evaluate)
        stop, restart = ctx.get(core.stop), ctx.get(core.restart_train)
        following = ctx.get(core.next_sample)
        count = len(self._samples)

        def after() -> None:
            if taken:
                self._place += 1
                if not self._evaluates:
                    self._place %= count
            if following:
                self._current = (self._current + 1) % count
            if restart:
                self._current = 0
            if begin or stop:
                self._streams, self._evaluates = bool(begin), bool(evaluates)
                self._place = 0 if evaluates else self._current

        return after

    # -- small things -----------------------------------------------------------------------

    def _packed(self, codes: np.ndarray, labels: np.ndarray) -> list:
        if not isinstance(self.config, SpatialConfig):
            return sample_records(Samples(codes, labels), self.config.network).tolist()
        layout = record_layout(self.config)
        bits = self.config.network.sample_bits
        mask = (1 << bits) - 1
        return [
            packed_fields(
                layout,
                label=int(label),
                codes=sum((int(code) & mask) << k * bits for k, code in enumerate(row)),
            )
            for row, label in zip(codes, labels, strict=True)
        ]

    def _set(self, port: str, **fields: int) -> None:
        for name, value in fields.items():
            self._ctx.set(getattr(self.core, port)[name], value)

    def _get(self, port: str) -> int:
        return self._ctx.get(getattr(self.core, port))

    @staticmethod
    def _fields(port, raw: int) -> dict[str, int]:
        return {
            name: raw >> place.offset & ((1 << place.width) - 1)
            for name, place in port.payload.shape()
        }


def _weights(network: Network, random: np.random.Generator) -> list[np.ndarray]:
    """Up to ±1, and one at an end of the format, where it may clip."""
    one = 1 << network.weight_frac
    weights = [
        random.integers(-one, one, (nodes, fan_in + 1))
        for fan_in, nodes in zip(network.layers, network.layers[1:], strict=False)
    ]
    weights[0][0, 0] = network.weight_max
    return weights
