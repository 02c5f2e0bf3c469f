"""Every component of rtl says how many clocks it takes and which model it equals, or why not."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from unittest import mock

import pytest
from amaranth.hdl import Fragment
from amaranth.lib import wiring

from mgd import rtl
from mgd.golden_model.costs import KINDS as COSTS
from mgd.golden_model.perturbations import PERTURBATIONS as GOLDEN_FAMILIES
from mgd.host.task.task import Task
from mgd.protocol.registers import SPATIAL
from mgd.rtl.core_kinds import config_for, gateware_of
from mgd.rtl.folded.perturbations import FAMILIES
from mgd.rtl.lib.unit import Unit
from mgd.rtl.units.costs import UNITS

CORE = "a whole core: golden_model.trainer.Trainer; its clocks are those of its timing"
CONTROL = "decides when, not what: its requests are answered as their receivers are ready"
LINK = "the host's link: bytes, as the line and the host send them"
MEMORY = "a memory: no number changes in it"
WITHOUT = {
    "FoldedCore": CORE,
    "SpatialCore": CORE,
    "Layer": "only joins units; its models are those of its parts",
    "DelayLine": "no number changes in it",
    "SPRAM": MEMORY,
    "SampleMemory": MEMORY,
    "RecordMemory": MEMORY,
    "ActivationMemory": MEMORY,
    "Loader": CONTROL,
    "SampleOrder": "a place takes as many clocks as its search has turns",
    "LoopEngine": CONTROL,
    "StepControl": CONTROL,
    "UpdateControl": CONTROL,
    "SumControl": CONTROL,
    "Phases": CONTROL,
    "SampleBuffers": CONTROL,
    "NodeSums": "walks the lanes' sums: addresses, no numbers",
    "NonzeroInputs": CONTROL,
    "WeightAccess": CONTROL,
    "SaturationCounters": "counts for a report",
    "Sequencer": CONTROL,
    "WeightRing": CONTROL,
    "Top": LINK,
    "Link": LINK,
    "Control": LINK,
    "FrameReceiver": LINK,
    "FrameSender": LINK,
    "UARTTransmitter": LINK,
    "UARTReceiver": LINK,
}
"""Components that lack one or both, by name."""


def components() -> list[type[wiring.Component]]:
    """All that are defined in rtl, but those that only serve as the base of others."""
    found = {}
    for info in walk_packages(rtl.__path__, f"{rtl.__name__}."):
        for _, kind in inspect.getmembers(import_module(info.name), inspect.isclass):
            if issubclass(kind, wiring.Component) and kind.__module__.startswith(rtl.__name__):
                found[kind.__qualname__] = kind
    bases = {base for kind in found.values() for base in kind.__mro__[1:]}
    return [kind for kind in found.values() if hasattr(kind, "model") or kind not in bases]


def declares(kind: type) -> bool:
    """Whether a class has a model and a latency, or a way to find the latency of an instance."""
    if not issubclass(kind, Unit) or not hasattr(kind, "model"):
        return False
    return hasattr(kind, "latency") or kind.latency_of.__func__ is not Unit.latency_of.__func__


def listed(kind: type) -> bool:
    return any(base.__name__ in WITHOUT for base in kind.__mro__)


def test_every_component_declares_both_or_is_listed():
    found = components()
    assert len(found) > len(WITHOUT)
    assert [k.__qualname__ for k in found if not declares(k) and not listed(k)] == []


def test_the_list_names_no_component_that_declares_both():
    names = {base.__name__: base for kind in components() for base in kind.__mro__}
    assert [name for name in WITHOUT if name not in names or declares(names[name])] == []


def test_models_are_of_the_golden_model():
    """But for arithmetic that is no part of it."""
    elsewhere = {k.__name__ for k in components() if declares(k)} - {
        kind.__name__
        for kind in components()
        if declares(kind) and kind.model.__module__.startswith("mgd.golden_model.")
    }
    assert elsewhere == {"SerialCRC32", "Total"}


def test_variants_have_the_model_of_their_name():
    for name, units in UNITS.items():
        assert [unit.model for unit in units] == [COSTS[name].exact] * 2, name
    for name, family in FAMILIES.items():
        assert family.model is GOLDEN_FAMILIES[name], name


def made_by(task: Task) -> Iterator[Unit]:
    """The units of a whole core."""
    made: list[wiring.Component] = []
    create = wiring.Component.__init__

    def note(self, *args, **options):
        made.append(self)
        create(self, *args, **options)

    config = config_for(task.core_layout())
    with mock.patch.object(wiring.Component, "__init__", note):
        Fragment.get(gateware_of(config).core(config), None).prepare()
    return (unit for unit in made if isinstance(unit, Unit))


@pytest.mark.parametrize(
    ("name", "options"),
    [("digits", {}), ("nist7x7", {"method": "wp"}), ("xor", {"core": SPATIAL})],
    ids=("folded_np", "folded_wp", "spatial"),
)
def test_units_of_a_core_know_their_latency(name, options):
    found = list(made_by(Task.load(name).with_overrides(**options)))
    assert len(found) > 8
    for unit in found:
        assert isinstance(unit.latency, int), type(unit)
        assert unit.latency >= 0, type(unit)
