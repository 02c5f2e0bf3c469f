"""Every number in docs/numerics.md, recomputed with the golden model.

A block fenced as ```vector NAME is TOML.  For each name there is one function here: it takes
the block, reads the inputs from it and returns the whole block as the golden model has it.
"""

import json
import re
import textwrap
import tomllib
from typing import Any

import numpy as np
import pytest

from mgd.golden_model import activations, formats, imperfections, perturbations, seeds, tables
from mgd.golden_model.activations import activate
from mgd.golden_model.costs import KINDS, classify, targets
from mgd.golden_model.costs.cross_entropy import exp2_negative, exp_sum_bits, log2
from mgd.golden_model.errors import UserError
from mgd.golden_model.forward import output_values, pre_activation, weighted_sum, with_bias
from mgd.golden_model.imperfections import ImperfectHardware, Imperfections
from mgd.golden_model.learning import LEARNING
from mgd.golden_model.network import ACT_FRAC, ONE, ROUND_BITS, Network
from mgd.golden_model.perturbations.sequential import stride_and_start
from mgd.golden_model.perturbations.sine import SINE
from mgd.golden_model.perturbations.walsh import rows
from mgd.golden_model.samples.nonzero import nonzero_signs
from mgd.golden_model.samples.order import SampleOrder
from mgd.golden_model.samples.window import SampleWindow
from mgd.golden_model.settings import Settings
from mgd.golden_model.signs import sequence as signs
from mgd.golden_model.trainer import SignSource, Trainer
from mgd.golden_model.update.adam import Adam, log2_of
from mgd.golden_model.update.error_feedback import ErrorFeedback
from mgd.golden_model.update.highpass import HighPass
from mgd.golden_model.update.per_node import NodeSums, node_error
from mgd.host.data.datasets import default_format
from mgd.host.data.encoding import Scaling
from mgd.host.data.generators import EASY_IMAGES, LETTERS, nist7x7
from mgd.host.data.labels import class_numbers, class_order
from mgd.host.data.splits import split
from tests.support.paths import ROOT

TEXT = (ROOT / "docs" / "numerics.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```vector (\S+)\n(.*?)^```$", TEXT, re.M | re.S)
CHECKS = {}


def vector(*names):
    def register(function):
        CHECKS.update(dict.fromkeys(names, function))
        return function

    return register


def to_toml(block: dict) -> str:
    """The block as it should stand in the document."""
    lines, tables_after = [], []
    for key, value in block.items():
        rows = value if isinstance(value, list) and value and isinstance(value[0], dict) else []
        if isinstance(value, dict):
            tables_after.append(f"\n[{key}]\n" + "".join(map(toml_line, value, value.values())))
        elif rows and max(len(inline(row)) for row in rows) < 130:
            lines.append(f"{key} = [\n" + "".join(f"  {inline(row)},\n" for row in rows) + "]\n")
        elif rows:
            tables_after += [
                f"\n[[{key}]]\n" + "".join(map(toml_line, row, row.values())) for row in rows
            ]
        else:
            lines.append(toml_line(key, value))
    return "".join(lines + tables_after).lstrip()


