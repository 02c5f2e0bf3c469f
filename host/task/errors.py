"""Errors of a task file as one line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from mgd.golden_model.errors import UserError

EXAMPLES = {
    "layers": "layers = [64, 32, 10]",
    "source": 'source = "digits"',
    "name": 'name = "my-task"',
    "task": 'name = "my-task" under [task]',
    "data": 'source = "digits" under [data]',
    "network": "layers = [64, 32, 10] under [network]",
}
KINDS = {
    "int_type": "a whole number without quotes",
    "int_from_float": "a whole number",
    "float_type": "a number without quotes",
    "string_type": "a text in quotes",
    "bool_type": "true or false, without quotes",
    "list_type": "a list such as [64, 32, 10]",
    "model_type": "a section",
    "finite_number": "a finite number",
}
LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "less_than_equal": ("le", "at most"),
    "greater_than": ("gt", "above"),
    "less_than": ("lt", "below"),
}


def near(word: str, known: Iterable[str]) -> str:
    """A hint such as " (did you mean 'steps'?)", or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]!r}?)" if found else ""


def to_user_error(where: str, error: ValidationError, model: type[BaseModel]) -> UserError:
    """The first error of `error` as one line, with the number of further ones.

    `where` names the file, or the place the values came from.
    """
    # A misspelt key is often missing as well; its spelling is the better message.
    errors = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return UserError(f"{where}: {_line(first, model)}{more}".replace("\n", " "))


def _line(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    loc, kind, context = error["loc"], error["type"], error.get("ctx", {})
    sections, key = _place(loc, model)
    place = f"[{'.'.join(sections)}] {key}".strip() if sections else key
    if kind == "extra_forbidden":
        return _unknown(sections, key, error["input"], model)
    if kind == "missing":
        return f"{place if sections else f'section [{key}]'} is missing; write {EXAMPLES[key]}"
    value = f"{place} = {_show(error['input'])}"
    if kind in LIMITS:
        name, words = LIMITS[kind]
        return f"{value}: must be {words} {context[name]}{_both_limits(sections, key, model)}"
    if kind == "literal_error":
        hint = near(str(error["input"]), re.findall("'([^']*)'", context["expected"]))
        return f"{value}: must be {context['expected']}{hint}"
    if kind == "string_pattern_mismatch":
        return f"{value}: must be 1 to 64 letters, digits, '_', '.' or '-', as it names a folder"
    if kind == "model_type":
        header = ".".join([*sections, key])
        return f"{value}: must be a section; write [{header}] on its own"
    if kind in KINDS:
        return f"{value}: must be {KINDS[kind]}"
    if kind == "value_error":
        return f"{value}: {context['error']}"
    return f"{value}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _place(loc: tuple, model: type[BaseModel]) -> tuple[list[str], str]:
    """(["training", "np"], "steps"); a list's element becomes layers[1]."""
    sections: list[str] = []
    current: type[BaseModel] | None = model
    rest = list(loc)
    while current is not None and len(rest) > 1:
        current = _section(current, str(rest[0]))
        if current is not None:
            sections.append(str(rest.pop(0)))
    key = str(rest[0])
    for item in rest[1:]:
        key += f"[{item}]" if isinstance(item, int) else ""
    return sections, key


def _section(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = model.model_fields.get(name)
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _unknown(sections: list[str], key: str, value: object, model: type[BaseModel]) -> str:
    home: type[BaseModel] = model
    for name in sections:
        home = _section(home, name) or home
    known = sorted(home.model_fields)
    owners = [
        name
        for name in model.model_fields
        if (section := _section(model, name)) and key in section.model_fields
    ]
    hint = near(key, known)
    if not hint and owners:
        hint = f"; it belongs in [{owners[0]}]"
    if not sections and isinstance(value, dict):
        return f"unknown section [{key}]{hint or '; there are ' + ', '.join(known)}"
    place = f"in [{'.'.join(sections)}]" if sections else "outside any section"
    return f"unknown key {key!r} {place}{hint or '; there are ' + ', '.join(known)}"


def _both_limits(sections: list[str], key: str, model: type[BaseModel]) -> str:
    """ " (0 to 31)" where the schema has both limits: the user needs both."""
    home: type[BaseModel] = model
    for name in sections:
        home = _section(home, name) or home
    schema = home.model_json_schema()["properties"].get(key, {})
    for option in [schema, *schema.get("anyOf", [])]:
        if "minimum" in option and "maximum" in option:
            return f" ({option['minimum']} to {option['maximum']})"
    return ""


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
