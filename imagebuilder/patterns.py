"""The regular expressions of recipes, which are matched against what a guest prints.

They are RE2's (https://github.com/google/re2/wiki/Syntax): the time that a match takes grows with the length of the
line and no faster. Python's own engine goes back and tries again: ``(a+)+b$`` takes it seconds on a line of 24 letters,
and nothing can be done meanwhile, since it lets no other thread run and cannot be interrupted.
"""

from typing import Protocol

MOST_CHARACTERS = 1000


class Pattern(Protocol):
    """One that was compiled."""

    def search(self, text: str, /) -> object | None:
        """Something when it matches anywhere in the text."""


def compiled(text: str) -> Pattern:
    """Raises ValueError, which says what is wrong with it."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"it has more than {MOST_CHARACTERS} characters")
    import re2  # takes some milliseconds, which are spent for those recipes only that have a pattern

    options = re2.Options()
    options.log_errors = False
    try:
        pattern: Pattern = re2.compile(text, options)
    except (re2.error, UnicodeError) as error:
        said = error.args[0] if error.args else ""
        raise ValueError(said.decode(errors="replace") if isinstance(said, bytes) else str(error)) from error
    return pattern
