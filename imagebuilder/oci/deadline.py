"""A time at which a connection is broken, whatever it waits for: a timeout of a socket begins again with each byte."""

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_here = threading.local()


class Deadline:
    """So many seconds from now, unless they are extended meanwhile. ``passed`` says that it is over."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._due_s = time.monotonic() + seconds
        self._cancelled = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = self._started(seconds)

    def extend(self, seconds: float) -> None:
        """So many seconds from now."""
        self._due_s = time.monotonic() + seconds

    def attach(self, connected: socket.socket) -> None:
        """What is broken when the time is over; what comes too late is broken at once. The deadline has a handle of
        its own: TLS takes the socket away, and a connection closes it before the answer is read."""
        handle = socket.socket(fileno=os.dup(connected.fileno()))
        with self._lock:
            before, self._socket = self._socket, handle
        if before is not None:
            before.close()
        if self.passed:
            self.end()

    def end(self) -> None:
        """Break the connection now."""
        self.passed = True
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def cancel(self) -> None:
        """There is nothing to wait for any more."""
        with self._lock:
            self._cancelled = True
            self._timer.cancel()
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _started(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._ring)
        timer.daemon = True
        timer.start()
        return timer

    def _ring(self) -> None:
        left_s = self._due_s - time.monotonic()
        if left_s <= 0:
            self.end()
            return
        with self._lock:
            if not self._cancelled:
                self._timer = self._started(left_s)


@contextmanager
def within(deadline: Deadline) -> Iterator[None]:
    """What this thread asks for meanwhile ends at that time."""
    before = getattr(_here, "deadline", None)
    _here.deadline = deadline
    try:
        yield
    finally:
        _here.deadline = before


class _Watched:
    """A connection that gives its socket to the deadline of its thread."""

    sock: socket.socket | None

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        _attach(made)
        return made

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is not None:
            _attach(self.sock)
        super().request(*arguments, **options)  # type: ignore[misc]


def _attach(connected: socket.socket) -> None:
    deadline = getattr(_here, "deadline", None)
    if deadline is not None:
        deadline.attach(connected)


class _Plain(_Watched, HTTPConnection):
    pass


class _Secure(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


POOLS: Mapping[str, Any] = {"http": _PlainPool, "https": _SecurePool}
