"""Markdown: read by another parser, as a site would."""

from itertools import pairwise

from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as some
from markdown_it import MarkdownIt

from imagebuilder.measure.render import markdown
from imagebuilder.measure.render.load_untrusted import plain
from tests.examples import examples

from .reports import BARE, FULL, given, ready_after

PARSER = MarkdownIt("commonmark", {"html": False}).enable("table")


def cells(text: str) -> list[list[str]]:
    """The cells of all tables, in rows, as they are shown."""
    rows: list[list[str]] = []
    tokens = PARSER.parse(text)
    for before, token in pairwise(tokens):
        if before.type == "tr_open":
            rows.append([])
        if before.type in ("td_open", "th_open"):
            children = token.children or []
            rows[-1].append("".join(child.content for child in children if child.type in ("text", "text_special")))
    return rows


def test_the_table() -> None:
    text = markdown.page([given(FULL, BARE)])
    head, full, bare = cells(text)
    assert head[1:] == ["image", "ready", "× floor", "shipped", "guest", "host", "promises"]
    assert full == ["✗", "nginx 1.22", "610.0 ms", "14.8 ×", "5.00 MB", "7.60 MB", "60.0 MB", "1 of 3"]
    assert bare == ["✗", "bare", *["not measured"] * 5, "none"]
    assert text.startswith("### ✗ imagebuilder: 2 of 2 images fall short\n")
    assert "bare: builds: no such package" in PARSER.render(text)


def test_what_falls_short_is_told() -> None:
    shown = PARSER.render(markdown.page([given(FULL)]))
    assert "startup_floors is 14.8 ×, and at most 10.0 × is promised" in shown
    assert "host_pss_bytes was not measured" in shown
    assert "slower beside last week: ready 1.082 times, 99 % interval 1.041 to 1.123" in shown


def test_what_it_was_before_stands_beside_it_in_the_same_place_only() -> None:
    old, new = given(ready_after(500, 510), label="a"), given(ready_after(400, 410), label="b")
    assert cells(markdown.page([old, new]))[1][2] == "405.0 ms (was 505.0 ms)"
    text = markdown.page([old, given(ready_after(400, 410), qemu="9.0.0")])
    assert "(was" not in text and "not to be compared" in text


@settings(deadline=None, derandomize=True, max_examples=examples(150))
@generated(
    some.one_of(
        some.text(), some.sampled_from(["a|b", "`|`", "\\|", "![x](y)", "<b>", "&lt;", "*_~", "1. a", "@all", "#1"])
    )
)
def test_any_text_is_shown_as_it_stands(text: str) -> None:
    text = plain(text)
    image = FULL.model_copy(update={"name": text, "version": None})
    _, row = cells(markdown.page([given(image)]))
    assert len(row) == 8
    assert row[1].replace("\u200b", "") == " ".join(text.split()).replace("\u200b", "")
    assert PARSER.render(markdown.page([given(image)])).count("<") == PARSER.render(markdown.page([given(FULL)])).count(
        "<"
    )
