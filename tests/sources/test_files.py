"""The files source: what stands beside the recipe, and never what stands elsewhere."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder.errors import SourceError
from imagebuilder.recipe.local_files import expand
from imagebuilder.sources import SOURCES, Context
from imagebuilder.sources.files import FilesSource
from imagebuilder.store import canonical
from imagebuilder.tree import Kind, Tree
from tests.sources.provided import provided

FILES = SOURCES["files"]


def source(*files: str, target: str = "/srv") -> FilesSource:
    return FilesSource(type="files", files=files, target=target)


@pytest.fixture
def folder(context: Context) -> Path:
    """A recipe's folder with a few files."""
    static = context.folder / "static"
    (static / "deep").mkdir(parents=True)
    (static / "index.html").write_text("<p>")
    (static / ".hidden").write_text("")
    (static / "deep/run").write_text("#!")
    (static / "deep/run").chmod(0o700)
    (static / "link").symlink_to("deep/run")
    return context.folder


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["static"], [".hidden", "deep/run", "index.html", "link"]),
        (["static/**"], [".hidden", "deep/run", "index.html", "link"]),
        (["static/*.html"], ["index.html"]),
        (["static/deep", "static/link"], ["deep/run", "link"]),
        (["**/r?n", "static/[i]*"], ["deep/run", "index.html"]),
    ],
)
def test_patterns(folder: Path, context: Context, patterns: list[str], found: list[str]) -> None:
    tree = provided(source(*patterns), context).tree
    assert [path for path, node in tree.items() if node.kind is not Kind.DIRECTORY] == [
        f"/srv/static/{path}" for path in found
    ]


def test_modes_owners_and_links(folder: Path, context: Context) -> None:
    layer = provided(source("static"), context)
    run, index = layer.tree["/srv/static/deep/run"], layer.tree["/srv/static/index.html"]
    assert (run.mode, run.uid, run.gid, run.mtime_s) == (0o755, 0, 0, None)
    assert index.mode == 0o644
    assert layer.tree["/srv/static/link"].target == "deep/run"
    assert not layer.slim and set(layer.origins.values()) == {"files"}


def test_the_root_as_target(folder: Path, context: Context) -> None:
    assert "/static/index.html" in provided(source("static", target="/"), context).tree


def test_the_description_changes_with_content_mode_and_name_only(folder: Path, context: Context) -> None:
    before = canonical(FILES.resolve(source("static"), context).key)
    os.utime(folder / "static/index.html", (0, 0))
    assert canonical(FILES.resolve(source("static"), context).key) == before
    changes: list[Callable[[], object]] = [
        lambda: (folder / "static/index.html").write_text("<b>"),
        lambda: (folder / "static/index.html").chmod(0o755),
        lambda: (folder / "static/index.html").rename(folder / "static/other.html"),
    ]
    seen = {before}
    for change in changes:
        change()
        seen.add(canonical(FILES.resolve(source("static"), context).key))
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("statik/index.html", 'source.files: "statik/index.html" matches no file .did you mean "static/index.html"'),
        ("*.png", "matches no file"),
    ],
)
def test_a_pattern_that_matches_nothing(folder: Path, context: Context, pattern: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        FILES.resolve(source(pattern), context)


@pytest.mark.parametrize("pattern", ["../secret", "/etc/passwd", "static/../../secret", ""])
def test_a_pattern_that_leaves_the_folder(folder: Path, context: Context, pattern: str) -> None:
    unchecked = FilesSource.model_construct(type="files", files=(pattern,), target="/")  # the loader refuses it earlier
    with pytest.raises(SourceError, match=r"source.files: .*without '..'"):
        FILES.resolve(unchecked, context)


@pytest.mark.parametrize("target", ["../../secret", "/etc/passwd", "{folder}/static/index.html", "../static/../../x"])
def test_a_link_that_leaves_the_folder(folder: Path, context: Context, target: str) -> None:
    (folder / "static/bad").symlink_to(target.format(folder=folder))
    with pytest.raises(SourceError, match=r"static/bad is a link to .*copy the file"):
        provided(source("static"), context)


def test_nothing_is_found_behind_a_link_to_a_folder_elsewhere(folder: Path, context: Context, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret").write_text("secret")
    (folder / "way").symlink_to(tmp_path / "elsewhere")
    for pattern in ("way/secret", "way/*", "w*/**"):
        with pytest.raises(SourceError):
            provided(source(pattern), context)


@pytest.mark.parametrize("pattern", ["data/**", "**", "data/**/*", "**/app", "*/**/app", "data/{**,app}"])
def test_links_that_lead_upwards_end(tmp_path: Path, pattern: str) -> None:
    """Two links to the folder itself have 2^40 paths: as many as the system follows."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/app").touch()
    for name, target in {"self": ".", "up": "../data", "loop": "loop"}.items():
        (tmp_path / "data" / name).symlink_to(target)
    found = expand(tmp_path, pattern)
    links = [] if pattern.endswith("app") else ["data/loop", "data/self", "data/up"]
    assert found == ("data/app", *links)


def test_a_link_to_a_folder_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/app").touch()
    (tmp_path / "link").symlink_to("data")
    assert expand(tmp_path, "link/**") == expand(tmp_path, "link") == ("link",)
    assert expand(tmp_path, "link/app") == expand(tmp_path, "link/**/app") == expand(tmp_path, "data/app/**") == ()


def test_what_is_no_file(folder: Path, context: Context) -> None:
    os.mkfifo(folder / "static/pipe")
    with pytest.raises(SourceError, match=r"static/pipe is neither a file"):
        provided(source("static"), context)


def test_the_folder_itself_may_be_reached_through_a_link(folder: Path, context: Context, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(folder)
    through = Context(tmp_path / "alias", context.store, context.say)
    assert provided(source("static"), through).tree == provided(source("static"), context).tree != Tree()
