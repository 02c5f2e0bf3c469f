"""When a token is where in the folded core: clocks behind its issue, from the units' latencies."""

from __future__ import annotations

from dataclasses import dataclass

from mgd.rtl.folded.broadcast import Broadcast
from mgd.rtl.folded.collector import Collector
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.lane import Lane
from mgd.rtl.folded.signs import SignGenerator
from mgd.rtl.units.activation import Activation

MEMORY = 1
"""Clocks from the address of an activation memory to its data."""
BASE_AND_ADDRESS = 2
"""The registers behind the two adders of the address of this step's activation."""


@dataclass(frozen=True)
class TokenTiming:
    """Clocks from the clock in which the loop engine issues a token (0) to …"""

    previous_x: int
    """… its activation of the step before, which the broadcast multiplies with D."""
    update_term: int
    """… its update term at the broadcast's output, and the signs of the draw before, which meet
    it."""
    signs: int
    """… its arrival at the sign generator: it waits until the signs leave with the term."""
    lane_term: int
    """… its update term at the lanes' inputs: later than `update_term` where each lane multiplies
    it by its perturbation's value first."""
    address: int
    """… the address of its weight, at the lanes."""
    change: int
    """… the sum of its weight and the change, not limited yet."""
    read_x: int
    """… the address of its activation of this step."""
    early_x: int
    """… that activation, where it is multiplied by the perturbation's values first."""
    mac: int
    """… its new weight, which is written and, with the activation of this step, multiplied."""
    take: int
    """… of a group's last token: the collector hears that the sums are taken."""
    ring: int
    """… of a group's last token: the first lane's sign sum in its output register is passed on."""
    activation_written: int
    """Not of a token: from the clock in which a sum leaves the ring to the one from which a token
    may be issued that reads its activation.  That is written later, but before the read."""
    turnaround: int
    """From a token to the first one that may read the same weight."""
    outer_address: int
    """… in an outer sweep, the address of its weight, at the lanes: the change is their own product
    of `mac`'s operands, rounded a register behind it."""
    outer_written: int
    """… in an outer sweep, its new weight, which is written."""

    @classmethod
    def of(cls, config: CoreConfig) -> TokenTiming:
        previous_x = MEMORY
        update_term = previous_x + Broadcast.latency_of(config)
        lane_term = update_term + config.value_clocks
        # A lane takes a term with the weight that its memory has read.
        address = lane_term - Lane.TERM
        mac = address + Lane.latency_of(config)
        early_x = mac - config.value_clocks
        # Behind the memory a register makes it 1.0 for a bias.
        read_x = early_x - MEMORY - 1
        sums = mac + config.operand_clocks + 1
        to_activation = Collector.latency + Activation.latency_of(config.position_register)
        # Behind the operands a register for the product, and one for the rounded change.
        outer_address = mac + config.operand_clocks + 2 - Lane.TERM
        # Without the lanes' own registers there is time for one here, which the loop engine is
        # glad of.
        least = 0 if config.memory_register else 1
        return cls(
            previous_x=previous_x,
            update_term=update_term,
            signs=update_term - SignGenerator.latency,
            lane_term=lane_term,
            address=address,
            change=address + Lane.change_latency(config),
            read_x=read_x,
            early_x=early_x,
            mac=mac,
            take=sums,
            ring=sums + 1,
            activation_written=max(to_activation - read_x, least),
            turnaround=Lane.turnaround(config),
            outer_address=outer_address,
            outer_written=outer_address + Lane.latency_of(config),
        )
