"""rtl.folded.config: every weight has one place in the lanes, and lanes out of range are
refused."""

import re

import numpy as np
import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.network import Network
from mgd.rtl.folded.config import CoreConfig

SHAPES = [((2, 2, 1), 1), ((2, 2, 1), 2), ((3, 1), 1), ((7, 13, 3), 5), ((5, 4, 3, 2), 3),
          ((5, 4, 3, 2), 4), ((1, 1, 9), 2), ((64, 32, 10), 8), ((64, 32, 10), 32)]  # fmt: skip


def numbered(network: Network) -> list[np.ndarray]:
    """Weights that are all different and never 0, so that a wrong place shows."""
    first, weights = 1, []
    for fan_in, nodes in zip(network.layers, network.layers[1:], strict=False):
        count = nodes * (fan_in + 1)
        weights.append(np.arange(first, first + count).reshape(nodes, fan_in + 1))
        first += count
    return weights


@pytest.mark.parametrize(("layers", "lanes"), SHAPES)
def test_to_lanes_and_back(layers, lanes):
    config = CoreConfig(Network(layers), lanes)
    weights = numbered(config.network)
    memory = config.to_lanes(weights)
    assert memory.shape == (lanes, config.lane_words)
    used = memory[memory != 0]
    assert sorted(used) == list(range(1, config.network.parameters + 1))
    back = config.from_lanes(memory)
    assert len(back) == config.network.depth
    for before, after in zip(weights, back, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(("layers", "lanes"), SHAPES)
def test_places_are_what_the_docstring_says(layers, lanes):
    """Lane p holds the neurons p, p+P, …; a group is one run of inputs, the bias last."""
    config = CoreConfig(Network(layers), lanes)
    memory = config.to_lanes(numbered(config.network))
    for layer, weights in enumerate(numbered(config.network)):
        for node, row in enumerate(weights):
            group, lane = divmod(node, lanes)
            start = config.first_word[layer] + group * len(row)
            assert list(memory[lane, start : start + len(row)]) == list(row)


def test_negative_weights_and_what_idle_lanes_hold():
    config = CoreConfig(Network((2, 3)), 2)
    weights = [np.array([[-32768, 32767, -1], [4, 5, 6], [7, 8, 9]])]
    assert config.to_lanes(weights).tolist() == [
        [-32768, 32767, -1, 7, 8, 9],
        [4, 5, 6, 0, 0, 0],
    ]
    # What is read from places without a neuron does not matter.
    memory = config.to_lanes(weights)
    memory[1, 3:] = 99
    np.testing.assert_array_equal(config.from_lanes(memory)[0], weights[0])


def test_counts():
    config = CoreConfig(Network((7, 13, 3)), 5)
    assert config.groups == (3, 1)
    assert config.first_group == (0, 3)
    assert config.first_word == (0, 3 * 8)
    assert config.lane_words == 3 * 8 + 1 * 14
    assert [config.active(0, group) for group in range(3)] == [5, 5, 3]
    assert config.active(1, 0) == 3
    deep = CoreConfig(Network((5, 4, 3, 2)), 2)
    assert deep.hidden_nodes == 7
    assert [deep.hidden_offset(layer) for layer in range(3)] == [0, 4, 7]
    assert deep.plus_words == 3 * 5 + 2 * 7


@pytest.mark.parametrize("lanes", [0, -1, 257, 1000])
def test_lanes_out_of_range(lanes):
    with pytest.raises(UserError, match=re.escape(f"lanes = {lanes}: must be between 1 and 256")):
        CoreConfig(Network((300, 300)), lanes)


def test_lanes_that_would_never_work():
    assert CoreConfig(Network((9, 2, 3)), 3).lanes == 3
    with pytest.raises(UserError, match="lanes = 4: the widest layer of 9-2-3 has 3 neurons") as e:
        CoreConfig(Network((9, 2, 3)), 4)
    assert "\n" not in str(e.value)
    assert CoreConfig(Network((1, 256)), 256).groups == (1,)


def test_group_table():
    table = CoreConfig(Network((2, 3, 2, 5)), 2).group_table
    rows = [(row["node"], row["active"], row["last"], row["output"]) for row in table]
    hidden = [(0, 2, 0, 0), (2, 1, 1, 0), (3, 2, 1, 0)]
    assert rows == [*hidden, (0, 2, 0, 1), (2, 2, 0, 1), (4, 1, 1, 1)]
