"""Every refusal is a row, and every row refuses something."""

from __future__ import annotations

import pytest

from mgd.golden_model import rules
from mgd.golden_model.costs import KINDS
from mgd.golden_model.declaration import declarations
from mgd.golden_model.errors import UserError
from mgd.golden_model.imperfections import ImperfectHardware, Imperfections
from mgd.golden_model.network import Network
from mgd.golden_model.run_spec import CoreSpec, RunSpec
from mgd.golden_model.samples.window import SampleWindow
from mgd.golden_model.settings import Settings, delta_exp_for
from tests.golden_model import test_network, test_node_sums, test_settings
from tests.support.rows import check_rows

LATE = {"update_delay": 20}
MORE_SETTINGS = [
    {**LATE, "rounding": "residual"},
    {**LATE, "difference": "forward"},
    {**LATE, "resident": 4},
    {"passes": 3},
    {"resident": 7, "passes": 2},
    {"resident": 8, "sample_order": "random"},
    {"optimizer": "adam", "momentum_exp": 9, "rounding": "residual"},
]
IMPERFECTIONS = [
    *({name: 99.0} for name in ("cost_noise", "update_noise", "gain", "offset")),
    *({name: -0.1} for name in ("stuck", "stuck_synapse")),
    {"stuck_bits": 18},
    {"cost_bits": -1},
]


def refused_by_the_model():
    """Each is refused: the cases of the other tables, and more."""
    cases = [lambda f=f: Network(**{"layers": (2, 2), **f}) for f, _ in test_network.REFUSED]
    cases += [lambda f=f: Settings(**f) for f, _ in test_settings.REFUSED]
    cases += [lambda f=f: Settings(**f) for f in MORE_SETTINGS]
    cases += [lambda f=f: Settings(**test_node_sums.GOOD | f) for f, _ in test_node_sums.REFUSED]
    cases += [
        lambda f=f, n=n: RunSpec(Network((3, 2), **n), Settings(**f))
        for f, n, _ in test_settings.DOES_NOT_SUIT
    ]
    cases += [lambda f=f: Imperfections(**f) for f in IMPERFECTIONS]
    return [
        *cases,
        lambda: Network((2, 2), smoothing_exp=3),
        lambda: Settings(rounding="residual", optimizer="adam").check_resumable(),
        lambda: Settings(difference="highpass").check_resumable(),
        lambda: Settings(accumulate="nodes").check_resumable(),
        lambda: SampleWindow(5).check(4),
        lambda: delta_exp_for(9.0, "random", Settings().numbering(Network((2, 2, 1)))),
        lambda: ImperfectHardware(
            Imperfections(stuck_bits=8), Network((2, 2), weight_bits=8, cost_frac=12), [1]
        ),
    ]


def test_every_row_refuses_in_one_line_with_a_cure():
    costs = {cost.name: cost.rules for cost in KINDS.values()}
    check_rows({**rules.GROUPS, **costs}, refused_by_the_model())


@pytest.mark.parametrize("owner", [Settings(), Network((2, 2)), CoreSpec()])
def test_every_declared_limit_refuses(owner):
    """A value just outside: none is accepted, and the message names it and both limits."""
    for name, known in declarations(owner).items():
        high = getattr(known.allowed, "high", None)
        outside = ["?"] if high is None else [known.allowed.low - 1, high + 1]
        for value in outside:
            fields = {"layers": (2, 2)} if isinstance(owner, Network) else {}
            with pytest.raises(UserError) as caught:
                type(owner)(**fields, **{name: value})
            assert caught.value.rule == f"{name}-allowed"
            assert str(caught.value) == f"{name} = {value!r}: must be {known.allowed}"


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 0},
        {"target": 0.0},
        {"target": 1.1},
        {"init_gain": 8.1},
        {"norm": 0.0},
        {"seed": -1},
    ],
)
def test_the_limits_of_a_run(fields):
    (name,) = fields
    with pytest.raises(UserError, match=f"{name} = .*: must be (above|between)"):
        RunSpec(Network((2, 2)), Settings(), **fields)
