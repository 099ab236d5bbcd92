"""An event loop in a thread of its own, so that ordinary tests can use what is asynchronous.

QEMU dies with the thread that started it (``machine/child.py``): this thread lives as long as the session.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """A running event loop. ``close`` cancels what is still going on in it, and waits until that is over."""

    def __init__(self) -> None:
        self._begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = Thread(target=lambda: asyncio.run(self._live()), name="imagebuilder", daemon=True)
        self._thread.start()
        self._loop, self._stop = self._begun.result()

    async def _live(self) -> None:
        stop = asyncio.Event()
        self._begun.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine gives, or raises; when we are interrupted (Ctrl-C), it is cancelled."""
        __tracebackhide__ = True
        task = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return task.result()
        finally:
            task.cancel()

    def call(self, function: Callable[[], T]) -> T:
        """What the function gives, called where the loop runs: for what is not to be touched by two threads."""
        __tracebackhide__ = True

        async def called() -> T:
            return function()

        return self.run(called())

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
