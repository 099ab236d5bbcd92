"""Files beside the recipe: each folder is looked at once, no link is followed, whatever the pattern."""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.recipe import local_files
from imagebuilder.recipe.local_files import expand
from tests.examples import examples


@pytest.fixture
def looped(tmp_path: Path) -> Path:
    """A recipe's folder with links to itself and to the folders above, beside what is not to be seen."""
    folder = tmp_path / "outside" / "recipe"
    (folder / "a/b/c/d").mkdir(parents=True)
    (folder / "a/b/c/d/file.txt").touch()
    (folder.parent / "secret.txt").touch()
    for name, target in {"one": ".", "two": ".", "up": "../../..", "me": "me", "a/b/back": "../.."}.items():
        (folder / name).symlink_to(target)
    return folder


LINKS = ("a/b/back", "me", "one", "two", "up")


@pytest.mark.parametrize("pattern", ["**", "**/*", "**/" * 12 + "*", "*", "{**,**/*,**/**/*}"])
def test_links_in_a_circle_are_links_and_nothing_else(looped: Path, pattern: str) -> None:
    begun_s = time.process_time()
    assert expand(looped, pattern) == ("a/b/back", "a/b/c/d/file.txt", *LINKS[1:])
    assert time.process_time() - begun_s < 1


@pytest.mark.parametrize("pattern", ["**/secret.txt", "up/**/secret.txt", "one/one/two/a/**", "**/" * 12 + "*.css"])
def test_nothing_is_found_behind_a_link(looped: Path, pattern: str) -> None:
    begun_s = time.process_time()
    assert expand(looped, pattern) == ()
    assert time.process_time() - begun_s < 1


@pytest.mark.parametrize("pattern", ["{..,a}/*", "{../secret.txt,a}", "{/etc,a}/*"])
def test_no_alternative_leaves_the_folder(looped: Path, pattern: str) -> None:
    with pytest.raises(ValueError, match="relative and without"):
        expand(looped, pattern)


def test_a_deep_tree_and_many_any_folders(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(200):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "end").touch()
    begun_s = time.process_time()
    assert expand(tmp_path, "**/d/" * 12 + "**/end") == (("d/" * 200) + "end",)
    assert expand(tmp_path, "**/d/" * 12 + "**/no") == ()
    assert time.process_time() - begun_s < 2


def test_too_much_is_said(looped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_files, "MOST_FILES", 5)
    with pytest.raises(ValueError, match="more than 5 files to look at: name the folders"):
        expand(looped, "**")
    assert set(local_files.candidates(looped)) <= {*LINKS, "a/b/c/d/file.txt"}  # for a hint, as far as it goes


def test_a_path_that_the_system_cannot_open_is_said(tmp_path: Path) -> None:
    """It was left out in silence."""
    here = os.open(tmp_path, os.O_PATH)
    for _ in range(20):  # together longer than any path may be
        os.mkdir("x" * 250, dir_fd=here)
        inner = os.open("x" * 250, os.O_PATH, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(ValueError, match="cannot be read: File name too long"):
        expand(tmp_path, "**")


PIECES = st.sampled_from(
    ["*", "**", "a", "b", "?", "[ab]", "{a,b}", "*.txt", "file.txt", "up", "one", "..", "[", "!", ""]
)


@settings(max_examples=examples(200))
@given(st.lists(PIECES, max_size=8).map("/".join))
def test_any_pattern_gives_files_of_the_folder_or_a_sentence(pattern: str) -> None:
    with TemporaryDirectory() as folder:
        Path(folder, "a/b").mkdir(parents=True)
        Path(folder, "a/b/file.txt").touch()
        for name in ("one", "up"):
            Path(folder, name).symlink_to("." if name == "one" else "..")
        try:
            assert set(expand(Path(folder), pattern)) <= {"a/b/file.txt", "one", "up"}
        except ValueError as error:
            assert "expected a path beside the recipe" in str(error)
