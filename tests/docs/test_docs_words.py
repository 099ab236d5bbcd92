"""Our pages, help texts and messages use the field's words, and none that need a sentence of explanation."""

import ast
import re
from functools import cache

import pytest

from tests.docs.blocks import PAGES, ROOT, prose

PRIVATE = {
    r"memory gave|gave first|what gave|files gave": "limited by, the limiting resource",
    r"definition has not": "the definition lacks it",
    r"becom\w+ somebody|became somebody": "a clone gets a new identity",
    r"one (?:file|row|line|test) an? \w+|a (?:file|row|line) an? (?:verb|format|test|kind|source)": "one per",
    r"(?:told|said)\s+in one line": "reported in one line",
    r"in vain": "without gain",
    r"\bweather\b": "load of the host",
    r"by halves": "half written, half removed",
    r"nobody listens|answers at no port": "nothing listens on the port",
    r"(?:made|fetched) anew|makes it anew": "rebuilt, fetched again",
    r"told in a line|is told by|are told by": "reported by",
    r"\bonce an? (?:session|kernel)\b": "once per",
    r"\bcrowds?\b|\bstandings\b|\bworkshop\b": "density view, bench table, session",
}
"""What is not to be read, and what to write."""


@cache
def sentences() -> tuple[tuple[str, str], ...]:
    """The texts of our modules, each with its module: docstrings, messages, help."""
    return tuple(
        (path.name, node.value)
        for path in sorted((ROOT / "imagebuilder").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    )


@pytest.mark.parametrize("words", PRIVATE)
def test_pages_have_the_fields_words(words: str) -> None:
    pattern = re.compile(words, re.I)
    found = {page: pattern.findall(prose(page)) for page in PAGES}
    assert {page: hits for page, hits in found.items() if hits} == {}, f"write: {PRIVATE[words]}"


@pytest.mark.parametrize("words", PRIVATE)
def test_texts_of_the_code_have_them_too(words: str) -> None:
    pattern = re.compile(words, re.I)
    found = [(name, text) for name, text in sentences() if pattern.search(text)]
    assert found == [], f"write: {PRIVATE[words]}"
