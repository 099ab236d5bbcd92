"""Clones of one template, made the quickest way there is here: as copies of a stem, or each from the template."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from imagebuilder.events import Note, Say, silent
from imagebuilder.machine.clone import Identity, clone
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Forward
from imagebuilder.machine.stem import NoStem, Stem, grown, refused
from imagebuilder.machine.template import Template


class Cloner:
    """Makes clones until its block is left; they live on. A stem is grown for the first one, and again when it died.

    ``warm`` is what a stem is asked besides the question of the recipe's ``[ready]``, ``host_cpus`` are the processors
    of this host that the clones may use. Without ``stems`` every clone is a new QEMU. Its stem dies with the thread in
    which its event loop runs.
    """

    def __init__(
        self,
        template: Template,
        *,
        warm: Sequence[str] = (),
        host_cpus: tuple[int, ...] = (),
        stems: bool = True,
        say: Say = silent,
    ) -> None:
        self.template = template
        self.why = refused(template) if stems else "a fork server is not wanted"
        """Why clones are no copies of a stem; None as long as they are."""
        self._warm, self._host_cpus, self._say = tuple(warm), host_cpus, say
        self._growing = asyncio.Lock()
        self._life = AsyncExitStack()
        self._stem: Stem | None = None

    async def __aenter__(self) -> Self:
        """Nothing is started yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Its stem is gone afterwards."""
        async with self._growing:
            self._stem = None
            await self._life.aclose()

    async def ready(self) -> Stem | None:
        """The stem, grown now, so that the first clone need not wait for it; None: every clone is a new QEMU. Raises
        ToolMissing."""
        return await self._found()

    @asynccontextmanager
    async def clone(
        self,
        identity: Identity | None = None,
        *,
        forwards: tuple[Forward, ...] = (),
        on_console: Callable[[bytes], None] | None = None,
    ) -> AsyncIterator[Instance]:
        """As ``machine.clone.clone``."""
        stem = await self._found()
        if stem is None:
            machine = clone(
                self.template, identity, forwards=forwards, host_cpus=self._host_cpus, on_console=on_console
            )
        else:
            machine = stem.clone(identity, forwards=forwards, on_console=on_console)
        async with machine as instance:
            yield instance

    async def _found(self) -> Stem | None:
        async with self._growing:
            if self.why is None and (self._stem is None or self._stem.instance.over):
                await self._life.aclose()
                self._stem = await self._grown()
            return self._stem

    async def _grown(self) -> Stem | None:
        try:
            return await self._life.enter_async_context(
                grown(self.template, warm=self._warm, host_cpus=self._host_cpus)
            )
        except NoStem as error:
            self.why = error.message
            self._say(Note(f"{error.message}: every clone is a new QEMU"))
            return None
