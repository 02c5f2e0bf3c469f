"""Whether each row of refusals (golden_model.rules.Rule) refuses something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest

from mgd.golden_model.errors import UserError
from mgd.golden_model.rules import Rule


def check_rows(groups: Mapping[str, Sequence[Rule]], cases: Iterable[Callable[[], object]]) -> None:
    """Each case must be refused, and together they must name every row of `groups`, each in one
    line with a cure and no template left in it."""
    rows = {rule.name: rule for group in groups.values() for rule in group}
    # One row may stand in two groups; two rows may not share a name.
    assert {id(rule) for group in groups.values() for rule in group} == set(map(id, rows.values()))
    found = {}
    for case in cases:
        with pytest.raises(UserError) as caught:
            case()
        found[caught.value.rule] = str(caught.value)
    assert set(rows) <= set(found), set(rows) - set(found)
    for name in rows:
        message = found[name]
        assert "\n" not in message
        assert "{" not in message
        said, cure = message.rsplit("; ", 1)
        assert said
        assert cure
