"""Stems: a clone that has answered, stands still, and of whose QEMU further clones are copied.

Under TCG nearly all that a clone needs, time and memory, is the guest's code, which every new QEMU translates anew. A
copy of a QEMU has it already, and shares it as long as it stays the same; and it has been loaded, linked and set up.
QEMU cannot be copied by itself: a library of ours, loaded into it, does that (``src/stem.c``).

Copies share the layout of their memory and glibc's guards: who has taken over one QEMU knows those of the others. QEMU
promises no isolation under TCG in any case (https://www.qemu.org/docs/master/system/security.html). Under KVM it does;
but nothing is translated there, and a machine of KVM's cannot be copied: there are no stems.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from imagebuilder.errors import MachineError
from imagebuilder.machine.child import Child, output_file
from imagebuilder.machine.clone import Identity, parked_of, words_of
from imagebuilder.machine.failures import explain
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.origin import Spawned
from imagebuilder.machine.parking import Parked, go_on, load_and_go_on, park, rest
from imagebuilder.machine.qmp import Qmp
from imagebuilder.machine.spec import Accelerator, Forward, MachineSpec, forwarding
from imagebuilder.machine.stem import files, library
from imagebuilder.machine.stem.control import Control
from imagebuilder.machine.template import Template
from imagebuilder.machine.waiting import finished
from imagebuilder.machine.warming import ask
from imagebuilder.machine.wires import Wires
from imagebuilder.recipe.model import Ready

ANSWERS = 3  # of a stem: what an answer needs is translated then, and not much is left that comes only now and then
LOOKS, LOOK_S, MOST_LOOKS = 2, 0.005, 40  # at rest: so many looks in a row, at most so many in all
SOCKETS = ("qmp_fd", "console_fd", "channel_fd")
OUTPUTS = (1, 2)  # where QEMU says what it has to say


class NoStem(MachineError):
    """There can be no stem of this template on this machine; clones of it can be started all the same."""


def refused(template: Template) -> str | None:
    """Why there can be no stem of a template; None when there may."""
    if template.accelerator is not Accelerator.TCG:
        return f"only machines under {Accelerator.TCG.value} can be copied"
    return library.missing()


@asynccontextmanager
async def grown(
    template: Template, *, warm: Sequence[str] = (), host_cpus: tuple[int, ...] = ()
) -> AsyncIterator["Stem"]:
    """A stem, of which one copy has answered; its copies live on when the block is left.

    ``warm`` is what it is asked besides the question of the recipe's ``[ready]``. ``host_cpus`` are the processors that
    it and its copies may use. Raises NoStem, ToolMissing.
    """
    if why := refused(template):
        raise NoStem(f"{template.name} has no stem: {why}")
    spec = replace(template.spec(), host_cpus=host_cpus)
    with template.used(), Control() as control:
        origin = Spawned(template.state, control.environment, control.fds)
        async with Instance.start(spec, origin=origin) as instance:
            try:
                await control.greeted(instance.pid)
                stem = Stem(template, instance, control, await _stopped(instance, template, warm))
                async with stem.clone() as first:
                    await first.wait_ready(stem.ready)
            except MachineError as error:
                raise NoStem(f"{template.name} has no stem: {error.message}") from error
            yield stem


async def _stopped(instance: Instance, template: Template, warm: Sequence[str]) -> Parked:
    """Begin, answer, give up all that cannot be had twice, and stand still."""
    ready = Ready.model_validate(template.ready)
    words = words_of(instance, template, Identity.of(template))
    await load_and_go_on(instance, parked_of(template), words=words, signal=template.signal)
    for _ in range(ANSWERS):
        await instance.wait_ready(ready)
    for path in warm:
        await ask(instance, ready, path)
    await rest(instance, looks=LOOKS, look_s=LOOK_S, most_looks=MOST_LOOKS)
    parked = await park(instance, detach=True)
    for each in forwarding(instance.spec):  # it is named by all that stands before the guest's side
        await instance.execute("human-monitor-command", **{"command-line": f"hostfwd_remove {each.partition('-')[0]}"})
    return parked


class Stem:
    """A clone that stands still. ``async with grown(template) as stem`` is the way to one."""

    def __init__(self, template: Template, instance: Instance, control: Control, parked: Parked) -> None:
        self.template = template
        self.ready = Ready.model_validate(template.ready)
        self.instance = instance
        """What is copied."""
        self.parked = parked
        self._control = control
        self._written = files.written_by(instance.pid)

    @asynccontextmanager
    async def clone(
        self,
        identity: Identity | None = None,
        *,
        forwards: tuple[Forward, ...] = (),
        on_console: Callable[[bytes], None] | None = None,
    ) -> AsyncIterator[Instance]:
        """As ``machine.clone.clone``, as a copy. Raises MachineError when the stem has ended or cannot be copied; it is
        of no use any more then."""
        spec = replace(self.template.spec(forwards), host_cpus=self.instance.spec.host_cpus)
        async with Instance.start(spec, on_console=on_console, origin=Copied(self)) as instance:
            words = words_of(instance, self.template, identity or Identity.of(self.template))
            await go_on(instance, self.parked, words=words, signal=self.template.signal)
            yield instance

    async def copied(self, wires: Wires) -> Child:
        """A copy that talks over these. Raises MachineError, OSError."""
        ours, theirs = wires.wiring, self.instance.wiring
        output_fd = output_file()
        spawned_ns = time.monotonic_ns()
        try:
            with ExitStack() as stack:
                written = await asyncio.to_thread(files.copied, self._written, stack) if self._written else {}
                sockets = {getattr(theirs, name): getattr(ours, name) for name in SOCKETS}
                pid = await self._copy({**sockets, **dict.fromkeys(OUTPUTS, output_fd), **written})
            return Child(pid, spawned_ns=spawned_ns, output_fd=output_fd)
        except BaseException:
            os.close(output_fd)
            raise

    async def _copy(self, replaced: Mapping[int, int]) -> int:
        try:
            return await self._control.copy(replaced)
        except MachineError:
            self.instance.kill()
            await self.instance.wait_exit()
            raise


@dataclass(frozen=True, slots=True)
class Copied:
    """An origin of instances: the QEMU of a stem."""

    stem: Stem

    def wires(self, spec: MachineSpec) -> Wires:
        """New ones; disks and state are the stem's."""
        return Wires(spec)

    async def child(self, spec: MachineSpec, wires: Wires) -> Child:
        """A copy. When this is cancelled it is made all the same, with wires that are open until then, and ended."""
        copying = asyncio.create_task(self.stem.copied(wires))
        try:
            await finished(copying)
        except asyncio.CancelledError:
            if not copying.cancelled() and copying.exception() is None:
                copying.result().close()
            raise
        return copying.result()

    async def meet(self, spec: MachineSpec, qmp: Qmp, connection: socket.socket, seen: Callable[[], None]) -> None:
        """It has greeted before; its ports are opened now."""
        await qmp.go_on(connection, version=self.stem.instance.qemu_version)
        seen()
        for each in forwarding(spec):
            said = await qmp.execute("human-monitor-command", **{"command-line": f"hostfwd_add {each}"})
            if said:
                raise explain(spec, status=1, said=str(said))
