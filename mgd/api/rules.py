"""The refusal of an open session, as a row: `name` = `wanted` of a core with another value."""

from __future__ import annotations

from mgd.golden_model.rules import Rule

CONFIGURE = (
    Rule(
        "another-core",
        lambda name, wanted, built: wanted != built,
        "{name} = {wanted!r}: this core has {built!r}, which is decided when it is built",
        "open another session",
    ),
)
