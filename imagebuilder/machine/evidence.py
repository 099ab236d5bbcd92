"""What was seen of one machine, from which follows how it ended and why it did not do what it should."""

import asyncio
import re
from dataclasses import replace
from functools import partial

from imagebuilder.errors import GuestFailed, NotReady
from imagebuilder.machine import missing
from imagebuilder.machine.channel import Channel
from imagebuilder.machine.child import Child
from imagebuilder.machine.console import Console
from imagebuilder.machine.diagnosis import Seen, failed, late, own_lines, remedies
from imagebuilder.machine.ending import PANIC, Exit, Facts, judge
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.messages import Listens
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.recipe.values import Egress


class Evidence:
    """Looks at what a running machine leaves: its console, what init says, QEMU's own words."""

    def __init__(self, spec: MachineSpec, launch: Launch, console: Console, channel: Channel, child: Child) -> None:
        self._launch = launch
        self._spec, self._console, self._channel, self._child = spec, console, channel, child
        self.panic: asyncio.Future[int] = console.watch(PANIC)
        """When the guest's kernel panicked."""
        self.stopped = False
        """We ended QEMU ourselves."""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """QEMU has ended, and all that it said was read."""

    @property
    def started(self) -> bool:
        """Whether the application had been started, or that cannot be known."""
        spoke = self._channel.started.is_set() or bool(own_lines(self._console.text))
        return self._spec.foreign or self._launch.incoming or spoke

    @property
    def exit(self) -> Exit:
        """How it ended, by what was seen so far."""
        facts = Facts(
            reported=self._channel.reports.end,
            panic=_panic(self._console.text) if self.panic.done() else None,
            stopped=self.stopped,
            qemu_status=self._child.status,
            qemu_said=self._child.output,
            started=self.started,
            memory_mib=self._spec.memory_mib,
        )
        return judge(facts)

    def failure(self, when: str) -> GuestFailed:
        """The error for what was seen of it so far; ``when`` completes the sentence: "before it was ready"."""
        sentence, hint = failed(self._seen(), self.exit, when)
        return GuestFailed(sentence, hint=hint)

    def late(self, limit_s: float, wanted: str, port: int | None, listens: frozenset[Listens] | None) -> NotReady:
        """The error for one that goes on and did not answer in time; ``listens`` are the sockets that init reported."""
        sentence, hint = late(replace(self._seen(), listens=listens), limit_s, wanted, port)
        return NotReady(sentence, hint=hint)

    @property
    def remedies(self) -> list[str]:
        """What to do about that of which the application's last lines complain."""
        return list(remedies(self._seen()))

    def _seen(self) -> Seen:
        spec = self._spec
        closed = spec.network and spec.egress is Egress.NONE
        left = self._channel.reports.left
        return Seen(
            spec.name,
            spec.memory_mib,
            self._console.text,
            left,
            closed=closed,
            lacks=partial(missing.lacks, spec),
            unread=partial(missing.unread, spec),
        )


def _panic(console: str) -> str:
    found = re.search(PANIC + r"(.*)", console)
    return found[1].strip() if found else "its console shows more"
