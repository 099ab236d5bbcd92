import re
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings

from imagebuilder.recipe.locate import Place, line_of, locate

from .toml import documents

TEXT = """\
# a comment
name = "x"
list = [
  1,
  [2,
   3],
]
a.b."c d" = { e = '', f.g = [1] }
text = '''
[trap]
'''

[source]
type = "debian"

[[files]]
path = "/a"
[files.more]
x = 1
[[files]]
path = "/b"
[[files.deep]]
y = 1
"""


def places(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every place in what tomllib read, with its value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, entry in entries:
        yield (*place, step), entry
        yield from places(entry, (*place, step))


def test_lines_of_all_shapes() -> None:
    lines = locate(TEXT)
    expected: dict[Place, int] = {
        ("name",): 2,
        ("list",): 3,
        ("list", 0): 4,
        ("list", 1): 5,
        ("list", 1, 1): 6,
        ("a",): 8,
        ("a", "b", "c d", "f", "g", 0): 8,
        ("text",): 9,
        ("source",): 13,
        ("source", "type"): 14,
        ("files",): 16,
        ("files", 0): 16,
        ("files", 0, "more", "x"): 19,
        ("files", 1): 20,
        ("files", 1, "path"): 21,
        ("files", 1, "deep", 0, "y"): 23,
    }
    assert {place: lines[place] for place in expected} == expected


def test_what_is_not_there_is_where_it_should_be() -> None:
    lines = locate(TEXT)
    assert line_of(lines, ("source", "release")) == 13
    assert line_of(lines, ("nothing", 3)) == 1


@settings(deadline=None)
@given(documents())
def test_every_key_is_found_where_its_value_is(text: str) -> None:
    document = tomllib.loads(text)
    lines = locate(text)
    written = text.replace("\r\n", "\n").split("\n")
    for place, value in places(document):
        assert place in lines, place
        mark = re.match("mark-[0-9]+-", value) if isinstance(value, str) else None
        if mark:
            assert mark[0] in written[lines[place] - 1], place


@settings(deadline=None)
@given(documents())
def test_nothing_is_found_that_is_not_there(text: str) -> None:
    there = {place for place, _ in places(tomllib.loads(text))}
    assert set(locate(text)) <= there
