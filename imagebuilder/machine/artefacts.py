"""What an instance that failed leaves to be looked at."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from imagebuilder import private
from imagebuilder.errors import MachineError
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.failures import COMMAND, QEMU_SAID, write_evidence
from imagebuilder.machine.instance import Instance
from imagebuilder.process import shell_line


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
                write(instance, artefacts)
            raise


def write(instance: Instance, folder: Path) -> None:
    """Write down what there is to see of a boot that failed, and the command line that repeats it by hand."""
    private.make_folder(folder)
    events = [asdict(event) for event in instance.events]
    times = {"spawned": instance.spawned_ns, "greeting": instance.greeting_ns, **instance.phases_ns}
    contents = {
        "console.log": instance.console,
        QEMU_SAID: instance.qemu_output,
        "qmp-events.json": json.dumps(events, indent=1) + "\n",
        "phases.json": json.dumps(times, indent=1) + "\n",
        COMMAND: shell_line(argv(instance.spec, instance.launch, wiring=None)) + "\n",
    }
    for name, content in contents.items():
        private.write(folder / name, content.encode())
