"""Every block of code of our pages is what it says: a recipe loads, JSON and YAML are that, a program is run."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagebuilder.bundle import Image
from imagebuilder.errors import RecipeError
from imagebuilder.measure import subject
from imagebuilder.oci import mirrors
from imagebuilder.oci.reference import parse
from imagebuilder.recipe.load import load
from tests.docs.blocks import ALL, PAGES, Block, prose

LANGUAGES = {"sh", "console", "text", "toml", "python", "json", "yaml"}
RUN = "docs/applications.md"
"""Its recipes are built and booted with the files beside them, in whichever language (tests/test_applications.py)."""
TEXTS = {
    "recipe.toml ─►": "a drawing",
    "recipes/hello/recipe.toml:12: application.comand": "test_a_mistake_is_reported_as_the_page_says",
    "nginx: recipe.lock: written\n": "test_changes_in_words, test_a_check_has_an_exit_status_and_writes_nothing",
    'error: Debian bookworm does not have "libssl3"': "test_a_package_that_is_gone_is_an_error_whose_hint_helps",
    "________________________________ gets_ready": "test_a_failing_test_says_what_the_page_says",
}
"""Blocks of text that no program reads and no command prints here (by how they begin): why, or which test has it."""
BESIDE = re.compile(r'(?:source|template|keep|pages|requirements|jar) = "(.+?)"|"([\w-]+\.(?:config|c))"')
MACHINE_FILES = re.compile(r'(?:kernel|initrd|firmware|file) = "(.+?)"')


def of(language: str) -> list[Any]:
    """The blocks of a language, as parameters of a test."""
    return [pytest.param(block, id=block.where) for block in ALL if block.language == language]


@pytest.mark.parametrize("block", [pytest.param(block, id=block.where) for block in ALL])
def test_every_block_says_what_it_is(block: Block) -> None:
    assert block.language in LANGUAGES or (block.page == RUN and block.file)


@pytest.mark.parametrize("page", PAGES)
def test_code_is_fenced(page: str) -> None:
    """An indented block says no language, so nothing could be checked."""
    assert re.findall(r"(?:^|\n)\n( {4,}\S.*)", prose(page)) == []


@pytest.mark.parametrize("page", PAGES)
def test_lines_have_120_characters_at_most(page: str) -> None:
    """But for tables, headings, and what must not be broken."""
    lines = [line for line in prose(page).splitlines() if not line.startswith(("|", "#", "`")) and " " in line[:120]]
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("block", of("text"))
def test_text_is_accounted_for(block: Block) -> None:
    assert any(block.text.startswith(words) for words in TEXTS), f"{block.where}: {block.first}"


@pytest.mark.parametrize("words", TEXTS)
def test_what_is_accounted_for_still_stands_in_a_page(words: str) -> None:
    assert any(block.text.startswith(words) for block in ALL if block.language == "text")


def test_a_mistake_is_reported_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = [block.text for block in ALL if block.page == "docs/recipe.md" and 'name = "hello"' in block.text]
    (shown,) = [block.text for block in ALL if block.page == "docs/recipe.md" and block.language == "text"]
    folder = tmp_path / "recipes" / "hello"
    folder.mkdir(parents=True)
    (folder / "hello.c").touch()
    (folder / "recipe.toml").write_text(example.replace('command = "/usr', 'comand = "/usr'))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        load("recipes/hello")
    assert shown.strip() in [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


@pytest.mark.parametrize("block", of("toml"))
def test_toml_is_a_recipe_a_machine_or_toml(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tomllib.loads(block.text)
    if "source" in document:
        for names in BESIDE.findall(block.text):
            (tmp_path / (names[0] or names[1])).touch()
        (tmp_path / "recipe.toml").write_text(block.text)
        assert load(tmp_path).name == document["name"]
    elif "ready" in document:
        for name in MACHINE_FILES.findall(block.text):
            (tmp_path / name).touch()
        (tmp_path / "machine.toml").write_text(block.text)
        assert subject.load(tmp_path / "machine.toml").name == document["name"]
    elif "registry" in document:
        (tmp_path / "registries.conf").write_text(block.text)
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
        assert len(mirrors.places(parse("nginx"))) == 2
    else:
        assert "tool" in document, f"{block.where} is no recipe, no machine, and no part of a pyproject.toml"


@pytest.mark.parametrize("block", of("python"))
def test_python_is_a_file_that_a_command_of_its_page_runs(block: Block) -> None:
    compile(block.text, block.where, "exec")
    name = block.file
    if block.page == RUN and name:
        return
    assert name, f"{block.where}: say which file it is: `NAME.py`:"
    commands = [command.words for each in ALL if each.page == block.page for command in each.commands]
    assert any(name in words for words in commands), f"{block.where}: no command of {block.page} runs {name}"


@pytest.mark.parametrize("block", of("json"))
def test_json_is_json(block: Block) -> None:
    document = json.loads(block.text)
    if document.get("schema") == "imagebuilder.image/1":
        assert Image.model_validate(document)
        assert set(document) == {field.alias or name for name, field in Image.model_fields.items()}


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_is_yaml(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)
