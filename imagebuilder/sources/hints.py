"""The hint for a name that is not there."""

from collections.abc import Iterable

from imagebuilder.recipe.near import nearest


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, as a question; nothing when none is like it."""
    near = nearest(word, known)
    return f'did you mean "{near}"?' if near else None
