"""`mgd selftest`: checks the board on a port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from mgd.api.backends import check_port, for_core, sample_words, say
from mgd.host.link.ports import NoAnswerError, open_port
from mgd.host.link.transport import Transport
from mgd.host.runs.folder import check_json, package_version, write_json
from mgd.host.selftest.check import CHECKS, Check
from mgd.host.selftest.checks import self_test
from mgd.host.task.task import Task
from mgd.rtl.core_kinds import config_for

SIM_TASK = "xor"
SIM_SAMPLE_WORDS = 1024
"""At least; the memory of a small task would be no test of a memory."""


@click.command()
@click.argument("task_name", metavar="[TASK_OR_TOML]", required=False)
@click.option("--port", required=True, metavar="sim|PORT", help="The board's serial port, or sim.")
@click.option(
    "--baud", type=click.IntRange(min=1), metavar="N", help="Baud rate; else it is found."
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the result for machines.",
)
def selftest(task_name: str | None, port: str, baud: int | None, json_file: Path | None) -> int:
    """Check identity, memories, a training run, counters and link of a board.

    TASK_OR_TOML is what the board was built for; a built-in task is found by itself.  The
    board's weights and samples are overwritten.  Exit code 1 where a check fails.
    """
    if port != "sim":
        check_port(port, "port", ("sim",))
    if json_file:
        check_json(json_file)
    task = None
    if task_name or port == "sim":
        task = for_core(Task.load(task_name or SIM_TASK))
    checks = []
    for check in _checks(port, baud, task):
        checks.append(check)
        _show(check)
    names = [check.name for check in checks]
    if skipped := [name for name in CHECKS if name not in names]:
        click.echo(f"not done: {', '.join(skipped)}")
    passed = not skipped and all(check.passed for check in checks)
    if json_file:
        write_json(json_file, _result(port, task, passed, checks))
    return 0 if passed else 1


def _checks(port: str, baud: int | None, task: Task | None) -> Iterator[Check]:
    try:
        with _opened(port, baud, task) as transport:
            yield from self_test(transport, task, port)
    except NoAnswerError as error:
        yield Check("identity", False, str(error))


@contextmanager
def _opened(port: str, baud: int | None, task: Task | None) -> Iterator[Transport]:
    """The transport to the board; ends the simulation if it started one."""
    if port != "sim":
        transport = open_port(port, baud)
        try:
            yield transport
        finally:
            transport.close()
        return
    from mgd.boards.simulated import board as simulated

    assert task is not None
    words = max(SIM_SAMPLE_WORDS, sample_words(task))
    board = simulated.start(config_for(task.core_layout()), words, notify=say)
    try:
        transport = open_port(board.port)
        try:
            yield transport
        finally:
            transport.close()
    finally:
        board.close()


def _show(check: Check) -> None:
    click.echo(f"{'PASS' if check.passed else 'FAIL'}  {check.name:<9} {check.detail}")
    if check.remedy:
        click.echo(f"      {'':<9} {check.remedy}")


def _result(port: str, task: Task | None, passed: bool, checks: list[Check]) -> dict[str, Any]:
    return {
        "port": port,
        "task": task.name if task else None,
        "version": package_version(),
        "passed": passed,
        "checks": [
            {
                "name": check.name,
                "passed": check.passed,
                "detail": check.detail,
                "remedy": check.remedy,
                **check.measured,
            }
            for check in checks
        ],
    }
