"""Words of messages that every room uses."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """``1 package``, ``1,234 packages``; ``plural`` for a noun that takes more than an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
