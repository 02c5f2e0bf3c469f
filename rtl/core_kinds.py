"""The gateware of each kind of core (protocol.core_kinds)."""

from __future__ import annotations

from mgd.protocol.layout.base import CoreLayout
from mgd.protocol.registers import FOLDED, SPATIAL
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.spatial.config import SpatialConfig

AnyConfig = CoreConfig | SpatialConfig
"""A core to be built."""
CONFIGS: dict[str, type[CoreConfig] | type[SpatialConfig]] = {
    FOLDED: CoreConfig,
    SPATIAL: SpatialConfig,
}


def config_for(layout: CoreLayout) -> AnyConfig:
    """The core with this layout; `layout` itself where it is one already."""
    return CONFIGS[layout.kind].of_layout(layout)  # type: ignore[arg-type]
