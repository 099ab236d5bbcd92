"""What a page is held against: a warning that it does not show is a fault of the page."""

from pathlib import Path

import pytest

from tests.docs.blocks import Command
from tests.docs.scratch import Scratch

pytestmark = pytest.mark.tools


@pytest.mark.parametrize(
    ("shown", "good"),
    [
        (None, False),
        (("…",), False),
        (("first", "…"), False),
        (("…", "warning: 3 packages are old", "…"), True),
        (("first", "warning: … are old", "last"), True),
    ],
)
def test_a_warning_is_shown_or_found(tmp_path: Path, shown: tuple[str, ...] | None, good: bool) -> None:
    words = "echo first; echo 'warning: 7 packages are old' >&2; echo last"
    command = Command("docs/x.md", 3, words, "", shown)
    if good:
        Scratch(tmp_path, tmp_path).check(command)
        return
    with pytest.raises(AssertionError, match="not shown"):
        Scratch(tmp_path, tmp_path).check(command)
