"""Train networks on an FPGA core from Python: see docs/api.md.

>>> from mgd import open_session
>>> with open_session("xor", backend="golden", seed=2) as session:
...     points = session.train()
...     print(session.step, session.evaluate().accuracy)
160 1.0

The project's folders are its sub-packages: `mgd.rtl`, `mgd.golden_model`, `mgd.host` and so on are
links to the folders of these names, so that one name is installed and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mgd.api.session import TrainingSession, open_session
    from mgd.golden_model.errors import UserError
    from mgd.host.runs.progress import CurvePoint
    from mgd.host.session.base import Counters, Evaluation
    from mgd.host.task.task import Task

_HOME = {
    "Counters": "mgd.host.session.base",
    "CurvePoint": "mgd.host.runs.progress",
    "Evaluation": "mgd.host.session.base",
    "Task": "mgd.host.task.task",
    "TrainingSession": "mgd.api.session",
    "UserError": "mgd.golden_model.errors",
    "open_session": "mgd.api.session",
}

__all__ = [
    "Counters",
    "CurvePoint",
    "Evaluation",
    "Task",
    "TrainingSession",
    "UserError",
    "open_session",
]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: `import mgd.rtl.lib.delay` must not load the host, nor a host
    # that only opens a port the gateware.
    if name not in _HOME:
        raise AttributeError(f"module 'mgd' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
