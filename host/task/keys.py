"""From a declared setting (golden_model.declaration) to a key of the task file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from mgd.golden_model.declaration import Choice, Declaration, Flag, Flags, Real, Whole

AUTO = "auto"


def key_type(known: Declaration) -> Any:
    """The key's type and limits, for pydantic."""
    match known.allowed:
        case Choice(names):
            return Literal[(AUTO, *names) if known.auto else names]
        case Whole(low, high):
            return Annotated[int, Field(ge=low, le=high)]
        case Real(above, None):
            return Annotated[float, Field(gt=above)]
        case Real(above, most):
            return Annotated[float, Field(gt=above, le=most)]
        case Flag():
            return bool
        case Flags():
            return list[bool]
    raise TypeError(f"{known.name}: {known.allowed} is no kind of limit")


def section(name: str, base: type[BaseModel], known: Iterable[Declaration], module: str) -> Any:
    """A section of the task file with a key for each declaration, None where it is not given."""
    keys: dict[str, Any] = {each.name: (key_type(each) | None, None) for each in known}
    return create_model(name, __base__=base, __module__=module, **keys)
