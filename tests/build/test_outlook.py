"""What a build would make, and why, beside the last build of the same recipe."""

import shutil
from pathlib import Path

import pytest

from imagebuilder import paths
from imagebuilder.build import planner
from imagebuilder.build.revision import Code
from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

pytestmark = pytest.mark.tools

NOTHING = dict[str, tuple[str, ...]]()
NEEDS, ROOT, PACK = "made of another: what hello needs", "root of hello", "pack hello"
SBOM = "bill of materials of hello"


class Hello:
    """The recipe hello, in a folder of its own, built once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.store = folder / "hello", folder / "out", Store(folder / "cache")
        shutil.copytree(paths.shipped("recipes") / "hello", self.folder)
        self.build.run(self.out)

    @property
    def build(self) -> Build:
        """A build of it as it is now."""
        return Build(load(self.folder), self.store, silent)

    def edit(self, file: str, old: str, new: str) -> None:
        """Write something else in a file of it."""
        text = (self.folder / file).read_text()
        assert old in text
        (self.folder / file).write_text(text.replace(old, new, 1))

    @property
    def made(self) -> dict[str, tuple[str, ...]]:
        """What would be made, and why."""
        return {each.step.title: each.reasons for each in self.build.outlooks() if not each.cached}


@pytest.fixture
def hello(tmp_path: Path) -> Hello:
    return Hello(tmp_path)


def test_after_a_build_nothing(hello: Hello) -> None:
    assert hello.made == NOTHING
    assert all(each.describe()["cached"] for each in hello.build.outlooks())


def test_a_word_of_the_description_is_the_images_alone(hello: Hello) -> None:
    hello.edit("recipe.toml", "summary = ", 'summary = "other" # ')
    assert hello.made == {"image hello": ("changed: recipe.summary",), SBOM: ("made of another: image hello",)}


def test_a_source_changes_what_is_made_of_it_and_not_the_kernel(hello: Hello) -> None:
    hello.edit("hello.c", "int main", "/* */ int main")
    assert hello.made == {
        "source 1 of hello": ("changed: inputs.hello.c",),
        "what hello needs": ("made of another: source 1 of hello",),
        ROOT: (NEEDS,),
        PACK: (f"made of another: {ROOT}",),
        "image hello": (f"{NEEDS}, {ROOT}, {PACK}",),
        SBOM: ("changed: sources", f"made of another: image hello, {ROOT}, source 1 of hello"),
    }
    hello.build.run(hello.out)
    assert hello.made == NOTHING


def test_what_was_built_before_is_still_there(hello: Hello) -> None:
    hello.edit("recipe.toml", "summary = ", 'summary = "other" # ')
    hello.build.run(hello.out)
    hello.edit("recipe.toml", 'summary = "other" # ', "summary = ")
    assert hello.made == NOTHING


def test_what_the_cache_lost_is_made_when_it_is_asked_for(hello: Hello) -> None:
    steps = {step.title: step for step in hello.build.plan.steps()}
    hello.store.forget(steps[PACK].id)
    assert hello.made == NOTHING  # the last step has all that is needed
    hello.store.forget(steps["image hello"].id)
    assert hello.made == dict.fromkeys((PACK, "image hello"), ("the cache no longer has it",))
    before = {path for path in hello.store.root.rglob("*") if path.is_file()}
    assert hello.made
    assert {path for path in hello.store.root.rglob("*") if path.is_file()} == before


def test_other_code_is_named(hello: Hello, monkeypatch: pytest.MonkeyPatch) -> None:
    code = hello.build.planner.code
    other = Code({**code.essence, "imagebuilder.filesystems.cpio": "other"}, code.imports, code.key)
    monkeypatch.setattr(planner, "code_of", lambda *_: other)
    assert hello.made == {
        PACK: ("other code: imagebuilder.filesystems.cpio",),
        "image hello": ("other code: imagebuilder.filesystems.cpio", f"made of another: {PACK}"),
        SBOM: ("other code: imagebuilder.filesystems.cpio", "made of another: image hello"),
    }


def test_a_recipe_that_was_never_built(hello: Hello, tmp_path: Path) -> None:
    shutil.copytree(hello.folder, tmp_path / "hello2")
    elsewhere = Build(load(tmp_path / "hello2"), hello.store, silent)
    assert all(each.cached for each in elsewhere.outlooks())  # the same inputs are the same image
    assert {each.reasons for each in Build(load(hello.folder), Store(tmp_path / "new"), silent).outlooks()} == {
        ("it was not built here yet",)
    }
