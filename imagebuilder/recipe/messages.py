"""What a mistake is called in plain words: what was expected, what was found, the nearest right name."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

from imagebuilder.recipe.base import LONGEST, MISTAKE, found
from imagebuilder.recipe.fields import NAME, PATTERNS
from imagebuilder.recipe.suggestions import nearest, suggest
from imagebuilder.sources import SOURCES

Said = tuple[str, str | None]  # what is wrong, and a hint


def explain(error: ErrorDetails) -> Said:
    """The message and the hint for one of pydantic's errors."""
    context = error.get("ctx", {})
    if error["type"] == MISTAKE:
        return context["message"], context["hint"]
    says = SAYS.get(error["type"])
    return says(error["input"], context) if says else (f"{error['msg']}, found {found(error['input'])}", None)


def _text(value: Any, _context: Mapping[str, Any]) -> Said:
    plain = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**15
    return f"expected a text, found {found(value)}", f'write "{value}"' if plain else None


def _list(value: Any, _context: Mapping[str, Any]) -> Said:
    short = isinstance(value, str) and len(value) <= LONGEST and value.isprintable() and '"' not in value
    return f"expected a list, found {found(value)}", f'write ["{value}"]' if short else None


def _integer(value: Any, _context: Mapping[str, Any]) -> Said:
    digits = isinstance(value, str) and re.fullmatch("[0-9]{1,15}", value)
    return f"expected a whole number, found {found(value)}", f"write {value} without quotes" if digits else None


def _choice(value: Any, context: Mapping[str, Any]) -> Said:
    known = re.findall("'([^']*)'", context.get("expected") or context["expected_tags"])
    hint = suggest(value, known) if isinstance(value, str) and nearest(value, known) else None
    return f"expected {_listed(known)}, found {found(value)}", hint


def _source_type(value: Any, context: Mapping[str, Any]) -> Said:
    return _choice(value.get("type") if isinstance(value, Mapping) else value, context)


def _pattern(value: Any, context: Mapping[str, Any]) -> Said:
    pattern = context["pattern"]
    slug = re.sub("[^a-z0-9]+", "-", str(value).lower()).strip("-") if pattern == NAME else ""
    return f"expected {PATTERNS[pattern]}, found {found(value)}", f"write '{slug}'" if slug else None


def _literal(value: Any, context: Mapping[str, Any]) -> Said:
    return f"expected {context['expected'].lower()}, found {found(value)}", None


def _plain(expected: str) -> Callable[[Any, Mapping[str, Any]], Said]:
    return lambda value, context: (f"expected {expected.format_map(context)}, found {found(value)}", None)


def _listed(words: list[str], quote: str = "'") -> str:
    quoted = [f"{quote}{word}{quote}" for word in words]
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}" if len(quoted) > 1 else quoted[0]


# Pydantic's type of error -> what we say.
SAYS: Mapping[str, Callable[[Any, Mapping[str, Any]], Said]] = {
    "string_type": _text,
    "int_type": _integer,
    "bool_type": _plain("true or false"),
    "tuple_type": _list,
    "dict_type": _plain("a table"),
    "mapping_type": _plain("a table"),
    "model_type": _plain("a table"),
    "model_attributes_type": _plain("a table"),
    "enum": _choice,
    "literal_error": _literal,
    "union_tag_invalid": _source_type,
    "union_tag_not_found": lambda _value, _context: (
        "the key 'type' is missing",
        f"it says the kind of source: {_listed([*SOURCES], quote='')}",
    ),
    "greater_than_equal": _plain("at least {ge}"),
    "less_than_equal": _plain("at most {le}"),
    "too_short": _plain("at least {min_length} entry"),
    "string_too_short": _plain("a text that is not empty"),
    "string_too_long": _plain("at most {max_length} characters"),
    "string_pattern_mismatch": _pattern,
}
