"""How the QEMU of an instance comes to be: spawned, or as a copy of one that runs (``engines.py``)."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from imagebuilder.machine.child import Child
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.qmp import Qmp
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.machine.transport import Transport


class Launcher(Protocol):
    """What makes the QEMU of a machine, and begins to talk to it."""

    def transport(self, spec: MachineSpec, launch: Launch) -> Transport:
        """What will connect us with it. Raises OSError, MachineError."""

    async def child(self, spec: MachineSpec, launch: Launch, transport: Transport) -> Child:
        """Make it. Raises ToolMissing, MachineError, OSError."""

    async def meet(
        self, spec: MachineSpec, launch: Launch, qmp: Qmp, connection: socket.socket, seen: Callable[[], None]
    ) -> None:
        """Take up the monitor; ``seen`` is called as soon as QEMU is there. Raises EOFError or OSError when it ended,
        MachineError (PortTaken among them)."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A new QEMU. ``state`` is the device state with which an ``incoming`` machine begins; ``environment`` and ``fds``
    are given to it besides what it needs."""

    state: bytes | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    fds: tuple[int, ...] = ()

    def transport(self, spec: MachineSpec, launch: Launch) -> Transport:
        """New ones, with the scratch disks and the state."""
        return Transport(spec, launch, self.state)

    async def child(self, spec: MachineSpec, launch: Launch, transport: Transport) -> Child:
        """A process of its own."""
        return Child.spawn(
            argv(spec, launch, wiring=transport.wiring),
            fds=(*transport.fds, *self.fds),
            cpus=launch.host_cpus,
            small_pages=launch.incoming,
            environment=self.environment,
        )

    async def meet(
        self, spec: MachineSpec, launch: Launch, qmp: Qmp, connection: socket.socket, seen: Callable[[], None]
    ) -> None:
        """It greets."""
        await qmp.connect(connection, at_greeting=seen)
