"""What an instance that failed leaves to be looked at."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from imagebuilder.errors import MachineError
from imagebuilder.machine.failures import write_evidence
from imagebuilder.machine.instance import Instance


@asynccontextmanager
async def watched(machine: AbstractAsyncContextManager[Instance], artefacts: Path | None) -> AsyncIterator[Instance]:
    """The instance. When it does not start, or the block ends with an error of it, what there is to see of that is
    written to the folder ``artefacts`` (None: not at all)."""
    async with AsyncExitStack() as stack:
        try:
            instance = await stack.enter_async_context(machine)
        except MachineError as error:
            if artefacts is not None:
                write_evidence(error, artefacts)
            raise
        try:
            yield instance
        except MachineError:
            if artefacts is not None:
                instance.write_artefacts(artefacts)
            raise
