"""A running instance as those see it who ask for its first answer (``ready.Probed``)."""

import asyncio
import re
import time

from imagebuilder.errors import MachineError
from imagebuilder.machine.channel import LISTENING, Channel
from imagebuilder.machine.console import Console
from imagebuilder.machine.ending import How
from imagebuilder.machine.evidence import Evidence
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.qmp import Qmp
from imagebuilder.machine.ready import INTERVAL_S
from imagebuilder.machine.spec import LOOPBACK, MachineSpec
from imagebuilder.machine.waiting import any_of

SILENT_S = 10.0  # an init that is there says something sooner, on a busy host too
TAKEN = ("ESTABLISHED", "CLOSE_WAIT")  # states of a connection that the guest has taken


class ProbedInstance:
    """What init, the console and QEMU's user network tell of its application."""

    def __init__(
        self,
        spec: MachineSpec,
        launch: Launch,
        monitor: Qmp,
        channel: Channel,
        console: Console,
        evidence: Evidence,
    ) -> None:
        self._launch = launch
        self._spec, self._monitor, self._channel = spec, monitor, channel
        self._console, self._evidence = console, evidence
        self.answered = False
        """A port of it has given an answer."""
        self._begun_s = time.monotonic()

    @property
    def started(self) -> asyncio.Event | None:
        """Set when the application may be asked: when init saw it listen or, not looking, started it; None when it
        cannot tell."""
        return self._channel.askable if self._spec.channel else None

    @property
    def running(self) -> bool:
        """Whether the application may run: init has started it, it ran before it was cloned, or nothing is heard of any
        init."""
        silent = not self._channel.reports.phases and time.monotonic() - self._begun_s > SILENT_S
        return self.listens or self._channel.started.is_set() or silent

    @property
    def listens(self) -> bool:
        """Whether the application is known to listen: by init, as a clone of one that did, or by an answer."""
        return self._launch.incoming or self.answered or LISTENING in self._channel.reports.phases

    def host_port(self, guest_port: int) -> int:
        """The port of 127.0.0.1 at which a port of the guest is reached. Raises MachineError when there is none."""
        for forward in self._spec.forwards:
            if forward.guest_port == guest_port and forward.host_port is not None:
                return forward.host_port
        raise MachineError(f"port {guest_port} of the guest is not forwarded: add it to machine.ports of the recipe")

    def watch_console(self, pattern: str) -> asyncio.Future[int]:
        """The moment at which a line of the console matches."""
        return self._console.watch(pattern)

    async def exited_ns(self, status: int) -> int:
        """The moment at which init reported that the application ended with ``status``. Raises GuestFailed else."""
        await any_of(self._channel.ended, self._evidence.over)
        found, at_ns = self._evidence.exit, self._channel.reports.end_ns
        if found.how is How.APPLICATION and found.status == status and at_ns is not None:
            return at_ns
        raise self._evidence.failure(f"where status {status} was expected")

    async def accepted_ns(self, host_port: int) -> int:
        """The moment at which the guest took a connection to this port: QEMU has no event for it, and is asked again
        and again."""
        while not await self.taken(host_port):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(INTERVAL_S)
        return time.monotonic_ns()

    async def taken(self, host_port: int) -> bool:
        """Whether the guest has taken a connection to this port that is still open, as QEMU's user network sees it,
        which takes connections itself before the guest does. Raises MachineError."""
        row = rf"TCP\[({'|'.join(TAKEN)})\]\s+\d+\s+{re.escape(LOOPBACK)}\s+{host_port}\s"
        return re.search(row, await self._monitor.ask("info usernet")) is not None
