"""What a guest said, as part of one of our sentences: short, in one line, and without anything a terminal acts on."""

import errno
import os
import re
from functools import cache

LINE_CHARACTERS = 200


def quoted(said: str | bytes, most: int = 80) -> str:
    """It in quotes, escaped as in Python; of much the beginning."""
    text = said.decode(errors="surrogateescape") if isinstance(said, bytes) else said
    return f"'{_plain(text[:most])}'" + ("…" if len(text) > most else "")


def excerpt(said: str, most: int = LINE_CHARACTERS) -> str:
    """It in one line; of much the beginning, why the system refused something where that is in it, and the end."""
    text = " ".join(_plain(said[: 4 * most] + said[4 * most :][-4 * most :], keep=" \n\r\t").split())
    if len(text) <= most:
        return text
    told = refusal(text)
    begin, end = (most // 4, most // 4) if told else (most - most // 3 - 3, most // 3)
    between = most - begin - end - 6
    first = min(max((told.start() + told.end() - between) // 2, begin), len(text) - end - between) if told else 0
    middle = f"{text[first : first + between]} … " if told else ""
    return f"{text[:begin]} … {middle}{text[-end:]}"


def refusal(said: str) -> re.Match[str] | None:
    """Where it says why the system refused something: "No such file or directory"."""
    return _refusals().search(said)


@cache
def _refusals() -> re.Pattern[str]:
    reasons = sorted({os.strerror(number) for number in errno.errorcode}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, reasons)), re.IGNORECASE)


def _plain(text: str, keep: str = " ") -> str:
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
