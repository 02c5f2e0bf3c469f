"""A core's program: the loops of a step as a short table, made and checked before any gate is.

A *row* describes one sweep over the weights of one layer: its loops' bounds, its addresses, where
its inputs come from, which passes its sums serve, and which row comes next.  The loop engine
(rtl.folded.program.loop_engine) holds the rows as a ROM and runs them; it knows rows, not layers.
What a step is for, a Mode, picks the rows: `entry` says where each mode begins, Row.after where it
goes from there.  Program.of writes the rows for a network and proves with Program.check that they
do what a step needs.

To add a kind of row:

1. give it a name in Sweep, and a paragraph in the table there: what a token of it does;
2. write its rows in `_rows` (or a function beside it, for another learning rule) and link them by
   `after`; a new occasion to run them is a Mode;
3. say in Program.check what must be true of them;
4. add the kind to built(), and its data path to the units: a token (loop_engine.token_layout)
   carries what the lanes must do with it.  Fields that are equal in all rows cost no gate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.lanes.lane import Lane

FIRST_PASS, SECOND_PASS, BOTH_PASSES = 1, 2, 3
"""Masks of passes: bit 0 is the first one (C⁺ or C0), bit 1 the second (C⁻ or C)."""


class Sweep(Enum):
    """What a token of a row does to the weight W_ij of its lane's neuron i and its input j."""

    FORWARD = "forward"
    """Update it, write it back, and add W_ij·x_j to the sum (and ±x_j to the sign sum)."""
    OUTER = "outer"
    """Take e_i·x_j from it, e_i in the lane, x_j broadcast: one sum per node for many steps."""
    RECALL = "recall"
    """No weight is used: the first layer's stored sums leave the lanes again, for another
    perturbation.  A group has two tokens, which the sign generator needs."""
    TRANSPOSED = "transposed"
    """Add W_ij·y_i over the lanes to the sum of input j."""
    CORRELATE = "correlate"
    """Add ±x_j to the weight's correlation."""


def built(config: CoreConfig) -> tuple[Sweep, ...]:
    """Those that a core's loop engine and lanes have."""
    if config.variant.by_node:
        return Sweep.FORWARD, Sweep.OUTER, Sweep.RECALL
    return (Sweep.FORWARD,)


class Source(Enum):
    """Where a row's inputs come from."""

    SAMPLE = "sample"
    HIDDEN = "hidden"


class Mode(Enum):
    """What the rows are run for; the low two bits of its value are the mask of passes that it
    wants.  A core has those of its program's `entry`."""

    TWO_PASSES = BOTH_PASSES
    """A step that measures both costs."""
    ONE_PASS = FIRST_PASS
    """An evaluation, or a step of the continuous form."""
    SECOND_ONLY = SECOND_PASS
    """A step of the forward difference that knows its C0."""
    FLUSH = 0
    """Only the pending update: sums are not made, and no token waits for an activation."""
    RECALLED_TWO = 4 | BOTH_PASSES
    """Both costs, with the first layer's sums of a step before: sample and weights are the same."""
    RECALLED_SECOND = 4 | SECOND_PASS
    """The second cost alone, likewise."""


class Visit(NamedTuple):
    """One token of a sweep: an input of a group, and the address of its weights."""

    group: int
    input: int
    word: int


@dataclass(frozen=True)
class Row:
    """A loop descriptor: for each group, for each input and the bias behind them, one token."""

    sweep: Sweep
    layer: int
    """The layer of weights, from 0."""
    passes: int
    """The mask of passes that its sums serve, of those that the mode wants."""
    source: Source
    base: int
    """Where its inputs start among all hidden activations; 0 where they are the sample's."""
    groups: int
    inputs: int
    """The bias is one more."""
    first_group: int
    """Counted through the whole network, as the sign generator numbers its windows."""
    first_word: int
    """Address of its first weight; the strides lead from there to all others."""
    word_stride: int
    """From an input's weight to the next one's."""
    group_stride: int
    """From a group's first weight to the next group's."""
    last_active: int
    """Lanes that have a neuron in the last group; in the others all have."""
    lead: bool
    """The first sweep of its layer in its mode, on which the previous step's update rides."""
    follows: bool
    """Reads activations as they arrive: its first group waits for each of them."""
    wait: int
    """Clocks between the last token of the row before and its first token, beyond the one without
    tokens that follows every group: the weights it reads must have been written by then."""
    after: Mapping[Mode, int | None]
    """The number of the row that comes next in each mode that gets here; None: the step's end."""

    def visits(self) -> Iterator[Visit]:
        """Its tokens, in order."""
        for group in range(self.groups):
            start = self.first_word + group * self.group_stride
            for number in range(self.inputs + 1):
                yield Visit(self.first_group + group, number, start + number * self.word_stride)


