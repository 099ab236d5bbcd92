"""Mistakes that lie between the keys of a recipe. What is looked at is as it was written: nothing of it was checked."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic_core import InitErrorDetails

from imagebuilder.recipe.base import mistake_at
from imagebuilder.recipe.values import ReadyKind


def exactly_one(raw: Mapping[str, Any], kinds: type[StrEnum]) -> Iterator[InitErrorDetails]:
    """A mistake unless exactly one of the keys is given."""
    given = [kind.value for kind in kinds if raw.get(kind.value) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        yield mistake_at(tuple(given[-1:]), f"expected exactly one of {', '.join(kinds)}, found {found}")


def warmed_in_vain(warm: list[Any], ready: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    """A warm-up needs a port to ask, and paths need an HTTP server."""
    if warm and not ready.keys() & {ReadyKind.HTTP, ReadyKind.TCP}:
        yield mistake_at(("template", "warm"), "there is no port to ask", "use ready.http or ready.tcp")
    for index, words in enumerate(warm if ReadyKind.HTTP in ready else ()):
        if isinstance(words, str) and not words.startswith("/"):
            yield mistake_at(("template", "warm", index), f"'{words}' is no path", f"write '/{words}'")


def unreachable(ready: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    """A probe over the network needs a network."""
    for kind in (ReadyKind.HTTP, ReadyKind.TCP):
        if kind in ready:
            yield mistake_at(("machine", "network"), f"ready.{kind} asks over the network", "leave network = false out")


def listened_for_in_vain(helpers: Sequence[Any]) -> Iterator[InitErrorDetails]:
    """No helper is reached at a port without a network."""
    for index, each in enumerate(helpers):
        ready = each.get("ready") if isinstance(each, Mapping) else None
        if isinstance(ready, Mapping) and "port" in ready:
            said = "a machine without a network, not even the loopback, has no ports"
            yield mistake_at(("helper", index, "ready", "port"), said, "wait for a file or a line")


def repeated(pairs: list[tuple[Any, Any]], key: str) -> Iterator[InitErrorDetails]:
    """A mistake for each value that was there before; the pairs are (place under the key, value)."""
    seen: Counter[str] = Counter()
    for place, value in pairs:
        if not isinstance(value, str | int):
            continue
        seen[str(value)] += 1
        if seen[str(value)] > 1:
            inner = place if isinstance(place, tuple) else (place,)
            yield mistake_at((key, *inner), f"{value} is given twice", "remove one of them")


def repeated_paths(files: Sequence[Any]) -> Iterator[InitErrorDetails]:
    """A mistake for each of [[files]] at the path of another."""
    paths = [each.get("path") if isinstance(each, Mapping) else getattr(each, "path", None) for each in files]
    yield from repeated([((index, "path"), path) for index, path in enumerate(paths)], "files")
