"""Globs over the paths of an image."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.braces import alternatives
from imagebuilder.closure.globs import fixed_part, matcher, matches


@pytest.fixture(autouse=True)
def none_is_known_from_before() -> Iterator[None]:
    """A mutant is tried in a copy of a process in which all of these were compiled once."""
    matcher.cache_clear()
    yield
    matcher.cache_clear()


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("/usr/lib/*.so", ["/usr/lib/a.so", "/usr/lib/.so"], ["/usr/lib/a/b.so", "/usr/lib/a.so.1"]),
        ("/usr/**", ["/usr", "/usr/a", "/usr/a/b"], ["/usrx", "/"]),
        ("/usr/**/x", ["/usr/x", "/usr/a/x", "/usr/a/b/x"], ["/usr/ax", "/x"]),
        ("/a/**b", ["/a/b", "/a/x/yb"], ["/a/bc"]),
        ("/a?c", ["/abc"], ["/a/c", "/ac"]),
        ("/[a-c]", ["/a", "/c"], ["/d", "/-"]),
        ("/[!a]", ["/b"], ["/a", "//"]),
        ("/[^a-c]", ["/d", "/^"], ["/a", "/b", "//"]),
        ("/[a^]", ["/a", "/^"], ["/b"]),
        ("/[a&&b]", ["/a", "/&", "/b"], ["/c"]),
        ("/a.b", ["/a.b"], ["/axb"]),
        ("/a[b/c]", ["/a[b/c]"], ["/ab"]),
        ("/{a,b*}/c", ["/a/c", "/bx/c"], ["/c/c", "/{a,b*}/c"]),
        ("/{a,{b,c}}", ["/a", "/b", "/c"], ["/d"]),
        ("/{a}", ["/{a}"], ["/a"]),
        ("/a+(b)|c", ["/a+(b)|c"], ["/aab", "c"]),
        ("/[", ["/["], ["/a"]),
        ("/[z-a]", ["/[z-a]"], ["/z"]),
    ],
)
def test_matches(glob: str, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not matcher(glob).fullmatch(path)] == []
    assert [path for path in no if matcher(glob).fullmatch(path)] == []


@pytest.mark.parametrize(
    ("glob", "fixed"), [("/a/b/*.so", "/a/b"), ("/a/b", "/a/b"), ("/**", ""), ("/a{b,c}/d", ""), ("/a/[b]/c", "/a")]
)
def test_the_part_before_the_first_wildcard(glob: str, fixed: str) -> None:
    assert fixed_part(glob) == fixed


def test_the_first_that_matches() -> None:
    assert matches("/a/b", ["/x", "/a/*", "/a/b"]) == "/a/*"
    assert matches("/a/b", ["/x"]) is None


PLAIN = st.text(st.characters(exclude_characters="*?[{", codec="utf-8"), min_size=1)


@settings(deadline=None)
@given(PLAIN)
def test_a_path_without_wildcards_matches_itself_only(path: str) -> None:
    assert matcher(path).fullmatch(path)
    assert not matcher(path).fullmatch(path + "x")


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.sampled_from("/a*?[]{},!^-\\()|\n")), st.text())
def test_any_text_is_a_glob(glob: str, path: str) -> None:
    matcher(glob).fullmatch(path)
    assert alternatives(glob)


def test_many_braces_end() -> None:
    assert len(alternatives("{a,b}" * 40)) < 1000
