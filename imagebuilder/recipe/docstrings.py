"""What stands below the keys of a table in its source: read where a message or the schema shows it, and not whenever
the tables are imported, as pydantic's ``use_attribute_docstrings`` does."""

import ast
import inspect
from collections.abc import Mapping
from itertools import pairwise
from textwrap import dedent


def docstrings(table: type) -> Mapping[str, str]:
    """The docstrings of a class's attributes by their names; those of its bases too. Empty without the source."""
    found: dict[str, str] = {}
    for each in reversed(table.__mro__):
        if each.__module__.partition(".")[0] == table.__module__.partition(".")[0]:
            found |= _own(each)
    return found


def _own(table: type) -> dict[str, str]:
    try:
        (definition,) = ast.parse(dedent(inspect.getsource(table))).body
    except (OSError, SyntaxError):
        return {}
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        attribute.target.id: inspect.cleandoc(text.value.value)
        for attribute, text in pairwise(body)
        if isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
