"""The units of a folded core, by name: core.py connects them, options and perturbations too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from amaranth import Array, Module
from amaranth.lib import wiring

from mgd.rtl.folded.activation_memory import ActivationMemory
from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.folded.collector import Collector
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.control.saturation_counters import SaturationCounters
from mgd.rtl.folded.control.step_control import StepControl
from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.folded.lanes.sum_control import SumControl
from mgd.rtl.folded.lanes.update_control import UpdateControl
from mgd.rtl.folded.lanes.weight_access import WeightAccess
from mgd.rtl.folded.program.loop_engine import LoopEngine
from mgd.rtl.folded.program.token_timing import TokenTiming
from mgd.rtl.folded.signs import SignGenerator
from mgd.rtl.memory.loader import Loader
from mgd.rtl.units.activation import Activation
from mgd.rtl.units.costs import Cost


@dataclass(frozen=True)
class Units:
    """One of each, and the lanes."""

    config: CoreConfig
    timing: TokenTiming
    settings: Any
    """The run-time registers; those that are fixed are constants."""
    control: StepControl
    loader: Loader
    engine: LoopEngine
    memory: ActivationMemory
    signs: SignGenerator
    broadcast: Broadcast
    updates: UpdateControl
    sums: SumControl
    access: WeightAccess
    lanes: tuple[Lane, ...]
    collector: Collector
    activation: Activation
    cost: Cost
    saturations: SaturationCounters

    def components(self) -> Iterator[tuple[str, wiring.Component]]:
        """(name, unit) of each."""
        for field in fields(self):
            unit = getattr(self, field.name)
            if isinstance(unit, wiring.Component):
                yield field.name, unit
        for p, lane in enumerate(self.lanes):
            yield f"lane_{p}", lane

    def add_to(self, m: Module) -> None:
        for name, unit in self.components():
            m.submodules[name] = unit

    def of_group(self, number, name: str):
        """A field of CoreConfig.group_table, of the group with this number.  It is looked up where
        it is used: what travels with a token is the number."""
        return Array([group[name] for group in self.config.group_table])[number]
