"""Tables in the documentation that a command writes, between two comments."""

from __future__ import annotations

import re
from pathlib import Path

from mgd.golden_model.errors import UserError


def replace_between(page: Path, name: str, text: str) -> None:
    """Put `text` between <!-- name --> and <!-- /name --> of a page.

    Raises UserError where the page cannot be read or written, or has no such place.
    """
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    try:
        before = page.read_text(encoding="utf-8")
        pattern = re.escape(opening) + ".*?" + re.escape(closing)
        found = re.findall(pattern, before, re.DOTALL)
        if len(found) != 1:
            raise UserError(
                f"{page}: has {len(found)} places between {opening} and {closing}, one is needed"
            )
        page.write_text(before.replace(found[0], f"{opening}\n{text}\n{closing}"), encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{page}: cannot be written ({error.strerror}); run this in a clone of the project"
        ) from None
