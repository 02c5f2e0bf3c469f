"""The gateware of each kind of core (protocol.core_kinds): its component, sample memory and probe.

Both cores have the ports of rtl.interface.CoreSignature, both sample memories the host's side of
rtl.memory.samples.SampleMemory and `serve`, so that rtl.system.top.Top is the same for all kinds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from amaranth.lib import data

from mgd.golden_model.settings import Settings
from mgd.protocol.layout.base import CoreLayout
from mgd.protocol.registers import FOLDED, SPATIAL
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.core import FoldedCore
from mgd.rtl.folded.core import probe_layout as folded_probe_layout
from mgd.rtl.memory.samples import SampleMemory
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.core import SpatialCore, spatial_probe_layout
from mgd.rtl.spatial.record_memory import RecordMemory
from mgd.rtl.spatial.timing import Timing

AnyConfig = CoreConfig | SpatialConfig
"""A core to be built."""
Config = TypeVar("Config", CoreConfig, SpatialConfig)


class Gateware(ABC, Generic[Config]):
    """How a kind of core is built, and how its probe is read."""

    config: type[Config]

    @abstractmethod
    def core(self, config: Config) -> FoldedCore | SpatialCore:
        """The core's component, with the ports of CoreSignature."""

    @abstractmethod
    def sample_memory(
        self, config: Config, depth: int, storage: str
    ) -> SampleMemory | RecordMemory:
        """The memory of `depth` 16-bit words that serves it.  storage: its kind, as of
        SampleMemory, where there is a choice."""

    @abstractmethod
    def probe_layout(self, config: Config) -> data.StructLayout:
        """The signals that verification watches (rtl.lockstep)."""

    @abstractmethod
    def updates_after(self, config: Config) -> int:
        """Clocks from a step's ΔC to the last weight of its update; 0: the update is made in the
        sweep of the next step, before that one's ΔC."""

    @abstractmethod
    def drain(self, config: Config) -> int:
        """Clocks from a step's first token to the last weight of its update, where later steps do
        not wait for them; 0 where they do."""

    @abstractmethod
    def gradient_scale(self, config: Config, settings: Settings) -> int:
        """An accumulator holds the golden model's G times this."""


class FoldedGateware(Gateware[CoreConfig]):
    config = CoreConfig

    def core(self, config: CoreConfig) -> FoldedCore:
        return FoldedCore(config)

    def sample_memory(self, config: CoreConfig, depth: int, storage: str) -> SampleMemory:
        return SampleMemory(config.network, depth, storage, addressed=config.variant.ordered)

    def probe_layout(self, config: CoreConfig) -> data.StructLayout:
        return folded_probe_layout(config)

    def updates_after(self, config: CoreConfig) -> int:
        return 0

    def drain(self, config: CoreConfig) -> int:
        return 0

    def gradient_scale(self, config: CoreConfig, settings: Settings) -> int:
        return 1


class SpatialGateware(Gateware[SpatialConfig]):
    config = SpatialConfig

    def core(self, config: SpatialConfig) -> SpatialCore:
        return SpatialCore(config)

    def sample_memory(self, config: SpatialConfig, depth: int, storage: str) -> RecordMemory:
        return RecordMemory(config, depth)

    def probe_layout(self, config: SpatialConfig) -> data.StructLayout:
        return spatial_probe_layout(config)

    def updates_after(self, config: SpatialConfig) -> int:
        timing = Timing.of(config)
        return timing.weights - timing.delta

    def drain(self, config: SpatialConfig) -> int:
        return Timing.of(config).weights if config.pipelined else 0

    def gradient_scale(self, config: SpatialConfig, settings: Settings) -> int:
        return config.gradient_scale(settings)


GATEWARE: dict[str, Gateware] = {FOLDED: FoldedGateware(), SPATIAL: SpatialGateware()}
"""By the name of the kind."""


def gateware_of(layout: CoreLayout) -> Gateware:
    return GATEWARE[layout.kind]


def config_for(layout: CoreLayout) -> AnyConfig:
    """The core with this layout; `layout` itself where it is one already."""
    return gateware_of(layout).config.of_layout(layout)
