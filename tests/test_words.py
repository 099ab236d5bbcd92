"""Words of messages."""

import re
from pathlib import Path

import pytest

import imagebuilder
from imagebuilder.words import counted


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


NOUNS = "packages|files|starts|clones|pages|parts|rounds|processors|cores|reports|modules|requests|CPUs|images|others"
BARE = re.compile(rf"\{{(?!counted\()(?![A-Z_]+\}})[^{{}}]*\}} ({NOUNS})\b")


def test_whatever_is_counted_says_one_of_one() -> None:
    """A number before a plural is a constant, or goes through ``counted``."""
    wrong = []
    for path in sorted(Path(imagebuilder.__file__).parent.rglob("*.py")):
        wrong += [f"{path.name}: {line.strip()}" for line in path.read_text().splitlines() if BARE.search(line)]
    assert [line for line in wrong if "a pool of" not in line] == []  # of which there are none or fewer
    assert BARE.search("{len(packages)} packages") and not BARE.search("{MOST} files")
