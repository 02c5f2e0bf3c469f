"""The core that a run asks for: the one place where a task comes to the kinds of cores."""

from __future__ import annotations

from dataclasses import replace

from mgd.golden_model.network import Network
from mgd.golden_model.run_spec import RunSpec
from mgd.golden_model.settings import Settings
from mgd.protocol.core_kinds import KINDS
from mgd.protocol.fixed_settings import Fixed, fixed_settings
from mgd.protocol.layout.base import CoreLayout


def fixed_of(run: RunSpec) -> Fixed:
    """The settings that are build constants in the run's core by choice, and their values."""
    return fixed_settings(run.settings, run.core.fixed)


def core_layout(run: RunSpec) -> CoreLayout:
    """The core that trains this run.  Raises UserError where there is none."""
    return KINDS[run.core.kind].layout(run.network, run.settings, run.core.lanes, fixed_of(run))


def pipelined(network: Network, settings: Settings, kind: str) -> Settings:
    """These settings, and update_delay as a pipelined core of this kind has it."""
    return replace(settings, update_delay=KINDS[kind].update_delay(network, settings))
