"""The right name that was probably meant by a wrong one."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is most like ``word``, if any is like it; upper and lower case count as the same."""
    lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[close[0]] if close else None


def suggest(word: str, known: Iterable[str]) -> str | None:
    """A hint for a word that is not known: the nearest one, else all of them."""
    names = list(known)
    near = nearest(word, names)
    if near is not None:
        return f"did you mean '{near}'?"
    return f"known here: {', '.join(names)}" if names else None
