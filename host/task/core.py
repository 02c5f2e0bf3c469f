"""The core that a run asks for: the one place where a task comes to the cores' kinds."""

from __future__ import annotations

from dataclasses import replace

from mgd.golden_model.network import Network
from mgd.golden_model.run_spec import RunSpec
from mgd.golden_model.settings import Settings
from mgd.protocol.build_options import Variant
from mgd.rtl.fixed_settings import Fixed, fixed_settings
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.spatial.config import SpatialConfig
from mgd.rtl.spatial.timing import update_delay


def fixed_of(run: RunSpec) -> Fixed:
    """The settings that are build constants in the run's core by choice, and their values."""
    return fixed_settings(run.settings, run.core.fixed)


def build_options(run: RunSpec) -> Variant:
    """What the run's core is built for beside its network."""
    return Variant.of(run.settings)


def core_config(run: RunSpec) -> CoreConfig | SpatialConfig:
    """The core that trains this run.  Raises UserError where there is none."""
    if run.core.kind == "spatial":
        return SpatialConfig.of(run.network, run.settings, fixed_of(run))
    return CoreConfig(run.network, run.core.lanes, fixed=fixed_of(run), variant=build_options(run))


def pipelined(network: Network, settings: Settings) -> Settings:
    """These settings, and update_delay as a pipelined core has it."""
    return replace(settings, update_delay=update_delay(network, settings))
