"""The type of what makes the images of these tests."""

from collections.abc import Mapping
from typing import Protocol

from imagebuilder.bundle import Bundle


class Make(Protocol):
    """An image whose application gets these words: MiB to touch, ms to wait, and perhaps a status to exit with.

    ``init_too`` is C code that init runs besides, at the end of its mounts; such an image's name ends with ``-more``.
    """

    def __call__(
        self, *words: object, timeout_s: int = 120, budget: Mapping[str, float] | None = None, init_too: str = ""
    ) -> Bundle:
        """Make it."""