@dataclass(frozen=True)
class Program:
    """The rows of a core and where each mode enters them.

    Row 0 is the entry of every mode but those that a network of one layer gives a row of their own,
    and no row leads back to it: 0 is free to say "the step ends".
    """

    config: CoreConfig
    rows: tuple[Row, ...]
    entry: Mapping[Mode, int]

    @classmethod
    def of(cls, config: CoreConfig) -> Program:
        """The checked program of a core: each step's update is made in the step after it, or, with
        sums per node, by a sweep of its own behind the last step of the sum."""
        rows, entry = (_node_sum_rows if config.variant.by_node else _rows)(config)
        program = cls(config, rows, entry)
        program.check()
        return program

    def sequence(self, mode: Mode) -> list[Row]:
        """The rows that a mode runs, in order.  Raises ValueError where they do not end."""
        return [self.rows[number] for number in self._numbers(mode)]

    def _numbers(self, mode: Mode) -> list[int]:
        found: list[int] = []
        number: int | None = self.entry[mode]
        while number is not None:
            if not 0 <= number < len(self.rows):
                raise ValueError(f"{mode.name}: there is no row {number} of {len(self.rows)}")
            if number in found:
                raise ValueError(f"{mode.name}: the rows run in a circle")
            found.append(number)
            row = self.rows[number]
            if mode not in row.after:
                raise ValueError(f"{mode.name}: row {number} does not say what follows it")
            number = row.after[mode]
        return found

    def check(self) -> None:
        """Raise ValueError unless the rows are a right step in every mode.

        In each: layers in their order, read from where the layer before has put its outputs; every
        weight on exactly one lead row, before any other row reads it, and never before it is
        written; every group's sums made exactly once for each wanted pass.  Where sums are recalled
        the first layer's weights are not read, and its inputs are not either.
        """
        for mode in self.entry:
            _check_order(self, mode)
            _check_weights(self, mode)
            _check_outputs(self, mode)
        reached = {number for mode in self.entry for number in self._numbers(mode)}
        for number, row in enumerate(self.rows):
            if number not in reached:
                raise ValueError(f"row {number} is reached in no mode")
            if row.sweep not in built(self.config):
                raise ValueError(f"row {number}: this core has no {row.sweep.name} sweeps")
            if 0 in row.after.values():
                raise ValueError(f"row {number} leads to row 0, where steps begin")


def least_tokens(config: CoreConfig, layer: int) -> int:
    """Tokens of a sweep over a layer at least: with skip_zeros each group of the first one has an
    input and the bias, whatever the sample is."""
    inputs = 1 if config.variant.skip_zeros and layer == 0 else config.network.layers[layer]
    return config.groups[layer] * (inputs + 1)


class _Key(NamedTuple):
    """What tells a row from the others."""

    layer: int
    passes: int
    lead: bool
    sweep: Sweep = Sweep.FORWARD


