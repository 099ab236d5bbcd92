"""The tree: paths, links, merging, and the way to the store and back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.errors import CacheError, InputError
from imagebuilder.store import Store
from imagebuilder.tree import MOST_FOLDERS, Blob, Kind, Node, Tree, clean_path, directory, file, is_below, symlink

names = st.text("ab.-é", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
nodes = st.one_of(
    st.binary(max_size=4).map(file),
    st.builds(directory, mode=st.integers(0, 0o7777)),
    paths.map(symlink),
)


@pytest.mark.parametrize("path", ["..", "/../etc", "a/../../b", "a\0b"])
def test_a_path_cannot_leave(path: str) -> None:
    with pytest.raises(InputError, match="would leave the image"):
        clean_path(path)


def test_a_path_has_so_many_folders_at_most() -> None:
    """What is done for each folder above each path adds up: one path of 2,000 took minutes."""
    assert clean_path("a/" * (MOST_FOLDERS - 1) + "f")
    with pytest.raises(InputError, match="leads through more than 256 folders: give a shorter one"):
        clean_path("a/" * MOST_FOLDERS + "f")


def test_what_is_below_a_folder() -> None:
    assert is_below("/a/b/c", {"/a"}) and is_below("/a/b", {"/x", "/a"}) and is_below("a/b", {"a"})
    assert not is_below("/a", {"/a"}) and not is_below("/ab/c", {"/a"}) and not is_below("/a", {"/a/b"})


@pytest.mark.parametrize(("path", "clean"), [("a//b/./c/", "/a/b/c"), ("/", "/"), ("", "/"), ("//x", "/x")])
def test_a_path_has_one_spelling(path: str, clean: str) -> None:
    assert clean_path(path) == clean


def test_parents_are_there_and_stand_first() -> None:
    assert list(Tree({"/b/c/d": file(b""), "/a": file(b"")})) == ["/", "/a", "/b", "/b/c", "/b/c/d"]


def test_nothing_stands_in_a_file() -> None:
    with pytest.raises(InputError, match="/a is no folder"):
        Tree({"/a": file(b""), "/a/b": file(b"")})


def test_merging_keeps_a_folder_that_the_other_only_implies() -> None:
    merged = Tree({"/tmp": directory(mode=0o1777)}).merge(Tree({"/tmp/x": file(b"x")}))
    assert merged["/tmp"].mode == 0o1777
    assert merged["/tmp/x"].content.read() == b"x"


def test_the_others_node_stands() -> None:
    assert Tree({"/a": file(b"1")}).merge(Tree({"/a": file(b"2")}))["/a"].content.read() == b"2"


def test_links_are_followed() -> None:
    tree = Tree({"/usr/lib/x": file(b""), "/lib": symlink("usr/lib"), "/y": symlink("/lib/./../lib/x")})
    assert tree.resolve("/y") == "/usr/lib/x"
    assert tree.links_to("/y") == ["/y", "/lib"]
    assert tree.resolve("x", base="/usr/lib") == "/usr/lib/x"
    assert tree.resolve("/lib/none") is None


def test_a_loop_ends() -> None:
    assert Tree({"/a": symlink("b"), "/b": symlink("a")}).resolve("/a") is None


def test_filtering_keeps_the_folders_above() -> None:
    tree = Tree({"/a": directory(mode=0o700), "/a/b": file(b""), "/c": file(b"")})
    kept = tree.filter(lambda path, _node: path == "/a/b")
    assert list(kept) == ["/", "/a", "/a/b"]
    assert kept["/a"].mode == 0o700


def test_the_difference_names_both_sides() -> None:
    old, new = Tree({"/a": file(b"1"), "/b": file(b"")}), Tree({"/a": file(b"2"), "/b": file(b"")})
    assert old.diff(new) == {"/a": (file(b"1"), file(b"2"))}


def test_equal_contents_are_equal_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    assert Blob.at(tmp_path / "x") == Blob.of(b"1")
    assert Tree({"/a": file(Blob.at(tmp_path / "x"))}).digest == Tree({"/a": file(b"1")}).digest


@given(st.dictionaries(paths, nodes, max_size=5))
def test_to_the_store_and_back(tmp_path_factory: pytest.TempPathFactory, given_nodes: dict[str, Node]) -> None:
    try:
        tree = Tree(given_nodes)
    except InputError:
        return
    store = Store(tmp_path_factory.mktemp("cache"))
    assert dict(Tree.load(tree.save(store), store)) == dict(tree)


def test_a_lost_content_is_a_cache_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    document = Tree({"/a": file(b"1")}).save(store)
    store.blob(Blob.of(b"1").digest).unlink()
    with pytest.raises(CacheError):
        Tree.load(document, store)


def test_types_and_sizes() -> None:
    assert Node(Kind.CHARACTER, 0o600, device=(5, 1)).st_mode == 0o020600
    assert symlink("é").size_bytes == 2
    assert Tree({"/a": file(b"12"), "/b": symlink("x")}).size_bytes == 3
