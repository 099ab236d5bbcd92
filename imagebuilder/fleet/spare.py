"""One clone of a pool: filled, set aside, handed out once, thrown away.

A clone that never ran is slow at first: the pages that it writes to have to be copied, and where it is no copy of a
fork server QEMU translates its code again. So it answers once before it is set aside. To set it aside and let it go on
once more for practice was measured to give nothing further (docs/fleet.md).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from imagebuilder.machine.clone import Identity
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.suspend import Parked, go_on, park, rest
from imagebuilder.machine.template_create import ask

LOOKS, LOOK_S, MOST_LOOKS = 2, 0.005, 40  # at rest: so many looks in a row, at most so many in all


@dataclass(eq=False, slots=True)
class Spare:
    """A clone that stands still, until ``go_on``. ``identity`` is who it is."""

    instance: Instance
    identity: Identity
    parked: Parked
    thrown_away: asyncio.Event = field(default_factory=asyncio.Event)

    async def go_on(self) -> None:
        """Let it go on, with the right time. Raises GuestFailed, MachineError when it died meanwhile."""
        await go_on(self.instance, self.parked)

    def throw_away(self) -> None:
        """It was used, or is of no use: ended at once."""
        self.instance.kill()
        self.thrown_away.set()


@asynccontextmanager
async def filled(
    cloner: Cloner, warm: Sequence[str] = (), *, turn: AbstractAsyncContextManager[object] | None = None
) -> AsyncIterator[Spare]:
    """A clone that has answered, and stands still. At the end of the block it is gone.

    ``warm`` is what it is asked besides the one of the recipe's ``[ready]``. ``turn`` is held as long as it takes a
    processor: not while one waits for it to rest. Raises NotReady, GuestFailed, MachineError, ToolMissing.
    """
    ready, identity = cloner.template.ready, Identity.of(cloner.template)
    async with AsyncExitStack() as life:
        async with turn or nullcontext():
            instance = await life.enter_async_context(cloner.clone(identity))
            await instance.wait_ready(ready)
            for path in warm:
                await ask(instance, ready, path)
        await rest(instance, looks=LOOKS, look_s=LOOK_S, most_looks=MOST_LOOKS)
        yield Spare(instance, identity, await park(instance))
