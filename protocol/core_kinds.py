"""The kinds of cores: an object for each, with all differences that matter to a host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.run_spec import RunSpec
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import BuildOptions
from mgd.protocol.fixed_settings import FIXABLE, Fixed, fixed_settings
from mgd.protocol.identity import Identity
from mgd.protocol.layout.base import CoreLayout
from mgd.protocol.layout.folded import FoldedLayout
from mgd.protocol.layout.spatial import CONSTANTS, SpatialLayout
from mgd.protocol.registers import FOLDED, SPATIAL


class CoreKind(ABC):
    """A kind of core, as a host sees it; rtl.core_kinds has its gateware."""

    name: str
    """In task files and options."""
    folds: bool
    """Whether neurons share lanes, of which a build has any number."""
    has_imperfections: bool
    """Whether there is a core with the golden model's imperfections (rtl.imperfect)."""
    pipelines: bool
    """Whether it can be built to let steps enter before earlier ones have updated the weights."""

    @abstractmethod
    def layout(
        self, network: Network, settings: Settings, lanes: int, fixed: Fixed = ()
    ) -> CoreLayout:
        """The core for a run with these settings.

        lanes: ignored unless it folds.  fixed: settings to hold as constants.  Raises UserError
        where this kind cannot be built for them.
        """

    @abstractmethod
    def constant_counts(self) -> tuple[int, ...]:
        """How many constants its identity records have."""

    @abstractmethod
    def of_identity(self, network: Network, identity: Identity) -> CoreLayout:
        """The core that a board says it holds."""

    @abstractmethod
    def update_delay(self, network: Network, settings: Settings) -> int:
        """Settings.update_delay of the pipelined core for this network and these settings, whose
        own update_delay is ignored."""


class Folded(CoreKind):
    name = FOLDED
    folds = True
    has_imperfections = True
    pipelines = False

    def layout(
        self, network: Network, settings: Settings, lanes: int, fixed: Fixed = ()
    ) -> FoldedLayout:
        return FoldedLayout(network, lanes, fixed=fixed, variant=BuildOptions.of(settings))

    def constant_counts(self) -> tuple[int, ...]:
        return 0, len(FIXABLE)

    def of_identity(self, network: Network, identity: Identity) -> FoldedLayout:
        return FoldedLayout.of_identity(network, identity)

    def update_delay(self, network: Network, settings: Settings) -> int:
        raise ValueError("a folded core makes each update in the sweep of the next step")


class Spatial(CoreKind):
    name = SPATIAL
    folds = False
    has_imperfections = False
    pipelines = True

    def layout(
        self, network: Network, settings: Settings, lanes: int, fixed: Fixed = ()
    ) -> SpatialLayout:
        return SpatialLayout.of(network, settings, fixed)

    def constant_counts(self) -> tuple[int, ...]:
        return len(CONSTANTS), len(CONSTANTS) + len(FIXABLE)

    def of_identity(self, network: Network, identity: Identity) -> SpatialLayout:
        return SpatialLayout.of_identity(network, identity)

    def update_delay(self, network: Network, settings: Settings) -> int:
        # The sum of the latencies that units declare, so the gateware must compute it; a
        # host does this only for a task with schedule = "pipelined", never for a session.
        return import_module("mgd.rtl.spatial.timing").update_delay(network, settings)


KINDS: dict[str, CoreKind] = {kind.name: kind for kind in (Folded(), Spatial())}
"""By the name that a task file gives."""


def kind_of(layout: CoreLayout) -> CoreKind:
    return KINDS[layout.kind]


def layout_for(run: RunSpec) -> CoreLayout:
    """The core that a run asks for.  Raises UserError where its kind cannot be built for it."""
    fixed = fixed_settings(run.settings, run.core.fixed)
    return KINDS[run.core.kind].layout(run.network, run.settings, run.core.lanes, fixed)


def layout_of(network: Network, identity: Identity) -> CoreLayout:
    """The core that a board says it holds, for a network that it says it holds.

    The number of constants at the end of the record tells the kind.  Raises UserError where no kind
    has so many.
    """
    for kind in KINDS.values():
        if len(identity.constants) in kind.constant_counts():
            return kind.of_identity(network, identity)
    raise UserError(
        f"the board's core has {len(identity.constants)} build constants, which this program does "
        "not know; use the version that built it, or build it again"
    )
