"""What the commands for those who keep this project have in common (``python -m imagebuilder.kernel`` and others)."""

import sys
from collections.abc import Callable

from imagebuilder.errors import ImagebuilderError
from imagebuilder.events import Event, Progress


def tell(event: Event) -> None:
    """Say what is done, line by line."""
    if not isinstance(event, Progress):
        print(event, file=sys.stderr)


def status_of(work: Callable[[], int | None]) -> int:
    """Do it; returns the exit status, after a sentence when something is wrong."""
    try:
        return work() or 0
    except ImagebuilderError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
