"""Whether a recipe says that its application listens on IPv6: in its arguments, its environment, or a file it adds.

What a folder or a package brings along is not read: such a recipe names its kernel, or the fragment ``ipv6``.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv6Address

from imagebuilder.recipe.model import FileEntry, Recipe
from imagebuilder.recipe.render import rendered

IPV6 = "IPV6"  # what the kernel needs for it
LONGEST = 1 << 20  # of a file that is looked into, in bytes
ABOUT = re.compile(r"listen|bind|(?<!local)host|addr|interface", re.IGNORECASE)
COMMENTS = ("#", ";", "//", "--")
BETWEEN = re.compile(r"[\s\"'=,;()<>/]+")
BRACKETED = re.compile(r".*\[([0-9A-Fa-f:.]+)\](:[0-9]+)?")


def ipv6_listener(recipe: Recipe) -> str | None:
    """Where the recipe has an IPv6 address to listen on, and which: ``application.arguments: "[::]:80"``.

    Raises RecipeError for a template with mistakes.
    """
    if not recipe.machine.network:
        return None
    places = (_arguments(recipe), _environment(recipe), _files(recipe))
    return next((f'{place}: "{word}"' for lines in places for place, line in lines for word in _addresses(line)), None)


def _arguments(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield from (("application.arguments", argument) for argument in recipe.application.arguments)


def _environment(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for name, value in recipe.application.environment.items():
        if ABOUT.search(f"{name} {value}"):
            yield "application.environment", value


def _files(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for entry in recipe.files:
        yield from ((entry.path, line) for line in _lines(entry, recipe) if ABOUT.search(line))


def _lines(entry: FileEntry, recipe: Recipe) -> list[str]:
    """The lines of a text that are no comments."""
    content = rendered(entry, recipe)
    try:
        text = content.decode() if len(content) <= LONGEST else ""
    except UnicodeDecodeError:
        return []
    return [line for line in text.splitlines() if not line.lstrip().startswith(COMMENTS)]


def _addresses(line: str) -> Iterator[str]:
    """The words of a line that are IPv6 addresses, or have one in brackets."""
    for word in BETWEEN.split(line):
        inside = BRACKETED.fullmatch(word)
        if ":" in word and _is_ipv6(inside[1] if inside else word):
            yield word


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
