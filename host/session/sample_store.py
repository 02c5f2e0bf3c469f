"""The contents of a board's sample memory: training samples in a ring of slots, then test samples.

Sets that are larger than their part of the memory go through it: training samples as the run
needs them (host.session.streaming), samples to evaluate a part at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.golden_model.samples.window import SampleWindow
from mgd.host.data.packed import PackedRecords, PackedSamples
from mgd.host.link.board_link import Link
from mgd.host.session.sample_ring import Change, SampleRing
from mgd.protocol.framing import Space
from mgd.protocol.record import Samples, paired, sample_records

BATCH_WORDS = 2048
"""Of 32 bits, sent at once while the core trains: 35 ms at 3 Mbaud, many times a round trip."""


class SampleStore:
    """Two sets, and their parts in the `memory` 16-bit words of a board behind `link`.

    stride: words from one record to the next.  Raises UserError where not a training sample and a
    test sample fit, or the set is neither resident as a whole nor in a window.
    """

    def __init__(
        self,
        link: Link,
        network: Network,
        stride: int,
        memory: int,
        train: Samples,
        test: Samples,
    ) -> None:
        self.link = link
        self.network, self.stride, self.memory = network, stride, memory
        self.sets = {"train": train, "test": test}
        self._records = {name: _packed(samples, network) for name, samples in self.sets.items()}
        self._image = np.zeros(memory, dtype=np.uint16)
        """The words written so far, because a 32-bit word may hold the ends of two records."""
        self.ring: SampleRing | None = None
        self._behind: tuple[str, int, int] | None = None
        """Set, first sample and count of the samples behind the training samples."""

    def load(self, window: SampleWindow | None, first: int) -> None:
        """Write the ring of a run that takes its sample number `first` next, and test samples."""
        ring = SampleRing(len(self.sets["train"]), window, first)
        self._check(ring, window)
        self.ring = ring
        count = min(len(self.sets["test"]), self.room)
        train = self._rows("train", ring.content())
        test = self._rows("test", np.arange(count))
        self._behind = None
        self._put([(0, np.concatenate([train, test]).reshape(-1))])
        self._behind = ("test", 0, count)

    def add(self, name: str, samples: Samples) -> None:
        """Another set, which parts() puts behind the training samples as it does the test set."""
        self.sets[name] = samples
        self._records[name] = _packed(samples, self.network)
        if self._behind is not None and self._behind[0] == name:
            self._behind = None

    def is_loaded(self, window: SampleWindow | None, first: int) -> bool:
        """Whether the memory already has the contents that load() would write."""
        ring = self.ring
        if ring is None or not ring.untouched:
            return False
        if ring.window != (window or SampleWindow(ring.samples)):
            return False
        return ring.first == first or (not ring.moves and (ring.first - first) % ring.slots == 0)

    @property
    def train_end(self) -> int:
        """16-bit words of training samples."""
        assert self.ring is not None
        return self.ring.slots * self.stride

    @property
    def room(self) -> int:
        """Samples behind the training samples."""
        return (self.memory - self.train_end) // self.stride

    def make(self, changes: Iterable[Change]) -> int:
        """Make the first of these changes of the ring, a batch; how many."""
        batch = list(islice(changes, max(1, 2 * BATCH_WORDS // self.stride)))
        rows = self._rows("train", np.array([change.sample for change in batch], dtype=np.int64))
        self._put([(c.slot * self.stride, row) for c, row in zip(batch, rows, strict=True)])
        return len(batch)

    def parts(self, name: str) -> Iterator[tuple[bool, int]]:
        """Have all samples of a set in the memory, one part after the other.

        Yields whether the part lies behind the training samples, else it begins at word 0; and
        its samples.
        """
        assert self.ring is not None
        total = len(self.sets[name])
        if name == "train" and not self.ring.moves:
            yield False, total
            return
        for first in range(0, total, self.room):
            part = (name, first, min(self.room, total - first))
            if self._behind != part:
                self._behind = None
                rows = self._rows(name, np.arange(first, first + part[2]))
                self._put([(self.train_end, rows.reshape(-1))])
                self._behind = part
            yield True, part[2]

    def _check(self, ring: SampleRing, window: SampleWindow | None) -> None:
        most = self.memory // self.stride - 1
        if ring.slots <= most:
            return
        has = f"the board's sample memory has {self.memory}"
        if most < 1:
            raise UserError(
                f"a training and a test sample take {2 * self.stride} words of 16 bits, {has}; "
                "use a board built with more sample memory"
            )
        if window is not None:
            raise UserError(
                f"resident = {window.resident} samples and one to evaluate take "
                f"{(window.resident + 1) * self.stride} words of 16 bits, {has}, room for "
                f"resident = {most}; lower it, or use a board built with more sample memory"
            )
        raise UserError(
            f"{ring.samples} training samples and one to evaluate take "
            f"{(ring.samples + 1) * self.stride} words of 16 bits, {has}; stream them through a "
            f"resident window (resident = {most} or less, --resident {most}), use fewer samples, "
            "or a board built with more sample memory"
        )

    def _rows(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """Records (len(numbers), stride) uint16."""
        found = self._records[name][numbers]
        return np.pad(found, ((0, 0), (0, self.stride - found.shape[1])))

    def _put(self, blocks: Sequence[tuple[int, np.ndarray]]) -> None:
        """Write words from an address on, for each block.

        Every 32-bit word is sent once, so that requests which are repeated, and so come out of
        order, write nothing older than the contents.
        """
        spans: list[list[int]] = []
        for address, words in sorted(blocks, key=lambda block: block[0]):
            self._image[address : address + len(words)] = words
            begin, end = address // 2, -(-(address + len(words)) // 2)
            if spans and begin <= spans[-1][1]:
                spans[-1][1] = max(end, spans[-1][1])
            else:
                spans.append([begin, end])
        self.link.write_blocks(
            Space.SAMPLES, [(a, paired(self._image[2 * a : 2 * b])) for a, b in spans]
        )


def _packed(samples: Samples, network: Network) -> np.ndarray | PackedRecords:
    """The records (numbers, words) of samples by their numbers."""
    if isinstance(samples, PackedSamples) and samples.records.fits(network):
        return samples.records
    return sample_records(samples, network)
