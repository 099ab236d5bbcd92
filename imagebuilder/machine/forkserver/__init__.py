"""Fork servers: a clone that has answered, stands still, and of whose QEMU further clones are copied.

Under TCG nearly all that a clone needs, time and memory, is the guest's code, which every new QEMU translates again. A
copy of a QEMU has it already, and shares it as long as it stays the same; and it has been loaded, linked and set up.
QEMU cannot be copied by itself: a library of ours, loaded into it, does that (``src/forkserver.c``).

Copies share the layout of their memory and glibc's guards: who has taken over one QEMU knows those of the others. QEMU
promises no isolation under TCG in any case (https://www.qemu.org/docs/master/system/security.html). Under KVM it does;
but nothing is translated there, and a machine of KVM's cannot be copied: there are no fork servers.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from imagebuilder.errors import MachineError
from imagebuilder.machine.child import Child, output_file
from imagebuilder.machine.clone import Identity, parked_of, words_of
from imagebuilder.machine.engines import Engine, NotCopied
from imagebuilder.machine.failures import explain
from imagebuilder.machine.forkserver import files, library
from imagebuilder.machine.forkserver.control import Control
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.launcher import Spawned
from imagebuilder.machine.network import forwarding
from imagebuilder.machine.qmp import Qmp
from imagebuilder.machine.spec import Accelerator, Forward, MachineSpec
from imagebuilder.machine.suspend import Parked, go_on, load_and_go_on, park, rest
from imagebuilder.machine.template import Template
from imagebuilder.machine.template_create import ask
from imagebuilder.machine.transport import Transport
from imagebuilder.machine.waiting import finished

ANSWERS = 3  # what an answer needs is translated then, and not much is left that comes only now and then
LOOKS, LOOK_S, MOST_LOOKS = 2, 0.005, 40  # at rest: so many looks in a row, at most so many in all
SOCKETS = ("qmp_fd", "console_fd", "channel_fd", "guest_fd", "network_fd")  # the last two: with a way out
OUTPUTS = (1, 2)  # where QEMU says what it has to say


def refused(template: Template) -> str | None:
    """Why there can be no fork server of a template; None when there may."""
    if template.accelerator is not Accelerator.TCG:
        return f"only machines under {Accelerator.TCG.value} can be copied"
    return library.missing()


@asynccontextmanager
async def started(
    template: Template, *, warm: Sequence[str] = (), host_cpus: tuple[int, ...] = ()
) -> AsyncIterator["ForkServer"]:
    """A fork server, of which one copy has answered; its copies live on when the block is left.

    ``warm`` is what it is asked besides the question of the recipe's ``[ready]``. ``host_cpus`` are the processors that
    it and its copies may use. Raises NotCopied, ToolMissing.
    """
    if why := refused(template):
        raise NotCopied(f"{template.name} has no fork server: {why}")
    spec, launch = template.spec(), template.launch(host_cpus=host_cpus)
    with template.used(), Control() as control:
        launcher = Spawned(template.state, control.environment, control.fds)
        async with Instance.start(spec, launch, launcher=launcher) as instance:
            try:
                await control.greeted(instance.pid)
                server = ForkServer(template, instance, control, await _stopped(instance, template, warm))
                async with server.clone() as first:
                    await first.wait_ready(server.ready)
            except MachineError as error:
                raise NotCopied(f"{template.name} has no fork server: {error.message}") from error
            yield server


async def _stopped(instance: Instance, template: Template, warm: Sequence[str]) -> Parked:
    """Begin, answer, give up all that cannot be had twice, and stand still."""
    ready = template.ready
    words = words_of(instance, template, Identity.of(template))
    await load_and_go_on(instance, parked_of(template), words=words, signal=template.signal)
    for _ in range(ANSWERS):
        await instance.wait_ready(ready)
    for path in warm:
        await ask(instance, ready, path)
    await rest(instance, looks=LOOKS, look_s=LOOK_S, most_looks=MOST_LOOKS)
    parked = await park(instance, detach=True)
    for each in forwarding(instance.spec, instance.launch):  # it is named by all that stands before the guest's side
        await instance.monitor.ask(f"hostfwd_remove {each.partition('-')[0]}")
    return parked


class ForkServer:
    """A clone that stands still. ``async with started(template) as server`` is the way to one."""

    def __init__(self, template: Template, instance: Instance, control: Control, parked: Parked) -> None:
        self.template = template
        self.ready = template.ready
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
        """As ``machine.clone.clone``, as a copy. Raises MachineError when the fork server has ended or cannot be
        copied; it is of no use any more then."""
        spec, launch = self.template.spec(forwards), self.instance.launch
        async with Instance.start(spec, launch, on_console=on_console, launcher=Copied(self)) as instance:
            words = words_of(instance, self.template, identity or Identity.of(self.template))
            await go_on(instance, self.parked, words=words, signal=self.template.signal)
            yield instance

    async def copied(self, transport: Transport) -> Child:
        """A copy that talks over these. Raises MachineError, OSError."""
        ours, theirs = transport.wiring, self.instance.wiring
        output_fd = output_file()
        spawned_ns = time.monotonic_ns()
        try:
            with ExitStack() as stack:
                written = await asyncio.to_thread(files.copied, self._written, stack) if self._written else {}
                pairs = ((getattr(theirs, name), getattr(ours, name)) for name in SOCKETS)
                sockets = {of_server: of_copy for of_server, of_copy in pairs if of_server is not None}
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
    """A launcher of instances: the QEMU of a fork server."""

    server: ForkServer

    def transport(self, spec: MachineSpec, launch: Launch) -> Transport:
        """New ones; disks and state are the fork server's."""
        return Transport(spec, launch)

    async def child(self, spec: MachineSpec, launch: Launch, transport: Transport) -> Child:
        """A copy. When this is cancelled it is made all the same, its transport open until then, and ended."""
        copying = asyncio.create_task(self.server.copied(transport))
        try:
            await finished(copying)
        except asyncio.CancelledError:
            if not copying.cancelled() and copying.exception() is None:
                copying.result().close()
            raise
        return copying.result()

    async def meet(
        self, spec: MachineSpec, launch: Launch, qmp: Qmp, connection: socket.socket, seen: Callable[[], None]
    ) -> None:
        """It has greeted before; its ports are opened now."""
        await qmp.go_on(connection, version=self.server.instance.qemu_version)
        seen()
        for each in forwarding(spec, launch):
            said = await qmp.ask(f"hostfwd_add {each}")
            if said:
                raise explain(spec, launch, status=1, said=said)


ENGINE = Engine(
    "fork server", "clones in a tenth of their time where there is no KVM", library.missing, refused, started
)
