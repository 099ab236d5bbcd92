"""The recipes of docs/applications.md: each is built, booted, and gives its answer."""

import re
import tomllib
from pathlib import Path

import pytest

from imagebuilder.build.walk import build
from imagebuilder.events import silent
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from tests.docs.blocks import ALL

PAGE = "docs/applications.md"
SLOW = {"java", "node", "perl", "php", "postgres", "python", "ruby"}
"""What takes about a minute or more, emulated."""
LANGUAGES = ("python", "node", "java", "php", "perl", "ruby", "busybox", "c")
MOST_LINES = 12
BLOCKS = [block for block in ALL if block.page == PAGE]
RECIPES = {tomllib.loads(block.text)["name"]: block.text for block in BLOCKS if block.language == "toml"}
BESIDE = {block.file: block.text for block in BLOCKS if block.file}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Empty at first; what one recipe downloads the next one has."""
    return Store(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_language_needs_few_lines_and_names_nothing_of_its_own(name: str) -> None:
    assert len(RECIPES[name].splitlines()) <= MOST_LINES
    assert "include" not in RECIPES[name]


@pytest.mark.vm
@pytest.mark.network
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RECIPES]
)
async def test_a_documented_recipe_gets_ready(tmp_path: Path, store: Store, name: str) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPES[name])
    for file in re.findall(r'(?:source = |inputs = \[)"(.+?)"', RECIPES[name]):
        (tmp_path / file).write_text(BESIDE[file])
    bundle = build(load(str(tmp_path)), tmp_path / "out", store=store, say=silent)
    async with Instance.start(spec_of(bundle, accelerator=Accelerator.TCG)) as instance:
        await instance.wait_ready(bundle.ready)
