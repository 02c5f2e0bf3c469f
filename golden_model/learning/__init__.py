"""Learning rules, one a module.  A new rule is a module here and an entry of LEARNING."""

from __future__ import annotations

from mgd.golden_model.learning import node_perturbation, weight_perturbation
from mgd.golden_model.learning.base import LearningRule

__all__ = ["LEARNING", "LearningRule"]

LEARNING: dict[str, LearningRule] = {
    rule.name: rule for rule in (weight_perturbation.RULE, node_perturbation.RULE)
}
"""Every learning rule by the name that a task file gives: `method`."""
