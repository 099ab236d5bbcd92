"""Clones of one template, made the quickest way there is: as copies (``engines.py``), or each from the template."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self

from imagebuilder.events import Say, silent
from imagebuilder.machine.clone import Identity, clone
from imagebuilder.machine.engines import Engine, NotCopied, Original, chosen, note
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Forward
from imagebuilder.machine.template import Template


class Cloner:
    """Makes clones until its block is left; they live on. What they are copies of is made for the first one, and again
    when it died.

    ``warm`` is what that is asked besides the question of the recipe's ``[ready]``, ``host_cpus`` are the processors of
    this host that the clones may use. Without ``copies`` every clone is a new QEMU. The original dies with the thread
    in which its event loop runs.
    """

    def __init__(
        self,
        template: Template,
        *,
        warm: Sequence[str] = (),
        host_cpus: tuple[int, ...] = (),
        copies: bool = True,
        say: Say = silent,
    ) -> None:
        self.template = template
        found = chosen(template) if copies else "copies are not wanted"
        self._engine = found if isinstance(found, Engine) else None
        self.why = found if isinstance(found, str) else None
        """Why clones are no copies; None as long as they are."""
        self._told = not copies
        self._warm, self._host_cpus, self._say = tuple(warm), host_cpus, say
        self._preparing = asyncio.Lock()
        self._life = AsyncExitStack()
        self._original: Original | None = None

    async def __aenter__(self) -> Self:
        """Nothing is started yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Its original is gone afterwards."""
        async with self._preparing:
            self._original = None
            await self._life.aclose()

    async def ready(self) -> Original | None:
        """What clones are copies of, made now, so that the first clone need not wait for it; None: every clone is a new
        QEMU. Raises ToolMissing."""
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
        original = await self._found()
        make = partial(clone, self.template, host_cpus=self._host_cpus) if original is None else original.clone
        machine = make(identity, forwards=forwards, on_console=on_console)
        async with machine as instance:
            yield instance

    async def _found(self) -> Original | None:
        async with self._preparing:
            if self._engine is not None and (self._original is None or self._original.instance.over):
                await self._life.aclose()
                self._original = await self._prepared(self._engine)
            if self.why is not None and not self._told:
                self._told = True
                self._say(note(self.why))
            return self._original

    async def _prepared(self, engine: Engine) -> Original | None:
        try:
            return await self._life.enter_async_context(
                engine.prepare(self.template, warm=self._warm, host_cpus=self._host_cpus)
            )
        except NotCopied as error:
            self._engine, self.why = None, error.message
            return None
