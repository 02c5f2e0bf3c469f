"""Many small components at one clock, in one row of a simulation.

@pytest.mark.simulated
def test_things():
    return Row(SideBySide({"a": Thing(3), "b": Thing(4)}), counts)

@cocotb.test(timeout_time=1, timeout_unit="ms")
async def counts(dut):
    await start_clock(dut)
    await together(count(Part(dut, "a")), count(Part(dut, "b")))
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

import cocotb
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out, connect, flipped


class SideBySide(wiring.Component):
    """All of them at one clock; port p of component c is pin c__p."""

    def __init__(self, components: Mapping[str, wiring.Component]) -> None:
        self.components = dict(components)
        super().__init__({name: Out(one.signature) for name, one in self.components.items()})

    def elaborate(self, platform):
        m = Module()
        for name, component in self.components.items():
            m.submodules[name] = component
            connect(m, component, flipped(getattr(self, name)))
        return m


class Part:
    """One of them: its pins by the names of its ports, and the clock of all."""

    def __init__(self, dut, name: str) -> None:
        self._dut, self._name = dut, name

    def __getattr__(self, port: str):
        return getattr(self._dut, port if port == "clk" else f"{self._name}__{port}")


async def together(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run them side by side until the last one ends; what one raises fails the test."""
    for task in [cocotb.start_soon(one) for one in coroutines]:
        await task
