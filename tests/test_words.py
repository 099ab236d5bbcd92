"""Words of messages."""

import re
from pathlib import Path

import pytest

import imagebuilder
from imagebuilder.errors import ImagebuilderError
from imagebuilder.words import counted, printable, whole_number


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((0, "package"), "0 packages"),
        ((1, "package"), "1 package"),
        ((1234, "package"), "1,234 packages"),
        ((1, "address", "addresses"), "1 address"),
        ((2, "address", "addresses"), "2 addresses"),
    ],
)
def test_counted(words: tuple[int, str], said: str) -> None:
    assert counted(*words) == said


@pytest.mark.parametrize("text", ["", "²", "٣", "-1", "+1", "1_0", " 1", "9" * 5000, "9223372036854775808"])
def test_what_is_no_whole_number(text: str) -> None:
    assert whole_number(text) is None


def test_whole_numbers() -> None:
    assert (whole_number("0"), whole_number("70"), whole_number("70", 69)) == (0, 70, None)


def test_what_steers_a_terminal_is_shown() -> None:
    assert printable("a\x1b[31m\nb\udcff") == r"a\x1b[31m\nb\udcff"
    error = ImagebuilderError("one\x1b]0;x\x07\ntwo\tthree", hint="\r")
    assert error.message == "one\\x1b]0;x\\x07\ntwo     three" and error.hint == "\\r"


NOUNS = "packages|files|starts|clones|pages|parts|rounds|processors|cores|reports|modules|requests|CPUs|images|others"
BARE = re.compile(rf"\{{(?!counted\()(?![A-Z_]+\}})[^{{}}]*\}} ({NOUNS})\b")


def test_whatever_is_counted_says_one_of_one() -> None:
    """A number before a plural is a constant, or goes through ``counted``."""
    wrong = []
    for path in sorted(Path(imagebuilder.__file__).parent.rglob("*.py")):
        wrong += [f"{path.name}: {line.strip()}" for line in path.read_text().splitlines() if BARE.search(line)]
    assert [line for line in wrong if "a pool of" not in line] == []  # of which there are none or fewer
    assert BARE.search("{len(packages)} packages") and not BARE.search("{MOST} files")
