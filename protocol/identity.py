"""The identity record, by which a board describes the core that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mgd.golden_model.costs import COSTS
from mgd.golden_model.network import ACTIVATIONS, Network

MAGIC = 0x3144474D
"""'MGD1' read as a little-endian word."""
VERSION = 6
"""Protocol version; host and board must have the same."""
WORDS_MAX = 256
"""Longest record that a host reads."""
RECORD = (
    ("magic", 2, f'0x{MAGIC:08X} ("MGD1")'),
    ("version", 1, f"protocol version {VERSION}"),
    ("length", 1, "words of the record"),
    ("digest", 4, "the first 64 bits of the network's digest"),
    ("activations", 1, "hidden activation in bits 0 to 7, output activation in bits 8 to 15"),
    ("cost", 1, "cost function"),
    ("weight_bits", 1, "bits of a weight"),
    ("lanes", 1, "lanes; 1 in a spatial core"),
    ("lane_words", 2, "weights per lane"),
    ("sample_memory", 2, "16-bit words of sample memory"),
    ("options", 2, "build options, see the table below"),
    ("tau_theta_max", 2, "largest tau_theta"),
    ("clock_hz", 2, "clock in Hz"),
    ("depth", 1, "number of layers, the inputs among them"),
)
"""The fields of fixed size: name, 16-bit words (low word first), meaning.  The sizes of the layers
follow, then the build constants."""
HEAD = 3
"""Fields before the record's contents."""


@dataclass(frozen=True)
class Identity:
    """A board's description of itself: its core and its clock."""

    digest: int
    """First 64 bits of Network.digest()."""
    layers: tuple[int, ...]
    hidden: str
    output: str
    cost: str
    weight_bits: int
    lanes: int
    lane_words: int
    """Weight words per lane."""
    sample_memory: int
    """16-bit words of sample memory."""
    accumulators: bool
    tau_theta_max: int
    clock_hz: int
    options: int = 0
    """protocol.build_options.BuildOptions.word(), which leaves bit 0 to `accumulators`."""
    constants: tuple[int, ...] = ()
    """Values that are constants of the build, as signed words: CoreLayout.constants()."""

    @classmethod
    def of(
        cls,
        network: Network,
        lanes: int,
        lane_words: int,
        sample_memory: int,
        clock_hz: int,
        constants: tuple[int, ...] = (),
        options: int = 0,
    ) -> Identity:
        """The identity record of a core for `network`."""
        return cls(
            digest=int(network.digest()[:16], 16),
            layers=network.layers,
            hidden=network.hidden,
            output=network.output,
            cost=network.cost,
            weight_bits=network.weight_bits,
            lanes=lanes,
            lane_words=lane_words,
            sample_memory=sample_memory,
            accumulators=network.accumulators,
            tau_theta_max=network.tau_theta_max,
            clock_hz=clock_hz,
            options=options,
            constants=constants,
        )

    def words(self) -> list[int]:
        """The record in words of 16 bits; a negative constant modulo 2^16."""
        length = sum(size for _, size, _ in RECORD) + len(self.layers) + len(self.constants)
        numbers = {
            "magic": MAGIC,
            "version": VERSION,
            "length": length,
            "activations": ACTIVATIONS.index(self.hidden) | ACTIVATIONS.index(self.output) << 8,
            "cost": COSTS.index(self.cost),
            "options": int(self.accumulators) | self.options,
            "depth": len(self.layers),
        }
        fields = [
            value >> 16 * k & 0xFFFF
            for name, size, _ in RECORD
            for value in [numbers[name] if name in numbers else getattr(self, name)]
            for k in range(size)
        ]
        return [*fields, *self.layers, *(value & 0xFFFF for value in self.constants)]

    @classmethod
    def from_words(cls, words: list[int]) -> Identity:
        """Inverse of words().  Raises ValueError where this is no identity record."""
        if words[:2] != [MAGIC & 0xFFFF, MAGIC >> 16]:
            raise ValueError(f"no identity record: it starts with {words[:2]}, not {MAGIC:#x}")
        numbers = dict(_numbers(words, HEAD))
        if numbers["version"] != VERSION:
            raise ValueError(
                f"the board speaks protocol version {numbers['version']}, this host {VERSION}"
            )
        words = words[: numbers["length"]]
        numbers = dict(_numbers(words, len(RECORD)))
        rest = words[sum(size for _, size, _ in RECORD) :]
        depth = numbers["depth"]
        return cls(
            digest=numbers["digest"],
            layers=tuple(rest[:depth]),
            hidden=ACTIVATIONS[numbers["activations"] & 0xFF],
            output=ACTIVATIONS[numbers["activations"] >> 8],
            cost=COSTS[numbers["cost"]],
            weight_bits=numbers["weight_bits"],
            lanes=numbers["lanes"],
            lane_words=numbers["lane_words"],
            sample_memory=numbers["sample_memory"],
            accumulators=bool(numbers["options"] & 1),
            tau_theta_max=numbers["tau_theta_max"],
            clock_hz=numbers["clock_hz"],
            options=numbers["options"] & ~1,
            constants=tuple((value ^ 0x8000) - 0x8000 for value in rest[depth:]),
        )


def _numbers(words: list[int], fields: int) -> Iterator[tuple[str, int]]:
    """Name and value of each of the first `fields` fields.  Raises IndexError where they end."""
    place = 0
    for name, size, _ in RECORD[:fields]:
        yield name, sum(words[place + k] << 16 * k for k in range(size))
        place += size