def inline(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {inline(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


def toml_line(key: str, value) -> str:
    text = f"{key} = {inline(value)}"
    if isinstance(value, list):
        # Break between the innermost lists rather than inside them.
        text = re.sub(r"\[[^][]{,80}\]", lambda m: m[0].replace(" ", "\0"), text)
        text = textwrap.fill(
            text, 98, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        ).replace("\0", " ")
    return text + "\n"


def plain(value: Any) -> Any:
    """NumPy numbers and arrays as Python's."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.astype(np.int64).tolist()
    return value.item() if isinstance(value, np.generic) else value


def array(value) -> np.ndarray:
    return np.array(value, dtype=np.int64)


def hexadecimal(value) -> str:
    return f"0x{int(value):016x}"


@pytest.mark.parametrize(("name", "text"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_vector(name, text):
    block = tomllib.loads(text)
    expected = plain(CHECKS[name](block))
    assert block == expected, f"the golden model has:\n{to_toml(expected)}"


def test_every_check_has_its_block():
    assert sorted(name for name, _ in BLOCKS) == sorted(CHECKS)


def test_ranges():
    """The table of parameters: limits and defaults are those of Network and Settings."""
    rows = re.findall(r"^\| `(\w+)` \| (-?\d+) \| (-?\d+) \| (-?\d+) \|", TEXT, re.M)
    assert len(rows) == 13
    # Fixed fields that make every single value legal by itself.
    wide: dict[str, Any] = {"layers": (2, 2, 1), "cost_frac": 16, "accumulators": True}
    for name, low, high, default in rows:
        fixed: dict[str, Any]
        if name in Settings.__dataclass_fields__:
            # tau_theta and update_delay go with one rounding each.
            rounding = "stochastic" if name == "update_delay" else "residual"
            kind, fixed, usual = Settings, {"rounding": rounding}, Settings()
        else:
            kind, fixed, usual = Network, wide, Network((2, 2, 1))
        assert getattr(usual, name) == int(default)
        for value in (int(low), int(high)):
            kind(**{**fixed, name: value})
        for value in (int(low) - 1, int(high) + 1):
            with pytest.raises(UserError, match=name):
                kind(**{**fixed, name: value})


def test_contents():
    """The table of contents lists every section, in order, under its right anchor."""
    listed = re.findall(r"^- \[(.*?)\]\(#(.*?)\)$", TEXT, re.M)
    sections = [title for title in re.findall(r"^## (.*)$", TEXT, re.M) if title != "Contents"]
    assert [title for title, _ in listed] == sections
    for title, anchor in listed:
        assert anchor == re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


# -- arithmetic ---------------------------------------------------------------------------------


@vector("rounding")
def _(b):
    return {
        "floor_shift": [[v, s, formats.floor_shift(v, s)] for v, s, _ in b["floor_shift"]],
        "round_half_up": [[v, s, formats.round_half_up(v, s)] for v, s, _ in b["round_half_up"]],
        "rescale": [[v, a, c, formats.rescale(v, a, c)] for v, a, c, _ in b["rescale"]],
        "stochastic_round": [
            [v, s, r, formats.stochastic_round(v, s, r, ROUND_BITS)]
            for v, s, r, _ in b["stochastic_round"]
        ],
    }


@vector("tables")
def _(_b):
    return {"TANH": tables.TANH.values, "EXP2": tables.EXP2.values, "LOG2": tables.LOG2.values}


@vector("activations")
def _(b):
    def rows(kind):
        z = array([row[0] for row in b[kind]])
        y, over = activate(kind, z, b["pre_frac"])
        return [[v, o, int(s)] for v, o, s in zip(z, y, over, strict=True)]

    return {"pre_frac": b["pre_frac"], **{kind: rows(kind) for kind in activations.FUNCTIONS}}


@vector("mse")
def _(b):
    result = []
    for case in b["case"]:
        net = Network((1, len(case["y"])), **case["network"])
        y, label = array([case["y"]]), array([case["label"]])
        aims = targets(label, net)
        result.append(
            {
                "y": case["y"],
                "label": case["label"],
                "targets": aims[0],
                "exact": ((y - aims) ** 2).sum(),
                "cost": KINDS["mse"].exact(y, label, net)[0],
                "class": classify(y, net)[0],
                "network": case["network"],
            }
        )
    return {"case": result}


@vector("cross-entropy")
def _(b):
    result = []
    for case in b["case"]:
        net = Network((1, len(case["z"])), cost="cross_entropy", **case["network"])
        z, label = array(case["z"]), array([case["label"]])
        d = z.max() - z
        terms = exp2_negative(d, net.pre_frac)
        result.append(
            {
                "z": case["z"],
                "label": case["label"],
                "d": d,
                "terms": terms,
                "s": terms.sum(),
                "log2_s": log2(terms.sum()[None], exp_sum_bits(net))[0],
                "cost": KINDS["cross_entropy"].exact(z[None], label, net)[0],
                "class": classify(z[None], net)[0],
                "network": case["network"],
            }
        )
    return {"case": result}


@vector("further-costs")
def _(b):
    result = []
    for case in b["case"]:
        net = Network((1, len(case["values"])), **case["network"])
        values = array(case["values"])[None]
        result.append(
            {
                "values": case["values"],
                "label": case["label"],
                "cost": net.cost_kind.exact(values, array([case["label"]]), net)[0],
                "class": classify(values, net)[0],
                "network": case["network"],
            }
        )
    return {"case": result}


@vector("threshold")
def _(b):
    rows = []
    for low, high, y, _ in b["rows"]:
        net = Network((1, 1), target_low=low, target_high=high)
        rows.append([low, high, y, classify(array([y]), net)])
    return {"rows": rows}


# -- seeds and signs ----------------------------------------------------------------------------


@vector("splitmix64")
def _(b):
    words = {
        purpose: [hexadecimal(w) for w in seeds.words(2, b["seed"], purpose)]
        for purpose in seeds.PURPOSES
    }
    states = [[seed, hexadecimal(seeds.start_state(seed))] for seed, _ in b["start_state"]]
    orders = [
        [purpose, n, s, seeds.permutation(n, s, purpose)] for purpose, n, s, _ in b["permutation"]
    ]
    mixed = [[v, hexadecimal(seeds.mix(np.array([int(v, 16)], np.uint64))[0])] for v, _ in b["mix"]]
    return {
        "mix": mixed,
        "seed": b["seed"],
        "words": words,
        "start_state": states,
        "permutation": orders,
    }


@vector("initial-weights")
def _(b):
    net = Network(tuple(b["layers"]), weight_bits=b["weight_bits"])
    words = seeds.words(net.parameters, b["seed"], "weights") >> np.uint64(32)
    weights = seeds.initial_weights(net, b["seed"], b["gain"])
    # The model does not give a away: compute it as the text does, and the weights from it.
    pairs = zip(net.layers, net.layers[1:], strict=False)
    limits = [
        int(np.floor(b["gain"] * np.sqrt(6.0 / (f + n)) * 2**net.weight_frac + 0.5))
        for f, n in pairs
    ]
    largest = [min(limit, net.weight_max) for limit in limits]
    start = 0
    for w, a in zip(weights, largest, strict=True):
        scaled = [(int(u) * (2 * a + 1) >> 32) - a for u in words[start : start + w.size]]
        assert (np.reshape(scaled, w.shape)[:, :-1] == w[:, :-1]).all()
        start += w.size
    return {
        **{key: b[key] for key in ("layers", "weight_bits", "seed", "gain")},
        "a": largest,
        "upper_halves": [int(w) for w in words],
        "weights": weights,
    }


@vector("split")
def _(b):
    train, test = split(b["samples"], b["test_fraction"], b["data_seed"], "here")
    given = {key: b[key] for key in ("samples", "test_fraction", "data_seed", "training_seed")}
    order = train[seeds.permutation(len(train), b["training_seed"])]
    return {**given, "test": test, "train": train, "training_order": order}


@vector("letters")
def _(b):
    made, centred = nist7x7("easy", b["data_seed"]), nist7x7("full", 0)
    assert len(centred.codes) == 4 * 9 * 1226 == 44136
    # In the full set each letter has 9 places; the centred one without flips is number 4.
    per_place, per_letter = len(centred.codes) // 36, len(centred.codes) // 4
    flips = [
        np.flatnonzero(made.codes[n] != centred.codes[n % 4 * per_letter + 4 * per_place])
        for n in range(len(b["flipped_pixels"]))
    ]
    return {
        "data_seed": b["data_seed"],
        "images": EASY_IMAGES,
        "shapes": {letter: " ".join(rows) for letter, rows in LETTERS.items()},
        "flipped_pixels": flips,
        "ones_in_all": made.codes.sum(),
    }


@vector("table-files")
def _(b):
    labels, features = [], []
    for case in b["labels"]:
        names, given = class_order(case["labels"]), case["labels"]
        numbers = class_numbers(given, names, Network((1, len(names))), "here", str)
        labels.append({"labels": given, "classes": names, "numbers": numbers})
    for case in b["features"]:
        given = {key: case[key] for key in ("sample_bits", "sample_signed", "train", "test")}
        net = Network((1, 1), sample_bits=case["sample_bits"], sample_signed=case["sample_signed"])
        scaling = Scaling.of(np.array(case["train"])[:, None])
        codes, _ = scaling.encode(np.array(case["train"] + case["test"])[:, None], net)
        features.append({**given, "codes": codes[:, 0]})
    # What a task without a format of its own gets.
    for bits, signed in ((None, None), (8, False), (16, True), (1, True)):
        width, two_complement, shift = default_format("a.csv", bits, signed, None)
        assert (width, two_complement) == (bits or 8, signed is not False)
        assert shift == min(max(15 - width + two_complement, 0), 14)
    return {"labels": labels, "features": features}


@vector("sequence")
def _(b):
    start = seeds.start_state(b["seed"])
    reader = signs.BitReader(np.array([start], dtype=np.uint64))
    return {
        "seed": b["seed"],
        "start_state": hexadecimal(start),
        "bits_0_to_31": "".join(str(bit) for bit in reader.take(32)[0]),
        "bits_32_to_95": "".join(str(bit) for bit in reader.take(64)[0]),
        "window_1": hexadecimal(signs.advance(start)),
        "masks": [[e, hexadecimal(signs.mask(1 << e))] for e, _ in b["masks"]],
    }


@vector("stretches")
def _(b):
    net = Network(tuple(b["layers"]))
    states = signs.stream_states(seeds.start_state(b["seed"]), net.neurons)
    bits = signs.BitReader(np.array(states, dtype=np.uint64)).take(24)
    source = SignSource(net, [seeds.start_state(b["seed"])], [1] * net.depth)
    return {
        "layers": b["layers"],
        "seed": b["seed"],
        "K": net.neurons,
        "log2_length": signs.spacing(net.neurons).bit_length() - 1,
        "windows": [hexadecimal(state) for state in states],
        "bits": ["".join(str(bit) for bit in row) for row in bits],
        "random_bytes": [source.random_bytes()[0] for _ in range(8)],
    }


@vector("perturbations")
def _(b):
    net, seed, numbers = Network(tuple(b["layers"])), b.get("seed", 1), b.get("draws", [0, 1, 9])
    numbering = Settings("wp").numbering(net)
    families = {
        name: family(net, numbering, [seed])
        for name, family in perturbations.PERTURBATIONS.items()
        if name != "random"
    }
    drawn = {
        name: [[v[0] for v in family.draw()] for _ in range(max(numbers) + 1)]
        for name, family in families.items()
    }
    a, start = stride_and_start(net.parameters, seed)
    return {
        "layers": b["layers"],
        "seed": seed,
        "SINE": SINE,
        "stride": a,
        "start": start,
        "rows": [rows(n, seed) for n in numbering],
        "phases": [phases[0] for phases in families["sine"]._phases],
        "draws": numbers,
        "values": {name: [of[d] for d in numbers] for name, of in drawn.items()},
    }


@vector("stretch-lengths")
def _(b):
    return {"rows": [[k, signs.spacing(k).bit_length() - 1] for k, _ in b["rows"]]}


# -- training -----------------------------------------------------------------------------------


@vector("update-shift")
def _(b):
    rows = []
    for cost_frac, weight_bits, delta_exp, eta_exp, _ in b["rows"]:
        net = Network((2, 2, 1), cost_frac=cost_frac, weight_bits=weight_bits)
        shift = Settings(delta_exp=delta_exp, eta_exp=eta_exp).shift(net)
        rows.append([cost_frac, weight_bits, delta_exp, eta_exp, shift])
    return {"rows": rows}


def fed_back(total, weight, shift, **settings):
    """(what the weight loses, what the accumulator keeps) of one change."""
    rule = ErrorFeedback(Network((1, 1)), Settings(rounding="residual", **settings))
    accumulator = array([[[total]]])
    lost = rule.change(0, accumulator, array([[[weight]]]), shift, array([0]))
    return [int(lost[0, 0, 0]), int(accumulator[0, 0, 0])]


@vector("error-feedback")
def _(b):
    return {"rows": [[total, shift, *fed_back(total, 0, shift)] for total, shift, *_ in b["rows"]]}


@vector("momentum")
def _(b):
    rows = []
    for total, weight, shift, momentum, decay, *_ in b["rows"]:
        after = fed_back(total, weight, shift, momentum_exp=momentum, decay_exp=decay)
        rows.append([total, weight, shift, momentum, decay, *after])
    return {"rows": rows}


@vector("accumulator-bound")
def _(b):
    rows = []
    for row in b["rows"]:
        chosen = {
            key: value for key, value in row.items() if key not in ("shift_max", "tau_theta_max")
        }
        settings = Settings(rounding="residual", **chosen)

        def network(tau_theta_max, shift_max=row["shift_max"]):
            return Network(
                tuple(b["layers"]),
                accumulators=True,
                shift_max=shift_max,
                tau_theta_max=tau_theta_max,
            )

        least = settings.tau_theta_needed(network(1))
        settings.check(network(least))
        if least > 1:
            with pytest.raises(UserError, match="tau_theta"):
                settings.check(network(least - 1))
        rows.append({**row, "tau_theta_max": least})
    return {"layers": b["layers"], "rows": rows}


class Pieces(Trainer):
    """Notes before which steps the updates under way are made."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ends: list[int] = []

    def finish(self):
        self.ends.append(self.step_number)
        super().finish()


@vector("late-updates")
def _(b):
    rows = []
    for row in b["rows"]:
        net = Network((2, 2, 1), shift_max=b["shift_max"], sample_bits=2, sample_signed=True)
        chosen = {key: value for key, value in row.items() if key not in ("ends", "shifts")}
        settings = Settings(update_delay=1, input_shift=14, **chosen)
        weights = [w[None] for w in seeds.initial_weights(net, 1)]
        trainer = Pieces(net, settings, array([[1, -1]]), array([1]), weights, [1])
        for _ in range(b["steps"]):
            trainer.step()
        shifts = [settings.shift_at(t, net) for t in trainer.ends]
        rows.append({**chosen, "ends": trainer.ends, "shifts": shifts})
    return {"shift_max": b["shift_max"], "steps": b["steps"], "rows": rows}


@vector("node-errors")
def _(b):
    return {
        "errors": [
            [total, shift, byte, node_error(array([total]), shift, array([byte]))[0]]
            for total, shift, byte, _ in b["errors"]
        ],
        "changes": [
            [e, x, bits, byte, formats.stochastic_round(e * x, 28 - (bits - 4), byte, ROUND_BITS)]
            for e, x, bits, byte, _ in b["changes"]
        ],
    }


@vector("run-node-sums")
def _(b):
    net = Network(**{**b["network"], "layers": tuple(b["network"]["layers"])})
    settings, seed = Settings(**b["settings"]), b["start"]["seed"]
    order = seeds.permutation(len(b["samples"]["labels"]), seed)
    start = seeds.initial_weights(net, seed, b["start"]["gain"])
    codes, labels = array(b["samples"]["codes"]), array(b["samples"]["labels"])
    trainer = Trainer(net, settings, codes, labels, [w[None] for w in start], [seed], order[None])
    rule, steps = trainer.memory.rule, []
    assert isinstance(rule, NodeSums)
    for _ in range(settings.tau_theta):
        before = [total[0].copy() for total in rule.sums]
        step, trace = trainer.step(), trainer.trace
        signs = [values[0, :, 0] for values in trace.draw]
        # A change empties the sums.
        sums = [total + step.delta[0] * s for total, s in zip(before, signs, strict=True)]
        steps.append({"t": step.number, "signs": signs, "D": step.delta[0], "E": sums})
    steps[-1] |= {
        "random": trace.random[0],
        "x": [x[0] for x in trace.layer_inputs],
        "e": [e[0] for e in trace.update_terms],
        "weights": [w[0].copy() for w in trainer.weights],
    }
    trainer.train(b["end"]["step"])
    return {
        **{key: b[key] for key in ("network", "settings", "samples")},
        "start": {"seed": seed, "gain": b["start"]["gain"], "order": order, "weights": start},
        "steps": steps,
        "end": {
            "step": trainer.step_number,
            "weights": [w[0] for w in trainer.weights],
            "cost_sum": trainer.cost_sum[0],
            "weight_saturations": trainer.weight_saturations[0],
        },
    }


@vector("step-rules")
def _(b):
    net, start = Network(tuple(b["layers"])), seeds.start_state(b["seed"])
    places: dict[str, Any] = {}
    for kind in ("random", "epoch"):
        orders = [SampleOrder(kind, net, [start], count) for count in b["counts"]]
        places[kind] = [
            [order.take()[0] for _ in range(3 * count)]
            for order, count in zip(orders, b["counts"], strict=True)
        ]
    highpass = HighPass(b["highpass_exp"])
    return {
        **{key: b[key] for key in ("layers", "seed", "counts")},
        **places,
        "highpass_exp": b["highpass_exp"],
        "costs": b["costs"],
        "D": [highpass.delta(array([cost]))[0] for cost in b["costs"]],
    }


@vector("window")
def _(b):
    return {
        **{key: b[key] for key in ("samples", "resident")},
        "rows": [
            {
                "passes": row["passes"],
                "places": SampleWindow(b["resident"], row["passes"])
                .places(np.arange(len(row["places"])), b["samples"])
                .tolist(),
            }
            for row in b["rows"]
        ],
    }


@vector("adam")
def _(b):
    settings = Settings(rounding="residual", optimizer="adam", eta_exp=b["eta_exp"])
    rule, rows = Adam(Network((1, 1)), settings, [np.zeros((1, 1, 1))]), []
    for g, _ in b["steps"]:
        total = array([[[g]]])
        q = rule.change(0, total, np.zeros((1, 1, 1)), b["eta_exp"], array([b["random"]]))
        rows.append([g, int(q[0, 0, 0])])
    return {
        "log2": [[x, log2_of(array([x]))[0]] for x, _ in b["log2"]],
        "eta_exp": b["eta_exp"],
        "random": b["random"],
        "steps": rows,
    }


@vector("skipped-inputs")
def _(b):
    net = Network(tuple(b["layers"]))
    source = SignSource(net, [seeds.start_state(b["seed"])], LEARNING["wp"].widths_of(net.layers))
    drawn = source.draw()[0]
    found = [nonzero_signs(drawn, array([[*x, ONE]]))[0].astype(int) for x in b["inputs"]]
    return {**b, "signs": found}


@vector("imperfect-hardware")
def _(b):
    net = Network(tuple(b["layers"]))
    wrong = Imperfections(
        gain=b["deviation"], offset=b["deviation"], stuck=b["stuck"], stuck_bits=b["stuck_bits"]
    )
    hardware = ImperfectHardware(wrong, net, [b["seed"]])
    low = (1 << b["stuck_bits"]) - 1

    def drawn(word, sigma, frac):
        return imperfections.noise(np.array(int(word, 16), np.uint64)[None], sigma, frac)[0]

    def stored(value):
        shapes = [(n, f + 1) for f, n in zip(net.layers, net.layers[1:], strict=False)]
        filled = [np.full((1, *shape), float(value)) for shape in shapes]
        return [array(hardware.stored(k, w)[0]) for k, w in enumerate(filled)]

    return {
        "noise": [[word, s, f, drawn(word, s, f)] for word, s, f, _ in b["noise"]],
        "layers": b["layers"],
        "seed": b["seed"],
        "deviation": b["deviation"],
        "stuck": b["stuck"],
        "stuck_bits": b["stuck_bits"],
        "gains": [g[0] for g in hardware.gains],
        "offsets": [o[0] for o in hardware.offsets],
        "stuck_places": [
            (zeros ^ ones) ^ low for zeros, ones in zip(stored(0), stored(low), strict=True)
        ],
        "stuck_at": stored(0),
    }


@vector("widths")
def _(b):
    def widths(case):
        net = Network(**{**case["network"], "layers": tuple(case["network"]["layers"])})
        return {**{key: getattr(net, key) for key in case if key != "network"}}

    return {"case": [{**widths(case), "network": case["network"]} for case in b["case"]]}


def one_pass(trainer, weights, x, draw, factor):
    """(pre-activations, activations) of every layer, as the trainer has them."""
    net, settings, z_all, y_all = trainer.network, trainer.settings, [], []
    for layer, (w, s) in enumerate(zip(weights, draw, strict=True)):
        sign_sum = (s * (ONE if settings.perturbs_nodes else x)).sum(axis=-1).astype(np.int64)
        z = pre_activation(weighted_sum(w, x, net), sign_sum, factor, settings.delta_exp, net)
        z_all.append(z[0])
        last = layer == net.depth - 1
        y, _ = output_values(z, net) if last else activate(net.hidden, z, net.pre_frac)
        if not last or net.cost == "mse":
            y_all.append(y[0])
        x = with_bias(y)
    return z_all, y_all


def traced_step(trainer, source, before):
    """One step of `trainer` with every intermediate; `before`: the record of the one before."""
    net, settings, t = trainer.network, trainer.settings, trainer.step_number
    draw = source.draw() if t % settings.tau_p == 0 else before["draw"]
    sample = trainer.order[0, t // settings.tau_x % len(trainer.labels)]
    x = with_bias(trainer.inputs[sample][None])
    old = [w.copy() for w in trainer.weights]
    step = trainer.step()
    shown: dict[str, Any] = {"t": t, "sample": sample}
    shown["signs"] = [s[0, :, 0] if settings.perturbs_nodes else s[0] for s in draw]
    layer_inputs = before.get("layer_inputs")
    passes = [("plus", +1, step.cost_plus), ("minus", -1, step.cost)]
    if not settings.antithetic:
        passes = [("base", 0, step.baseline), ("plus", +1, step.cost)]
    for name, factor, cost in passes:
        if cost is None:
            continue
        z, y = one_pass(trainer, old, x, draw, factor)
        shown |= {f"z_{name}": z, f"y_{name}": y, f"cost_{name}": cost[0]}
        value = (y if net.cost == "mse" else z)[-1]
        assert cost == net.cost_kind.exact(value[None], trainer.labels[[sample]], net)
        if name == passes[0][0]:
            layer_inputs = [x[0], *(with_bias(v) for v in y[: net.depth - 1])]
    random = source.random_bytes()[0]
    shown |= {"D": step.delta[0], "random": random}
    shift = ACT_FRAC + (0 if settings.accumulates else trainer.shift)
    if settings.perturbs_nodes:
        factors = layer_inputs
    else:
        factors = [array(ONE)] * net.depth
    update_terms = [
        formats.stochastic_round(step.delta[0] * f, shift, random, ROUND_BITS) for f in factors
    ]
    shown["update_term"] = update_terms if settings.perturbs_nodes else update_terms[0]
    if settings.accumulates:
        shown["G"] = [g[0] for g in trainer.accumulators]
    else:
        moved = [w[0] - s[0] * v for w, s, v in zip(old, draw, update_terms, strict=True)]
        for w, m in zip(trainer.weights, moved, strict=True):
            assert (w[0] == np.clip(m, net.weight_min, net.weight_max)).all()
    changed = any((w != o).any() for w, o in zip(trainer.weights, old, strict=True))
    assert step.updated or not changed
    if changed:
        shown["weights"] = [w[0] for w in trainer.weights]
    # Now, since the trainer's arrays change in place.
    return plain(shown), {"draw": draw, "layer_inputs": layer_inputs}


@vector(
    "run-np-stochastic",
    "run-wp-residual",
    "run-cross-entropy",
    "run-narrow",
    "run-wide",
    "run-fine",
    "run-walsh-by-layer",
    "run-sine",
    "run-momentum",
    "run-adam",
    "run-continuous",
    "run-late-updates",
)
def _(b):
    net = Network(**{**b["network"], "layers": tuple(b["network"]["layers"])})
    flags = tuple(b["settings"].get("trainable", ()))
    settings = Settings(**{**b["settings"], "trainable": flags})
    seed, data = b["start"]["seed"], b["samples"]
    order = seeds.permutation(len(data["labels"]), seed)
    start = seeds.initial_weights(net, seed, b["start"]["gain"])
    codes, labels = array(data["codes"]), array(data["labels"])
    weights = [w[None] for w in start]
    trainer = Trainer(net, settings, codes, labels, weights, [seed], order[None])
    widths = settings.learning.widths_of(net.layers)
    source = SignSource(net, [seeds.start_state(seed)], widths)
    steps, first_d, context = [], [], {}
    for _ in range(b["end"]["step"]):
        number = trainer.step_number
        if number < len(b.get("steps", [])):
            shown, context = traced_step(trainer, source, context)
            steps.append(shown)
            first_d.append(shown["D"])
        else:
            delta = trainer.step().delta
            first_d.append(delta[:, 0] if settings.by_layer else delta[0])
    trainer.finish()
    correct, cost = trainer.evaluate(codes, labels)
    return {
        "network": b["network"],
        "settings": b["settings"],
        "samples": data,
        "start": {
            "seed": seed,
            "gain": b["start"]["gain"],
            "order": order,
            "weights": start,
        },
        **({"steps": steps} if steps else {}),
        "end": {
            "step": trainer.step_number,
            "first_D": first_d[:12],
            "weights": [w[0] for w in trainer.weights],
            **({"G": [g[0] for g in trainer.accumulators]} if settings.accumulates else {}),
            "cost_sum": trainer.cost_sum[0],
            "weight_saturations": trainer.weight_saturations[0],
            "activation_saturations": trainer.activation_saturations[0],
            "correct": correct[0],
            "evaluated_cost": cost[0],
        },
    }
