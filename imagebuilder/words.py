"""Words of messages that every room uses."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 package``, ``1,234 packages``; ``plural`` for a noun that takes more than an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def some(names: Sequence[str]) -> str:
    """The first name, and how many there are besides: ``/a``, ``/a and 2 more``."""
    return f"{names[0]} and {len(names) - 1} more" if names[1:] else names[0]


def to_add(values: Sequence[str], key: str, table: str) -> str:
    """What to write into a recipe's list, which may have other values: ``add "/a" to include under [source]``."""
    quoted = ", ".join(f'"{value}"' for value in values)
    return f"add {quoted} to {key} under [{table}]"


def printable(text: str) -> str:
    """A text on one line: what cannot be printed as its escape."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def shortened(text: str, most: int = 60) -> str:
    """A text on one line, of a long one the beginning."""
    return printable(text if len(text) <= most else f"{text[:most]}…")


def whole_number(text: str, most: int = 2**63 - 1) -> int | None:
    """The whole number that is written in digits, of those that are at most so large; nothing for any other text.

    ``isdigit`` is true of "²", of which ``int`` makes nothing, and ``int`` refuses thousands of digits.
    """
    plain = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    return int(text) if plain and int(text) <= most else None
