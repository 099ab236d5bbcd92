"""Laying files over a tree: as a running system would have it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.errors import InputError
from imagebuilder.sources.overlay import overlay
from imagebuilder.tree import Kind, Node, Tree, directory, file, symlink


def test_a_file_goes_through_a_link_to_a_folder() -> None:
    base = Tree({"/usr/lib": directory(), "/lib": symlink("usr/lib")})
    tree, origin = overlay(base, {"/lib": directory(), "/lib/deep/er/x": file(b"x")})
    assert tree["/usr/lib/deep/er/x"].content.read() == b"x"
    assert tree["/lib"].kind is Kind.SYMLINK
    assert origin == {"/usr/lib/deep/er/x": "/lib/deep/er/x"}


def test_a_file_takes_the_place_of_a_link_and_of_a_file() -> None:
    base = Tree({"/lib/a.so": symlink("a.so.1"), "/lib/a.so.1": file(b"old")})
    tree, _ = overlay(base, {"/lib/a.so": file(b"new")})
    assert tree["/lib/a.so"].content.read() == b"new"
    assert tree["/lib/a.so.1"].content.read() == b"old"


def test_a_link_takes_the_place_of_a_folder_with_all_in_it() -> None:
    tree, _ = overlay(Tree({"/srv/a/b": file(b"")}), {"/srv/a": symlink("/other")})
    assert list(tree) == ["/", "/srv", "/srv/a"]


def test_a_folder_with_a_mode_of_its_own_takes_effect_and_an_implied_one_does_not() -> None:
    base = Tree({"/tmp": directory(mode=0o1777), "/var": directory()})
    tree, _ = overlay(base, {"/tmp": directory(), "/var": directory(mode=0o700)})
    assert (tree["/tmp"].mode, tree["/var"].mode) == (0o1777, 0o700)


@pytest.mark.parametrize("in_the_way", [symlink("nowhere"), symlink("lib"), file(b"")])
def test_a_file_below_what_is_no_folder(in_the_way: Node) -> None:
    with pytest.raises(InputError):
        overlay(Tree({"/lib": in_the_way}), {"/lib/x": file(b"")})


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
NODES = st.one_of(st.builds(file, st.binary(max_size=2)), st.just(directory()), PATHS.map(symlink))


@given(st.dictionaries(PATHS, NODES), st.dictionaries(PATHS, NODES))
def test_every_file_is_found_where_it_was_put(below: dict[str, Node], above: dict[str, Node]) -> None:
    try:
        base, top = Tree(below), Tree(above)
        tree, origin = overlay(base, top)
    except InputError:
        return
    for where, given_path in origin.items():
        assert tree[where] == top[given_path]
    assert set(tree) <= set(base) | set(origin) | {parent for path in origin for parent in _above(path)}


def _above(path: str) -> list[str]:
    return ["/", *(path[:end] for end in range(1, len(path)) if path[end] == "/")]


@pytest.mark.parametrize("mode", [0o755, 0o700])
@pytest.mark.parametrize("below", [file(b"x"), symlink("/other")])
def test_a_folder_where_a_file_stands_is_refused(below: Node, mode: int) -> None:
    """And neither vanishes nor takes the file's place."""
    with pytest.raises(InputError, match=r"/srv is a folder in one source or .*, and a file in another"):
        overlay(Tree({"/srv": below, "/other": file(b"y")}), {"/srv": directory(mode=mode)})
