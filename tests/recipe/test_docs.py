"""The reference names every key, and its examples are recipes that load."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from imagebuilder.recipe import model
from imagebuilder.recipe.base import Part
from imagebuilder.recipe.load import load
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


@pytest.mark.parametrize(
    "words", [LimitName, MountType, ReadyKind, RootFormat, StopSignal], ids=lambda words: words.__name__
)
def test_every_word_is_named(words: type[LimitName]) -> None:
    assert [word for word in words if f"`{word}`" not in TEXT] == []


@pytest.mark.parametrize(
    "text", re.findall(r"```toml\n(name = .*?)```", TEXT, re.S), ids=lambda text: text.split('"')[1]
)
def test_examples_load(text: str, tmp_path: Path) -> None:
    for name in [*re.findall(r'(?:source|template) = "(.+?)"', text), "hello.c"]:
        (tmp_path / name).touch()
    (tmp_path / "recipe.toml").write_text(text)
    assert load(tmp_path).name


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2
