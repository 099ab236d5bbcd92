"""Words of messages."""

import pytest

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
