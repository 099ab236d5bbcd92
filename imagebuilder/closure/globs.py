"""Globs over the paths of an image.

``*`` and ``?`` and ``[…]`` stay within one name (and match a leading dot), ``**`` crosses folders, ``{a,b}`` is either.
``folder/**`` is the folder and all below it.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from imagebuilder.braces import alternatives

WILD = re.compile(r"[*?\[{]")
# Each piece of a glob, the longest first, and the regular expression that it stands for.
PIECE = re.compile(
    r"(?P<below>/\*\*$)|(?P<folders>\*\*/)|(?P<all>\*\*)|(?P<star>\*)|(?P<one>\?)|(?P<set>\[[^]/]+])|.", re.S
)
MEANING = {"below": "(?:/.*)?", "folders": "(?:.*/)?", "all": ".*", "star": "[^/]*", "one": "[^/]"}


@lru_cache(maxsize=1024)
def matcher(glob: str) -> re.Pattern[str]:
    """The regular expression, for ``fullmatch``, of a glob. Never fails: what is no glob stands for itself."""
    return re.compile("|".join("".join(map(_meaning, PIECE.finditer(each))) for each in alternatives(glob)), re.S)


def matches(path: str, globs: Iterable[str]) -> str | None:
    """The first glob that a path matches."""
    return next((glob for glob in globs if matcher(glob).fullmatch(path)), None)


def fixed_part(glob: str) -> str:
    """The folders before the first name with a wildcard: what need not be searched for."""
    names = glob.split("/")
    count = next((number for number, name in enumerate(names) if WILD.search(name)), len(names))
    return "/".join(names[:count])


def _meaning(piece: re.Match[str]) -> str:
    text = piece[0]
    if piece.lastgroup != "set":
        return MEANING.get(piece.lastgroup or "", re.escape(text))
    negated = text[1] in "!^"
    inner = re.sub(r"([\\\[\]^&~|])", r"\\\1", text[2 if negated else 1 : -1])
    try:
        re.compile(f"[{inner}]")
    except re.error:
        return re.escape(text)
    return f"[^/{inner}]" if negated else f"[{inner}]"
