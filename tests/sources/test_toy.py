"""A new kind of source is one file and one row: the schema, mistakes, the lockfile, the key of steps, what is known of
the application and the docs follow. It is added to a copy of the package, which runs as a user would run it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.paths import PACKAGE
from imagebuilder.sources import SOURCES
from tests.docs.blocks import ROOT

pytestmark = pytest.mark.tools
TOY = '''
"""A program beside the recipe that says a word."""

from typing import Literal

from imagebuilder.recipe import fields
from imagebuilder.sources.kind import Context, Defaults, Locked, Package, SourceTable
from imagebuilder.sources.layer import Layer
from imagebuilder.tree import Blob, Tree, file


class ToySource(SourceTable):
    """A program that says a word."""

    type: Literal["toy"]
    """The kind of source."""
    word: fields.Text
    """What it says."""


def resolve(source: ToySource, context: Context) -> Locked:
    choice = context.choice("toy", {"word": source.word or "none"}, lambda: (Package("toy", "1.0", "a" * 64, 3),))
    known = {"command": "/usr/bin/toy", "arguments": [f"say={source.word}"], "environment": {"TOY": "1", "MINE": "no"}}
    known |= {"user": "7:8", "directory": "/usr", "stop_signal": "QUIT"}
    return Locked(source, {"word": source.word}, choice, Defaults(known if source.word else {}, ports=(7000,)))


def fetch(locked: Locked, context: Context) -> Layer:
    program = file(Blob.at(context.folder / "app"), mode=0o755)
    return Layer(Tree({"/usr/bin/toy": program}), {"/usr/bin/toy": "toy"})
'''
ROW = '    "toy": SourceKind(toy.ToySource, toy.resolve, toy.fetch, tells_application=True),\n}'
RECIPE = """\
name = "app"
version = "1"
summary = "a test"

[source]
type = "toy"
word = "hello"

[ready]
console = "^hello"
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the copy of the package is."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(PACKAGE, folder / "imagebuilder", ignore=shutil.ignore_patterns("__pycache__", "data"))
    for name in ("kernels", "recipes"):
        (folder / name).symlink_to(ROOT / name)
    sources = folder / "imagebuilder/sources"
    (sources / "toy.py").write_text(TOY)
    table = sources / "__init__.py"
    text = re.sub(r"(?m)^(from imagebuilder\.sources import .*)$", r"\1, toy", table.read_text(), count=1)
    head, end, rest = text.partition("\n}")
    table.write_text(f"{head}\n{ROW}{rest}")
    assert end and ", toy\n" in text
    return folder


@pytest.fixture
def run(package: Path, application: Path, tmp_path: Path) -> Run:
    """Runs Python with the copy, beside a recipe of the new kind."""
    (tmp_path / "app").mkdir()
    shutil.copy2(application, tmp_path / "app/app")
    (tmp_path / "app/recipe.toml").write_text(RECIPE)
    env = {**os.environ, "PYTHONPATH": f"{package}:{ROOT}", "IMAGEBUILDER_CACHE": str(tmp_path / "cache")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-P", *words], cwd=tmp_path, env=env, capture_output=True, text=True)

    return run


def rewrite(folder: Path, *changes: tuple[str, str]) -> None:
    """Change the recipe."""
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "app/recipe.toml").write_text(text)


def test_the_schema_and_the_docs_follow(run: Run) -> None:
    schema = json.loads(run("-m", "imagebuilder", "schema").stdout)
    assert schema["$defs"]["ToySource"]["properties"]["word"]["description"] == "What it says."
    assert "ToySource" in json.dumps(schema["properties"]["source"]) and "application" not in schema["required"]
    table = run("-c", "from tests.docs import sources; print(sources.table())").stdout
    assert '| `"toy"` | A program that says a word. | `[application]` may be left out |' in table


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            'type = "tooy"\nword = "x"',
            f"source.type: expected {', '.join(map(repr, SOURCES))} or 'toy', found the text 'tooy'",
        ),
        ('type = "tooy"\nword = "x"', "did you mean 'toy'?"),
        ('word = "x"', f"it says the kind of source: {', '.join(SOURCES)} or toy"),
        ('type = "toy"', "source.word: this key is missing (What it says.)"),
        ('type = "toy"\nwort = "x"', "source.wort: this key is not known (did you mean 'word'?)"),
        ('type = "files"\nfiles = ["app"]', "application: this key is missing (no source of this recipe knows"),
        ('type = "files"\nfiles = ["app"]\n[application]\nuser = "root"', "application.command: this key is missing"),
        ('type = "toy"\nword = ""', "neither the recipe app nor its sources say which program is to run"),
    ],
)
def test_mistakes_are_told_in_the_same_words(run: Run, tmp_path: Path, table: str, said: str) -> None:
    rewrite(tmp_path, ('type = "toy"\nword = "hello"', table))
    ran = run("-m", "imagebuilder", "build", "app", "-q")
    assert ran.returncode == 2 and said in ran.stderr, ran.stderr


def image(run: Run, tmp_path: Path) -> dict[str, Any]:
    """What is in the image of the recipe."""
    ran = run("-m", "imagebuilder", "build", "app", "-q")
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = json.loads((tmp_path / "out/app/image.json").read_text())
    return document


def test_what_it_knows_of_the_application_counts_where_the_recipe_is_silent(run: Run, tmp_path: Path) -> None:
    known = image(run, tmp_path)
    application = known["recipe"]["application"]
    assert (application["command"], application["arguments"]) == ("/usr/bin/toy", ["say=hello"])
    assert (application["user"], application["directory"]) == ("7:8", "/usr")
    assert (application["stop_signal"], application["environment"]) == ("QUIT", {"TOY": "1", "MINE": "no"})
    assert known["boot"]["ports"] == [7000]
    own = '[application]\nuser = "root"\narguments = []\nenvironment = { MINE = "yes" }\n\n[machine]\nports = [1]\n'
    rewrite(tmp_path, ("[ready]", f"{own}\n[ready]"))
    changed = image(run, tmp_path)
    application = changed["recipe"]["application"]
    assert (application["command"], application["arguments"]) == ("/usr/bin/toy", [])
    assert (application["user"], application["environment"]) == ("root", {"TOY": "1", "MINE": "yes"})
    assert changed["boot"]["ports"] == [1]


def test_the_lockfile_and_the_keys_of_steps_follow(run: Run, tmp_path: Path) -> None:
    def ids() -> dict[str, str]:
        ran = run("-m", "imagebuilder", "build", "app", "--plan", "--json")
        assert ran.returncode == 0, ran.stderr
        (plan,) = json.loads(ran.stdout)
        return {step["kind"]: step["id"] for step in plan["steps"]}

    before = ids()
    image(run, tmp_path)
    lock = tomllib.loads((tmp_path / "app/recipe.lock").read_text())
    (source,) = next(iter(lock["architecture"].values()))["source"]
    assert (source["type"], source["asks"], source["packages"][0]["name"]) == ("toy", {"word": "hello"}, "toy")
    assert ids() == before
    rewrite(tmp_path, ('"hello"', '"hallo"'))
    frozen = run("-m", "imagebuilder", "build", "app", "-q", "--frozen")
    assert frozen.returncode == 2 and "it lacks what a source of the kind toy asks for (hallo)" in frozen.stderr
    after = ids()
    assert before["source"] != after["source"] and before["bundle"] != after["bundle"]
    assert before["kernel"] == after["kernel"]
