"""What is done to the tree of an image is a table, with keys under [root] that count for whichever source."""

from pathlib import Path
from typing import Any

import pytest

from imagebuilder.build.planner import Planner
from imagebuilder.build.walk import Build
from imagebuilder.closure.slimming import Around
from imagebuilder.errors import ClosureError
from imagebuilder.events import silent
from imagebuilder.recipe.base import RecipeTable
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Recipe, Root
from imagebuilder.sources.kind import Context
from imagebuilder.store import Store
from imagebuilder.transforms import table
from imagebuilder.transforms.kind import (
    ChosenTransform,
    Stage,
    Transform,
    TransformContext,
    TransformResult,
    transformed,
)
from imagebuilder.transforms.table import TRANSFORMS
from imagebuilder.tree import Tree, file

RECIPE = """
name = "app"
version = "1"
summary = "x"
[[source]]
type = "build"
inputs = ["app.c"]
command = ["cc", "-static", "-o", "app", "app.c"]
outputs = { app = "/usr/bin/app" }
[[source]]
type = "files"
files = ["data"]
[application]
command = "/usr/bin/app"
[ready]
exit = 0
[root]
"""


def document(source: dict[str, Any], root: dict[str, Any]) -> Recipe:
    """A recipe of Debian's packages with further keys."""
    debian = {"type": "debian", "release": "bookworm", "packages": ["app"], **source}
    words = {"name": "app", "version": "1", "summary": "x", "application": {"command": "/a"}, "ready": {"exit": 0}}
    return Recipe.model_validate({**words, "source": debian, "root": root})


def test_each_key_of_a_transform_stands_under_root_and_is_of_one_transform_alone() -> None:
    keys = [key for row in TRANSFORMS.values() for key in row.options.model_fields]
    assert len(keys) == len(set(keys)) and set(keys) <= set(Root.model_fields)
    assert all(issubclass(Root, row.options) for row in TRANSFORMS.values())


def test_keys_under_root_go_on_with_those_under_the_source(tmp_path: Path) -> None:
    recipe = document({"include": ["/a"], "byte_code": ["/p"]}, {"include": ["/b"], "exclude": ["/c"]})
    planner = Planner(recipe, Context(tmp_path, Store(tmp_path / "cache"), silent))
    found = {key: value for each in planner._transforms(Stage.SOURCES).values() for key, value in each.options}
    assert found == {"include": ("/a", "/b"), "exclude": ("/c",), "needs_off": (), "byte_code": ("/p",)}
    assert planner.exclude == ("/c",)


@pytest.mark.tools
def test_they_count_for_whichever_source(tmp_path: Path) -> None:
    (tmp_path / "app.c").write_text("int main(void) { return 0; }")
    (tmp_path / "data").mkdir()
    for name in ("page", "note"):
        (tmp_path / "data" / name).write_text(name)
    store = Store(tmp_path / "cache")

    def root(words: str) -> Tree:
        (tmp_path / "recipe.toml").write_text(RECIPE + words)
        return Build(load(tmp_path), store, silent).root

    assert {"/data/page", "/data/note"} <= {*root("")}
    without = root('exclude = ["/data/n*"]')
    assert "/data/page" in without and "/data/note" not in without
    with pytest.raises(ClosureError, match='include: "/data/other" matches nothing'):
        root('include = ["/data/other"]')
    with pytest.raises(ClosureError, match='byte_code: "/data" names no Python module'):
        root('byte_code = ["/data"]')


class ToyOptions(RecipeTable):
    """The key of the toy."""

    suffix: str


class ToyRoot(Root, ToyOptions):
    """The recipe's table, with that key."""


def toy(tree: Tree, options: ToyOptions, given: TransformContext) -> TransformResult:
    """Drops what ends so; its scratch folder is its own."""
    assert not [*given.scratch.iterdir()]
    (given.scratch / "used").touch()
    return TransformResult(
        tree.filter(lambda path, _: not path.endswith(options.suffix)), warnings=(f"no {options.suffix}",)
    )


def test_a_new_one_is_a_module_and_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan's key follows, and it is done in its order."""
    row = Transform(ToyOptions, Stage.SOURCES, toy)
    tree = Tree({"/a.md": file(b""), "/a.txt": file(b""), "/a": file(b"")})
    wanted = {
        name: ChosenTransform(row, ToyOptions(suffix=suffix)) for name, suffix in (("one", ".md"), ("two", ".txt"))
    }
    done = transformed(tree, wanted, TransformContext((), Around(), tmp_path))
    assert ({*done.tree}, done.warnings) == ({"/", "/a"}, ("no .md", "no .txt"))

    monkeypatch.setattr("imagebuilder.build.planner.TRANSFORMS", {**table.TRANSFORMS, "toy": row})
    recipe = document({}, {}).model_copy(update={"root": ToyRoot(suffix=".md")})
    planner = Planner(recipe, Context(tmp_path, Store(tmp_path / "cache"), silent))
    assert planner._transforms(Stage.SOURCES)["toy"].describe() == {"suffix": ".md"}
