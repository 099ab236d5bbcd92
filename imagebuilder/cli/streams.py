"""The standard streams as we were given them: closed, full, or without a reader.

A closed one is opened to nowhere (``/dev/null``), before anything else could be opened under its number and be written
to. What can be written nowhere else shows in the exit status alone.
"""

import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO


class _Output(io.FileIO):
    """Standard output, which says what it is when it cannot be written."""

    def write(self, data: Any, /) -> int:
        """As any file; the error names no file otherwise."""
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, "standard output") from error


def open_all() -> None:
    """See to it that all three are there, and that each character can be written to them."""
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            _open_to_nowhere(number)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", errors="backslashreplace", closefd=False)
    sys.stdout = _output(sys.stdout)


def _output(given: TextIO | None) -> TextIO:
    buffer = io.BufferedWriter(_Output(1, "w", closefd=False))
    encoding = given.encoding if given is not None else "utf-8"
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=os.isatty(1))


def unread() -> bool:
    """Whether the reader of our output has left."""
    return any(map(_unread, (sys.stdout, sys.stderr)))


def flush() -> None:
    """Write what is still held back. Raises OSError; nothing is held back any more then."""
    try:
        sys.stdout.flush()
    except OSError:
        drop()
        raise


def drop() -> None:
    """Let standard output lead to nowhere: what it still holds back cannot be written, and that is no error."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _open_to_nowhere(number: int) -> None:
    """Under this very number: those below it are open already, so it is the next free one (Python keeps none open)."""
    with suppress(OSError):
        os.fstat(number)
        return
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    os.set_inheritable(number, True)


def _unread(stream: TextIO) -> bool:
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
