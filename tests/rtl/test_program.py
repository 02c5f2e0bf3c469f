"""rtl.folded.program.rows: the rows of a step in every mode, and what its checker refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mgd.golden_model.network import Network
from mgd.protocol.build_options import BuildOptions
from mgd.rtl.folded.config import CoreConfig
from mgd.rtl.folded.program.rows import WEIGHT_MODES, Mode, Program, Source, Sweep

LAYERS = [(64, 32, 10), (2, 2, 1), (1, 1, 1), (12, 5), (4, 3, 1, 5), (7, 13, 3)]
THREE = CoreConfig(Network((7, 5, 3, 4)), 2)


def run(layers: tuple[int, ...], mode: Mode) -> list[tuple[int, int, bool]]:
    """(layer, mask of passes, lead) of each row."""
    program = Program.of(CoreConfig(Network(layers), 1))
    return [(row.layer, row.passes, row.lead) for row in program.sequence(mode)]


@pytest.mark.parametrize(
    ("mode", "rows"),
    [
        (Mode.TWO_PASSES, [(0, 3, True), (1, 1, True), (1, 2, False)]),
        (Mode.ONE_PASS, [(0, 3, True), (1, 1, True)]),
        (Mode.SECOND_ONLY, [(0, 3, True), (1, 2, True)]),
        (Mode.FLUSH, [(0, 3, True), (1, 1, True)]),
    ],
)
def test_the_first_layer_is_swept_once(mode, rows):
    assert run((7, 5, 3), mode) == rows
    assert run((7, 5, 3, 4), mode)[len(rows) :] == [
        (2, passes, lead) for _, passes, lead in rows[1:]
    ]


def test_a_single_layer_is_swept_once_for_each_pass():
    assert run((4, 3), Mode.TWO_PASSES) == [(0, 1, True), (0, 2, False)]
    assert run((4, 3), Mode.SECOND_ONLY) == [(0, 2, True)]
    assert run((4, 3), Mode.FLUSH) == run((4, 3), Mode.ONE_PASS) == [(0, 1, True)]


@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("lanes", [1, 2, 5])
@pytest.mark.parametrize("mode", WEIGHT_MODES)
def test_lead_rows_update_every_weight_once(layers, lanes, mode):
    config = CoreConfig(Network(layers), min(lanes, *layers[1:]))
    lead = [row for row in Program.of(config).sequence(mode) if row.lead]
    visits = [(row.layer, visit) for row in lead for visit in row.visits()]
    assert [visit.word for _, visit in visits] == list(range(config.lane_words))
    for layer, visit in visits:
        group, number = config.group_table[visit.group], visit.input
        own = group["node"] - (config.hidden_offset(layer) if layer < len(layers) - 2 else 0)
        assert config.locate_weight(0, visit.word) == (layer, own, number)


def test_inputs_come_from_where_the_layer_before_writes():
    rows = Program.of(THREE).sequence(Mode.ONE_PASS)
    assert [(row.source, row.base, row.follows) for row in rows] == [
        (Source.SAMPLE, 0, False),
        (Source.HIDDEN, 0, True),
        (Source.HIDDEN, 5, True),
    ]


@pytest.mark.parametrize(
    ("options", "variant", "wait"),
    [
        ({}, {}, 5 - 3),  # U + 1 = 5 clocks, a group of three tokens
        ({"accumulators": True}, {}, 6 - 3),
        ({"accumulators": True}, {"decay_exp": 3}, 7 - 3),
    ],
)
def test_a_short_layer_waits_before_its_second_pass(options, variant, wait):
    config = CoreConfig(Network((2, 2, 1), **options), 2, variant=BuildOptions(**variant))
    *others, last = Program.of(config).sequence(Mode.TWO_PASSES)
    assert last.wait == wait
    assert not any(row.wait for row in others)


def test_visits_may_be_two_in_a_group():
    config = CoreConfig(Network((40, 2)), 2, variant=BuildOptions(skip_zeros=True))
    assert [row.wait for row in Program.of(config).rows] == [0, 5 - 2, 0]


REFUSED = {
    "no update for a layer": (1, {"lead": False}, "read before its update"),
    "updated twice": (2, {"lead": True}, "updated twice"),
    "another layer's words": (1, {"first_word": 0}, "is not that of"),
    "words beyond the memory": (0, {"group_stride": 900}, "reads word"),
    "a group left out": (1, {"groups": 1}, "read before its update"),
    "an input left out": (1, {"inputs": 4}, "does not read its own inputs"),
    "the wrong source": (1, {"source": Source.SAMPLE}, "does not read its own inputs"),
    "the wrong activations": (4, {"base": 0}, "does not read its own inputs"),
    "reads too early": (1, {"follows": False}, "must wait"),
    "waits for nobody": (0, {"follows": True}, "must wait"),
    "lanes without a neuron": (1, {"last_active": 2}, "has 3 neurons"),
    "a pass twice": (2, {"passes": 1}, "instead of"),
    "a pass never": (0, {"passes": 1}, "instead of"),
    "a group of outputs left out": (4, {"groups": 1}, "read before its update"),
    "both passes of outputs": (4, {"passes": 3}, "instead of"),
    "a kind that is not built": (0, {"sweep": Sweep.OUTER}, "OUTER"),
    "signs of another group": (1, {"first_group": 0}, "is not that of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_row_is_refused(name):
    number, change, message = REFUSED[name]
    program = Program.of(THREE)
    rows = list(program.rows)
    rows[number] = replace(rows[number], **change)
    with pytest.raises(ValueError, match=message):
        replace(program, rows=tuple(rows)).check()


LINKS = {
    "a layer left out": (0, 4, "layer 2 comes behind layer 0"),
    "a circle": (0, 0, "circle"),
    "back to the start": (4, 0, "circle"),
    "ends too early": (0, None, "ends with layer 0"),
    "nowhere": (0, 99, "there is no row 99"),
    "into another mode's row": (0, 2, "does not say what follows it"),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_wrong_link_is_refused(name):
    number, following, message = LINKS[name]
    program = Program.of(THREE)
    rows = list(program.rows)
    rows[number] = replace(rows[number], after=rows[number].after | {Mode.ONE_PASS: following})
    with pytest.raises(ValueError, match=message):
        replace(program, rows=tuple(rows)).check()


def test_a_wait_that_is_too_short_is_refused():
    program = Program.of(CoreConfig(Network((2, 2, 1)), 2))
    (number,) = (k for k, row in enumerate(program.rows) if row.wait)
    rows = list(program.rows)
    rows[number] = replace(rows[number], wait=rows[number].wait - 1)
    with pytest.raises(ValueError, match="read before it is written"):
        replace(program, rows=tuple(rows)).check()


def test_a_row_of_no_mode_is_refused():
    program = Program.of(THREE)
    with pytest.raises(ValueError, match="reached in no mode"):
        replace(program, rows=(*program.rows, program.rows[-1])).check()


def test_both_passes_of_the_outputs_at_once_are_refused():
    program = Program.of(THREE)
    rows = list(program.rows)
    rows[4] = replace(rows[4], passes=3, after=rows[4].after | {Mode.TWO_PASSES: None})
    with pytest.raises(ValueError, match="one pass after the other"):
        replace(program, rows=tuple(rows)).check()


NODES = CoreConfig(Network((7, 5, 3, 4)), 2, variant=BuildOptions(accumulate="nodes"))


def kinds(config: CoreConfig, mode: Mode) -> list[tuple[Sweep, int, int]]:
    return [(row.sweep, row.layer, row.passes) for row in Program.of(config).sequence(mode)]


def test_sums_per_node_recall_the_first_layer():
    later = [(Sweep.FORWARD, layer, mask) for layer in (1, 2) for mask in (1, 2)]
    assert kinds(NODES, Mode.TWO_PASSES) == [(Sweep.FORWARD, 0, 3), *later]
    assert kinds(NODES, Mode.RECALLED_TWO) == [(Sweep.RECALL, 0, 3), *later]
    assert kinds(NODES, Mode.RECALLED_SECOND) == [(Sweep.RECALL, 0, 3), *later[1::2]]
    assert kinds(NODES, Mode.FLUSH) == [(Sweep.OUTER, layer, 1) for layer in range(3)]
    assert Mode.SECOND_ONLY not in Program.of(NODES).entry


def test_a_single_layer_is_recalled_once_for_each_pass():
    config = replace(NODES, network=Network((4, 3)))
    assert kinds(config, Mode.RECALLED_TWO) == [(Sweep.RECALL, 0, 1), (Sweep.RECALL, 0, 2)]
    assert kinds(config, Mode.RECALLED_SECOND) == [(Sweep.RECALL, 0, 2)]


def test_outer_sweeps_visit_every_weight_once():
    rows = Program.of(NODES).sequence(Mode.FLUSH)
    assert [v.word for row in rows for v in row.visits()] == list(range(NODES.lane_words))


NODE_REFUSALS = {
    "inputs recalled": (Sweep.RECALL, {"inputs": 3}, "only the first layer's sums"),
    "an outer sweep waits": (Sweep.OUTER, {"follows": True}, "must wait"),
    "a weight unchanged": (Sweep.OUTER, {"groups": 2}, "no update|neurons"),
    "no recall": (Sweep.RECALL, {"sweep": Sweep.CORRELATE}, "read|CORRELATE"),
}


@pytest.mark.parametrize("name", NODE_REFUSALS)
def test_a_wrong_row_of_sums_per_node_is_refused(name):
    sweep, change, message = NODE_REFUSALS[name]
    program = Program.of(NODES)
    rows = list(program.rows)
    number = next(k for k, row in enumerate(rows) if row.sweep is sweep)
    rows[number] = replace(rows[number], **change)
    with pytest.raises(ValueError, match=message):
        replace(program, rows=tuple(rows)).check()
