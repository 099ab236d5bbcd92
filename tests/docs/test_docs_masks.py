"""What is held against what: a page that shows something else than was printed is found, figures are not looked at."""

import pytest

from tests.docs.blocks import Block
from tests.docs.masks import difference

PROGRESS = "start nginx 5 times …\nstart nginx 5 times: 4 of 5, 5.5 s so far\nstart nginx 5 times: done in 7 s\n"
PRINTED = f"{PROGRESS}✓ nginx   boots   0.5 s\n/tmp/x/report.json: 1,439 pages, nginx-5cfeb8e8b43e\n"


@pytest.mark.parametrize(
    "shown",
    [
        ["✓ nginx  boots", "/home/you/report.json: 12 pages, nginx-c3da60ac1de4"],
        ["✓ nginx  boots  12.5 s", "…"],
        ["…", "/home/you/report.json: 12 pages, nginx-…"],
        ["…", "✓ nginx  boots", "…"],
    ],
)
def test_what_depends_on_the_machine_is_not_compared(shown: list[str]) -> None:
    assert difference(shown, PRINTED) is None


@pytest.mark.parametrize(
    "shown",
    [
        ["✓ nginx  boots"],
        ["✗ nginx  boots", "…"],
        ["✓ nginx  boots", "✓ nginx  answers", "…"],
        ["✓ redis  boots", "…"],
        ["/tmp/report.json: 12 pages, nginx-5cfeb8e8b43e"],
        ["…", "/tmp/report.json: 12 files, nginx-5cfeb8e8b43e"],
        ["…", "✓ nginx  boots"],
    ],
)
def test_what_was_not_printed_is_found(shown: list[str]) -> None:
    assert difference(shown, PRINTED) is not None


def test_commands_are_told_from_what_they_print() -> None:
    text = "$ imagebuilder build a \\\n>   --out x  # a comment\n$ cat x\none\ntwo\n"
    one, two = Block("page.md", 10, "console", text, "").commands
    assert (one.words, one.comment, one.shown) == ("imagebuilder build a   --out x", "# a comment", None)
    assert (two.words, two.shown, two.line) == ("cat x", ("one", "two"), 12)


def test_a_block_without_prompts_is_commands_alone() -> None:
    text = "# first\nimagebuilder test a -- -k '#1'\nimagebuilder run a   # Ctrl-C ends it\n"
    one, two = Block("page.md", 10, "sh", text, "").commands
    assert (one.words, one.line) == ("imagebuilder test a -- -k '#1'", 11)
    assert (two.words, two.comment) == ("imagebuilder run a", "# Ctrl-C ends it")


@pytest.mark.parametrize(
    ("before", "file"),
    [
        ("A page, `recipes/motd/recipe.toml`:\n\n", "recipes/motd/recipe.toml"),
        ("`pool.py`:\n\n", "pool.py"),
        ("See `pool.py` and so on:\n\n", "pool.py"),
        ("See `pool.py`.\n\n", None),
        ("`one.py`:\n\ntext\n\n", None),
    ],
)
def test_a_block_is_the_file_that_the_words_before_it_name(before: str, file: str | None) -> None:
    assert Block("page.md", 1, "python", "", before).file == file
