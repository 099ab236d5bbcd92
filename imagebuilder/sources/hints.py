"""The hint for a name that is not there."""

from collections.abc import Iterable

from imagebuilder.recipe.suggestions import nearest


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, as a question; nothing when none is like it."""
    near = nearest(word, known)
    return f'did you mean "{near}"?' if near else None


def nearest_path(path: str, known: Iterable[str]) -> str | None:
    """The known path that was probably meant: of the same name, the one with the fewest folders above it; else of a
    name like it. What the two have in common in their folders says little: /usr/bin/rev is not like /usr/bin/java."""
    by_name: dict[str, list[str]] = {}
    for each in known:
        by_name.setdefault(_name(each), []).append(each)
    name = _name(path) if _name(path) in by_name else nearest(_name(path), by_name)
    return min(by_name[name], key=lambda each: (each.count("/"), each)) if name else None


def _name(path: str) -> str:
    return path.rpartition("/")[2]
