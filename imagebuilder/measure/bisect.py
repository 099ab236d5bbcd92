"""The smallest number that is enough, when trying one takes seconds and the edge may be blurred."""

from collections.abc import Awaitable, Callable

CONFIRMATIONS = 3


async def smallest(enough: Callable[[int], Awaitable[bool]], *, below: int, high: int) -> int | None:
    """The smallest number above ``below`` that was enough, and so again ``CONFIRMATIONS`` times in a row.

    ``high`` is tried first: None when it is not enough. Near the edge a machine may get ready one time and not the
    next; a number that fails when it is confirmed gives way to the next larger one.
    """
    if not await enough(high):
        return None
    low, best = below, high
    while best - low > 1:
        middle = (low + best) // 2
        if await enough(middle):
            best = middle
        else:
            low = middle
    while best <= high:
        if await _confirmed(enough, best):
            return best
        best += 1
    return None


async def _confirmed(enough: Callable[[int], Awaitable[bool]], number: int) -> bool:
    for _ in range(CONFIRMATIONS):
        if not await enough(number):
            return False
    return True
