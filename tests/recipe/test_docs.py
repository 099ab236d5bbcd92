"""The reference names every key and no other. That its examples load is seen in tests/docs."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from imagebuilder.recipe import model
from imagebuilder.recipe.base import Part
from imagebuilder.recipe.values import LimitName, MountType, ReadyKind, RootFormat, StopSignal

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"
TEXT = PAGE.read_text()
EXAMPLES = re.findall(r"```toml\n(name = .*?)```", TEXT, re.S)
WORDS = (LimitName, MountType, ReadyKind, RootFormat, StopSignal)


TABLES = [
    each for each in vars(model).values() if isinstance(each, type) and issubclass(each, Part) and each is not Part
]


@pytest.mark.parametrize("part", TABLES, ids=lambda part: part.__name__)
def test_every_key_is_explained(part: type[BaseModel]) -> None:
    explained = set(re.findall(r"^\| `([a-z_]+)`", TEXT, re.M)) | set(re.findall(r"^## `\[\[?([a-z]+)\]", TEXT, re.M))
    assert set(part.model_fields) - explained == set()


def test_every_explained_key_is_one() -> None:
    """Of a part, or a word of a table of words (an interpreter, a mount that an image has by itself)."""
    explained = set(re.findall(r"^\| `([a-z_]+)` \|", TEXT, re.M)) | set(
        re.findall(r"^## `\[\[?([a-z]+)\]", TEXT, re.M)
    )
    assert explained - {name for part in TABLES for name in part.model_fields} == set()


@pytest.mark.parametrize(
    "words", [LimitName, MountType, ReadyKind, RootFormat, StopSignal], ids=lambda words: words.__name__
)
def test_every_word_is_named(words: type[LimitName]) -> None:
    assert [word for word in words if f"`{word}`" not in TEXT] == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2