def _rows(config: CoreConfig) -> tuple[tuple[Row, ...], Mapping[Mode, int]]:
    """Forward sweeps: of the first layer one for both passes, of the others one for each.

    The first layer's inputs are not perturbed, so both passes come from one sum.  Where it is also
    the last one it is swept twice: the cost unit takes one pass after the other.
    """
    last = config.network.depth - 1
    keys: list[_Key] = []
    for layer in range(last + 1):
        if layer == 0 < last:
            keys.append(_Key(layer, BOTH_PASSES, True))
            continue
        keys += [
            _Key(layer, FIRST_PASS, True),
            _Key(layer, SECOND_PASS, False),
            _Key(layer, SECOND_PASS, True),
        ]

    def lead_row(layer: int, mode: Mode) -> int:
        """The row with which a mode enters a layer."""
        own = SECOND_PASS if mode is Mode.SECOND_ONLY else FIRST_PASS
        return next(
            number
            for number, key in enumerate(keys)
            if key.layer == layer and key.lead and key.passes in (own, BOTH_PASSES)
        )

    def after(number: int) -> dict[Mode, int | None]:
        key, found = keys[number], {}
        for mode in WEIGHT_MODES:
            repeats = mode is Mode.TWO_PASSES and key.passes != BOTH_PASSES
            here = lead_row(key.layer, mode)
            if number not in ((here, here + 1) if repeats else (here,)):
                continue
            following = None if key.layer == last else lead_row(key.layer + 1, mode)
            found[mode] = here + 1 if repeats and number == here else following
        return found

    rows = tuple(_forward(config, key, after(number)) for number, key in enumerate(keys))
    return rows, {mode: lead_row(0, mode) for mode in WEIGHT_MODES}


WEIGHT_MODES = (Mode.TWO_PASSES, Mode.ONE_PASS, Mode.SECOND_ONLY, Mode.FLUSH)
"""Of a core whose steps visit all weights."""


def _node_sum_rows(config: CoreConfig) -> tuple[tuple[Row, ...], Mapping[Mode, int]]:
    """accumulate = "nodes": forward sweeps, of which the first layer's gives way to one that
    recalls its sums, and outer sweeps, which change the weights.

    A forward difference whose C0 is known has its first layer's sums too, so no mode makes a second
    pass alone with forward sweeps.
    """
    last = config.network.depth - 1
    sequences: dict[Mode, list[_Key]] = {}
    for mode in (Mode.TWO_PASSES, Mode.ONE_PASS, Mode.RECALLED_TWO, Mode.RECALLED_SECOND):
        first = Sweep.RECALL if mode.value & 4 else Sweep.FORWARD
        keys: list[_Key] = []
        for layer in range(last + 1):
            sweep = Sweep.FORWARD if layer else first
            if layer == 0 < last:
                keys.append(_Key(layer, BOTH_PASSES, True, sweep))
                continue
            passes = [mask for mask in (FIRST_PASS, SECOND_PASS) if mode.value & mask]
            keys += [_Key(layer, mask, mask == passes[0], sweep) for mask in passes]
        sequences[mode] = keys
    sequences[Mode.FLUSH] = [_Key(k, FIRST_PASS, True, Sweep.OUTER) for k in range(last + 1)]

    numbers: dict[_Key, int] = {}
    after: list[dict[Mode, int | None]] = []
    for keys in sequences.values():
        for key in keys:
            if key not in numbers:
                numbers[key] = len(numbers)
                after.append({})
    for mode, keys in sequences.items():
        following: list[int | None] = [numbers[key] for key in keys[1:]]
        for key, number in zip(keys, [*following, None], strict=True):
            after[numbers[key]][mode] = number
    makers = {Sweep.FORWARD: _forward, Sweep.OUTER: _outer, Sweep.RECALL: _recall}
    rows = tuple(makers[key.sweep](config, key, after[k]) for key, k in numbers.items())
    return rows, {mode: numbers[keys[0]] for mode, keys in sequences.items()}


def _outer(config: CoreConfig, key: _Key, after: Mapping[Mode, int | None]) -> Row:
    """All inputs are there: a step has ended."""
    return replace(_forward(config, key, after), sweep=Sweep.OUTER, follows=False)


def _recall(config: CoreConfig, key: _Key, after: Mapping[Mode, int | None]) -> Row:
    """Two tokens for each group; their weights, the first words, come to no sum."""
    row = _forward(config, key, after)
    return replace(row, sweep=Sweep.RECALL, inputs=1, first_word=0, group_stride=1)


