"""The reference has each table of a recipe with all its keys and no other, and says which must be given. That its
examples load is seen in tests/docs."""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest

from imagebuilder.recipe.base import RecipeTable
from imagebuilder.recipe.model import Recipe
from imagebuilder.recipe.values import (
    CloneSignal,
    Egress,
    LimitName,
    MountType,
    ReadyKind,
    RootFormat,
    StopSignal,
)
from imagebuilder.sources import SOURCES

TEXT = (Path(__file__).parents[2] / "docs" / "recipe.md").read_text()
EXAMPLES = re.findall(r"```toml\n(name = .*?)```", TEXT, re.S)
HEADING = re.compile(r"^## (?:`\[+(\w+)\]+`)?", re.M)
KIND = re.compile(r"^`(\w+)`: ", re.M)
KEYS = re.compile(r"^\| key \| \| meaning \|\n\|[-|]+\|\n((?:\|.*\n)+)", re.M)
ROW = re.compile(r"^\| `(\w+)` \| (•?)", re.M)
SOURCE_KEYS = {kind: {*row.model.model_fields} - {"type"} for kind, row in SOURCES.items()}
WORDS: dict[type[StrEnum], str] = {
    LimitName: "application",
    StopSignal: "application",
    MountType: "root",
    RootFormat: "root",
    Egress: "machine",
    ReadyKind: "ready",
    CloneSignal: "template",
}
"""The table in which a word can be said."""


def sections() -> dict[str, str]:
    """The page by its tables of a recipe; what stands before the first is that of the recipe itself."""
    first, *rest = HEADING.split(TEXT)
    return {"": first, **{name: text for name, text in zip(rest[::2], rest[1::2], strict=True) if name}}


def keys(text: str) -> dict[str, bool]:
    """The keys that the tables of a section explain, and whether each is marked as one that must be given."""
    return {key: bool(mark) for table in KEYS.findall(text) for key, mark in ROW.findall(table)}


def parts(annotation: Any) -> Iterator[type[RecipeTable]]:
    """The tables in the type of a field, those in them too."""
    if isinstance(annotation, type) and issubclass(annotation, RecipeTable):
        yield annotation
        for field in annotation.model_fields.values():
            yield from parts(field.annotation)
    for inner in get_args(annotation):
        yield from parts(inner)


SECTIONS = sections()
TABLES = {name: [*dict.fromkeys(parts(field.annotation))] for name, field in Recipe.model_fields.items()}


def test_each_table_has_a_section_and_each_section_is_one() -> None:
    explained = {*keys(SECTIONS[""])}
    assert explained | {*SECTIONS} - {""} == {*Recipe.model_fields}
    assert not explained & {*SECTIONS}
    required = {name for name, field in Recipe.model_fields.items() if field.is_required()}
    marked = {name for name, mark in keys(SECTIONS[""]).items() if mark}
    marked |= {name for name in SECTIONS if re.search(rf"^## `\[+{name}\]+` •", TEXT, re.M)}
    assert marked == required


@pytest.mark.parametrize("name", [name for name in TABLES if name in SECTIONS and name != "source"])
def test_a_section_has_the_keys_of_its_table_and_no_other(name: str) -> None:
    fields = {key: field for part in TABLES[name] for key, field in part.model_fields.items()}
    assert keys(SECTIONS[name]) == {key: field.is_required() for key, field in fields.items()}


def test_each_kind_of_source_has_its_keys_and_no_other() -> None:
    common, *rest = KIND.split(SECTIONS["source"])
    assert {*keys(common)} == {"type"}
    found = {kind: keys(text) for kind, text in zip(rest[::2], rest[1::2], strict=True)}
    assert {kind: {*each} for kind, each in found.items()} == SOURCE_KEYS
    for kind, each in found.items():
        assert each == {key: SOURCES[kind].model.model_fields[key].is_required() for key in each}
        assert f'\n| `"{kind}"` | ' in common


@pytest.mark.parametrize("words", WORDS, ids=lambda words: words.__name__)
def test_every_word_is_named_where_it_can_be_said(words: type[StrEnum]) -> None:
    named = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]+)`", SECTIONS[WORDS[words]]))))
    assert [word.value for word in words if word.value not in named] == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2
