"""Samples as a core's memory holds them, which may stay in a mapped file until they are used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mgd.golden_model.network import Network
from mgd.protocol.record import Samples


@dataclass(frozen=True)
class RecordFormat:
    """How protocol.record.sample_records packs: what of a network decides it."""

    inputs: int
    bits: int
    signed: bool

    @classmethod
    def of(cls, network: Network) -> RecordFormat:
        return cls(network.layers[0], network.sample_bits, network.sample_signed)

    def codes(self, records: np.ndarray) -> np.ndarray:
        """(…, inputs) int64 of records (…, words) uint16, label first."""
        places = np.arange(16 // self.bits) * self.bits
        found = records[..., 1:, None].astype(np.int64) >> places & ((1 << self.bits) - 1)
        if self.signed:
            found -= (found & 1 << (self.bits - 1)) << 1
        slots = (records.shape[-1] - 1) * len(places)
        return found.reshape(*records.shape[:-1], slots)[..., : self.inputs]


@dataclass(frozen=True)
class PackedRecords:
    """Records in the order of a run.  Indexed by number, numbers or a slice."""

    file: np.ndarray
    """(samples, words) uint16, perhaps a mapped file."""
    order: np.ndarray
    """Row of each sample."""
    format: RecordFormat

    def __getitem__(self, numbers: int | slice | np.ndarray) -> np.ndarray:
        return np.asarray(self.file[self.order[numbers]])

    def fits(self, network: Network) -> bool:
        """Whether these are the records that a core for `network` reads."""
        return self.format == RecordFormat.of(network)


@dataclass(frozen=True)
class PackedCodes:
    """The codes in packed records: indexed like the array (samples, inputs) that it stands for."""

    records: PackedRecords

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.records.order), self.records.format.inputs

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: int | slice | np.ndarray) -> np.ndarray:
        return self.records.format.codes(self.records[numbers])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype or np.int64)


@dataclass(frozen=True)
class PackedSamples(Samples):
    """Samples whose codes are unpacked when they are asked for."""

    records: PackedRecords

    @classmethod
    def of(cls, file: np.ndarray, form: RecordFormat, order: np.ndarray | None = None):
        """Of records (samples, words), in `order` or as they are."""
        rows = np.arange(len(file)) if order is None else order
        records = PackedRecords(file, rows, form)
        labels = np.asarray(file[:, 0])[rows].astype(np.int64)
        return cls(PackedCodes(records), labels, records)  # type: ignore[arg-type]

    def ordered(self, order: np.ndarray) -> PackedSamples:
        """The same records in another order of these samples."""
        return PackedSamples.of(self.records.file, self.records.format, self.records.order[order])