def _forward(config: CoreConfig, key: _Key, after: Mapping[Mode, int | None]) -> Row:
    layer = key.layer
    inputs, groups = config.network.layers[layer], config.groups[layer]
    return Row(
        sweep=Sweep.FORWARD,
        layer=layer,
        passes=key.passes,
        source=Source.HIDDEN if layer else Source.SAMPLE,
        base=config.hidden_offset(layer - 1) if layer else 0,
        groups=groups,
        inputs=inputs,
        first_group=config.first_group[layer],
        first_word=config.first_word[layer],
        word_stride=1,
        group_stride=inputs + 1,
        last_active=config.active(layer, groups - 1),
        lead=key.lead,
        follows=layer > 0,
        # Where outer sweeps alone change weights, nothing is read that is being written.
        wait=(
            0
            if key.lead or config.variant.by_node
            else max(Lane.turnaround(config) - least_tokens(config, layer), 0)
        ),
        after=after,
    )


def _check_order(program: Program, mode: Mode) -> None:
    config, before = program.config, -1
    for row in program.sequence(mode):
        if row.layer not in (before, before + 1):
            raise ValueError(f"{mode.name}: layer {row.layer} comes behind layer {before}")
        before = row.layer
        if row.sweep is Sweep.RECALL:
            if (row.layer, row.inputs, row.follows) != (0, 1, False):
                raise ValueError(f"{mode.name}: only the first layer's sums are kept")
            continue
        source, base = Source.SAMPLE, 0
        if row.layer:
            source, base = Source.HIDDEN, config.hidden_offset(row.layer - 1)
        if (row.source, row.base, row.inputs) != (source, base, config.network.layers[row.layer]):
            raise ValueError(f"{mode.name}: layer {row.layer} does not read its own inputs")
        if row.follows != (source is Source.HIDDEN and row.sweep is Sweep.FORWARD):
            raise ValueError(
                f"{mode.name}: layer {row.layer} must wait for what the layer before makes, "
                "and for nothing else"
            )
    if before != config.network.depth - 1:
        raise ValueError(f"{mode.name}: ends with layer {before}")


def _check_weights(program: Program, mode: Mode) -> None:
    config = program.config
    updated: set[int] = set()
    wanted = set(range(config.lane_words))
    for row in program.sequence(mode):
        if row.sweep is Sweep.RECALL:
            first_layer = config.groups[0] * (config.network.layers[0] + 1)
            wanted -= set(range(first_layer))
            continue
        own = [visit.word for visit in row.visits()]
        if not 0 <= min(own) <= max(own) < config.lane_words:
            raise ValueError(
                f"{mode.name}: layer {row.layer} reads word {max(own)} of {config.lane_words}"
            )
        for visit in row.visits():
            layer, node, number = config.locate_weight(0, visit.word)
            group = config.first_group[layer] + node // config.lanes
            if (layer, group, number) != (row.layer, visit.group, visit.input):
                raise ValueError(f"{mode.name}: word {visit.word} is not that of {visit}")
        if row.lead:
            if updated & set(own) or len(own) != len(set(own)):
                raise ValueError(f"{mode.name}: layer {row.layer} is updated twice")
            updated |= set(own)
        elif not set(own) <= updated:
            raise ValueError(f"{mode.name}: layer {row.layer} is read before its update")
        elif not config.variant.by_node and least_tokens(
            config, row.layer
        ) + row.wait < Lane.turnaround(config):
            raise ValueError(f"{mode.name}: layer {row.layer} is read before it is written")
    if updated != wanted:
        raise ValueError(f"{mode.name}: {len(wanted - updated)} words have no update")


def _check_outputs(program: Program, mode: Mode) -> None:
    config = program.config
    wanted = [(layer, mask) for layer in range(config.network.depth) for mask in (1, 2)]
    wanted = [(layer, mask) for layer, mask in wanted if mode.value & mask]
    made = [
        (row.layer, mask)
        for row in program.sequence(mode)
        for mask in (1, 2)
        if row.passes & mode.value & mask
    ]
    if sorted(made) != wanted:
        raise ValueError(f"{mode.name}: sums (layer, pass) {made} instead of {wanted}")
    for row in program.sequence(mode):
        lanes, neurons = config.lanes, config.network.layers[row.layer + 1]
        if (row.groups - 1) * lanes + row.last_active != neurons:
            raise ValueError(f"{mode.name}: layer {row.layer} has {neurons} neurons")
        if row.passes == BOTH_PASSES and row.layer == config.network.depth - 1:
            raise ValueError(f"{mode.name}: the cost unit takes one pass after the other")
