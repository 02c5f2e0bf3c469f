"""Train networks on an FPGA core from Python: see docs/api.md.

>>> from mgd import open_session
>>> with open_session("xor", backend="golden", seed=2) as session:
...     points = session.train()
...     print(session.step, session.evaluate().accuracy)
160 1.0
"""

from golden_model.errors import UserError
from host.progress import CurvePoint
from host.session import Counters, Evaluation
from host.task import Task
from mgd.session import TrainingSession, open_session

__all__ = [
    "Counters",
    "CurvePoint",
    "Evaluation",
    "Task",
    "TrainingSession",
    "UserError",
    "open_session",
]
