"""A pool: clones that stand ready, each handed out once, thrown away after use and replaced.

::

    async with Pool.of_recipe("nginx", ready=4) as pool:
        async with pool.instance() as instance:
            ...  # a machine of your own, which has answered before and goes on now

Every clone is looked after by a task of its own, its keeper, from before its start until it is gone. The pool only
counts them. So on every way out the keepers are all that has to be ended.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from imagebuilder.errors import ImagebuilderError, InputError, MachineError
from imagebuilder.events import Say, silent
from imagebuilder.fleet.recipes import OUT, warm_template_of
from imagebuilder.fleet.spare import Spare, filled
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.template import Template
from imagebuilder.machine.waiting import any_of, finished, resolve
from imagebuilder.store import Store

ASIDE_S = 0.02  # what follows a hand-out is for who got it: the next clone is begun after that
FAILURES = 3  # so many in a row, and waiters get the error
BACK_OFF_S, MOST_BACK_OFF_S = 0.1, 5.0  # after a failure; twice as long after each further one
HAND_OUTS = 5  # clones that turn out to be dead when they are handed out, one after the other


@dataclass(slots=True)
class Counts:
    """What a pool has done so far."""

    filled: int = 0
    handed_out: int = 0
    waited: int = 0
    """Hand-outs for which none stood ready."""
    died: int = 0
    """Clones that ended while they stood ready."""
    failed: int = 0
    """Clones that never stood ready."""


class Pool:
    """Keeps ``ready`` clones paused. At most ``fillers`` are made at a time: unless given one fewer than there are
    processors, so that one is left to those in use. ``warm`` is as for ``filled``, ``copies`` as for ``Cloner``.

    Raises InputError for numbers below 1. Its clones die with the thread in which its event loop runs.
    """

    def __init__(
        self,
        template: Template,
        *,
        ready: int = 2,
        fillers: int | None = None,
        warm: Sequence[str] = (),
        copies: bool = True,
        say: Say = silent,
    ) -> None:
        fillers = max(1, len(os.sched_getaffinity(0)) - 1) if fillers is None else fillers
        if ready < 1 or fillers < 1:
            raise InputError(f"a pool of {ready} clones, {fillers} made at a time, is none: give 1 or more")
        self.template = template
        self.ready = ready
        self.counts = Counts()
        self._cloner = Cloner(template, warm=warm, copies=copies, say=say)
        self._warm = tuple(warm)
        self._filling = asyncio.Semaphore(fillers)
        self._spares: deque[Spare] = deque()
        self._coming = 0
        self._keepers: set[asyncio.Task[None]] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._failures: list[ImagebuilderError | OSError] = []  # since the last success
        self._open = False

    @classmethod
    @asynccontextmanager
    async def of_recipe(
        cls,
        name: str | Path,
        *,
        ready: int = 2,
        fillers: int | None = None,
        accelerator: str = "auto",
        memory_mib: int | None = None,
        kernel: str | None = None,
        out: Path = OUT,
        store: Store | None = None,
        copies: bool = True,
        say: Say = silent,
    ) -> AsyncIterator[Self]:
        """A pool of clones of the recipe ``name``, its image built and its template made where they are missing.

        The arguments are those of ``recipes.template_of`` and of the class; raises what both raise.
        """
        template, warm = await warm_template_of(name, accelerator, memory_mib, kernel, out, store, say)
        async with cls(template, ready=ready, fillers=fillers, warm=warm, copies=copies, say=say) as pool:
            yield pool

    async def __aenter__(self) -> Self:
        """Begin to fill it; does not wait."""
        self._open = True
        self._top_up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """All its clones are gone afterwards, those in use too; not given up when cancelled meanwhile."""
        self._open = False
        self._changed()
        for keeper in self._keepers:
            keeper.cancel()
        try:
            await finished(*self._keepers)
        finally:
            await self._cloner.__aexit__(kind, error, at)

    @property
    def standing(self) -> int:
        """How many stand ready now."""
        return len(self._spares)

    async def full(self) -> None:
        """Wait until as many stand ready as it keeps. Raises what keeps it from making clones, as ``instance``."""
        while self.standing < self.ready:
            await self._change()

    @asynccontextmanager
    async def instance(self) -> AsyncIterator[Instance]:
        """A clone that goes on now; thrown away at the end of the block. Waits when none stands ready.

        Its clock is set before its programs go on. That is on its way when this returns, and a connection to it may be
        opened at once. Raises what keeps the pool from making clones: NotReady, GuestFailed, MachineError, ToolMissing,
        InputError, OSError.
        """
        async with self.spare() as spare:
            yield spare.instance

    @asynccontextmanager
    async def spare(self) -> AsyncIterator[Spare]:
        """The same, with its name."""
        spare = await self._hand_out()
        try:
            yield spare
        finally:
            spare.throw_away()

    # Taking

    async def _hand_out(self) -> Spare:
        for attempt in range(1, HAND_OUTS + 1):
            spare = await self._take()
            try:
                await spare.go_on()
            except BaseException as error:
                spare.throw_away()
                if not isinstance(error, MachineError) or attempt == HAND_OUTS:
                    raise
            else:
                self.counts.handed_out += 1
                asyncio.get_running_loop().call_later(ASIDE_S, self._top_up)
                return spare
        raise AssertionError("unreachable")

    async def _take(self) -> Spare:
        self.counts.waited += not self._spares
        while not self._spares:
            self._top_up()
            await self._change()
        return self._spares.popleft()

    async def _change(self) -> None:
        """Wait until something is different; raises when nothing good can be expected."""
        if not self._open:
            raise MachineError("the pool is closed")
        if len(self._failures) >= FAILURES:
            raise self._failures[-1]
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def _changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            resolve(future, None)

    # Keeping

    def _top_up(self) -> None:
        while self._open and self._coming + self.standing < self.ready:
            self._coming += 1
            keeper = asyncio.create_task(self._keep())
            self._keepers.add(keeper)
            keeper.add_done_callback(self._over)

    def _over(self, keeper: asyncio.Task[None]) -> None:
        self._keepers.discard(keeper)
        self._top_up()

    async def _keep(self) -> None:
        """One clone, from before its start until it is gone."""
        async with AsyncExitStack() as life:
            try:
                spare = await life.enter_async_context(filled(self._cloner, self._warm, turn=self._filling))
            except (ImagebuilderError, OSError) as error:
                await self._failed(error)
                return
            finally:
                self._coming -= 1
            self._failures.clear()
            self.counts.filled += 1
            self._spares.append(spare)
            self._changed()
            await self._watched(spare)

    async def _failed(self, error: ImagebuilderError | OSError) -> None:
        self.counts.failed += 1
        self._failures.append(error)
        self._changed()
        await asyncio.sleep(min(BACK_OFF_S * 2 ** len(self._failures), MOST_BACK_OFF_S))

    async def _watched(self, spare: Spare) -> None:
        """Until it has been used, or has ended while it stood ready."""
        thrown_away = asyncio.ensure_future(spare.thrown_away.wait())
        ended = asyncio.ensure_future(spare.instance.wait_exit())
        try:
            await any_of(thrown_away, ended)
            if spare in self._spares:
                self._spares.remove(spare)
                self.counts.died += 1
                self._changed()
            else:  # who has it may still ask how it ended
                await thrown_away
        finally:
            thrown_away.cancel()
            ended.cancel()
