"""A few ways to wait that asyncio has no short words for."""

import asyncio
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class HasFileno(Protocol):
    """A socket, or another open file."""

    def fileno(self) -> int:
        """Its descriptor."""


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Give a future its value, unless it has one or its waiter is gone."""
    if not future.done():
        future.set_result(value)


async def any_of(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> bool:
    """Wait until one of them is done; False when the time is over first. None of them is cancelled or raised here."""
    done, _ = await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


async def all_of(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    """Wait until all are done, or the time is over."""
    if futures:
        await asyncio.wait(futures, timeout=timeout_s)


async def finished(*futures: asyncio.Future[Any]) -> None:
    """Wait until all are done. When this is cancelled meanwhile, it is cancelled then."""
    interrupted: asyncio.CancelledError | None = None
    while not all(each.done() for each in futures):
        try:
            await all_of(*futures)
        except asyncio.CancelledError as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted


async def readable(source: HasFileno | int) -> None:
    """Wait until there is something to read, or the end."""
    loop = asyncio.get_running_loop()
    there: asyncio.Future[None] = loop.create_future()
    loop.add_reader(source, resolve, there, None)
    try:
        await there
    finally:
        loop.remove_reader(source)
