"""Tests marked `simulated` return a row; all rows of a module are one simulation (batch.py).

    @pytest.mark.simulated
    @pytest.mark.parametrize("width", [3, 8])
    def test_thing(width):
        return Row(Thing(width), counts, {"width": width})

    @cocotb.test(timeout_time=1, timeout_unit="ms")
    async def counts(dut):
        width = params()["width"]

The first of them that runs simulates all of the module that were selected.
"""

from __future__ import annotations

import pytest

from cocotb_tests.support.batch import Batch, Row

Verdicts = dict[str, str | BaseException | None]
_verdicts: dict[pytest.Module, Verdicts] = {}
"""Of each simulated test: None if it passed, why it failed, or what making its row raised."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One of xdist's workers gets all of a module's, with --dist loadgroup."""
    for item in items:
        if is_simulated(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not is_simulated(pyfuncitem):
        return None
    module = pyfuncitem.getparent(pytest.Module)
    assert module is not None
    if module not in _verdicts:
        chosen = [
            item
            for item in pyfuncitem.session.items
            if item.getparent(pytest.Module) is module and is_simulated(item)
        ]
        _verdicts[module] = simulated(chosen)
    verdict = _verdicts[module][pyfuncitem.nodeid]
    if isinstance(verdict, BaseException):
        raise verdict
    if verdict is not None:
        pytest.fail(verdict, pytrace=False)
    return True


def is_simulated(item: pytest.Item) -> bool:
    return item.get_closest_marker("simulated") is not None


def simulated(items: list[pytest.Item]) -> Verdicts:
    verdicts: Verdicts = {}
    rows: dict[str, Row] = {}
    for item in items:
        assert isinstance(item, pytest.Function)
        given = item.callspec.params if hasattr(item, "callspec") else {}
        try:
            rows[item.nodeid] = item.obj(**given)
        except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:
            verdicts[item.nodeid] = error
    found = Batch(items[0].path.stem, list(rows.values())).verdicts()
    return verdicts | dict(zip(rows, found, strict=True))
