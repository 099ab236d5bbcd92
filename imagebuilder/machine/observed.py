"""What is known of a running machine by looking at it: who it is, when what happened, what it printed and takes."""

from collections.abc import Callable

from imagebuilder.machine import usage
from imagebuilder.machine.channel import LISTENING, Channel
from imagebuilder.machine.child import Child
from imagebuilder.machine.command_line import Wiring
from imagebuilder.machine.console import Console
from imagebuilder.machine.evidence import Evidence
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.probed import ProbedInstance
from imagebuilder.machine.qmp import Qmp, QmpEvent
from imagebuilder.machine.ready import ProbeAnswer
from imagebuilder.machine.spec import Forward, MachineSpec
from imagebuilder.machine.transport import Transport
from imagebuilder.machine.usage import HostMemory
from imagebuilder.machine.waiting import resolve

OnConsole = Callable[[bytes], None]


class Observed:
    """A machine's QEMU, its monitor, its console and its channel to init, and what they tell.

    Times are in ns of the host's monotonic clock.
    """

    def __init__(
        self, spec: MachineSpec, launch: Launch, transport: Transport, child: Child, on_console: OnConsole | None = None
    ) -> None:
        self.spec = spec
        """The machine, with the host ports that were chosen."""
        self.launch = launch
        """How it was started."""
        self._transport = transport
        self._child = child
        self.terminal = Console(on_console)
        """The guest's console: what it prints, and what is typed into it."""
        self.channel = Channel()
        """What connects us with init."""
        self.resumed_ns: int | None = None
        """Of one that stood still: when it last went on."""
        self.monitor = Qmp(spec.name, self._on_event)
        self.evidence = Evidence(spec, launch, self.terminal, self.channel, child)
        self.probed = ProbedInstance(spec, launch, self.monitor, self.channel, self.terminal, self.evidence)
        self._listening_ns: int | None = None
        self._waited_ns: int | None = None
        self.answer: ProbeAnswer | None = None
        """What was answered last when that was wanted, or when it is all that was looked at."""

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._child.pid

    @property
    def qemu_version(self) -> str:
        """As QEMU says it, such as ``7.2.22``."""
        return self.monitor.version

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """The forwarded ports, with the host ports that were chosen."""
        return self.spec.forwards

    def host_port(self, guest_port: int) -> int:
        """The port of 127.0.0.1 at which a port of the guest is reached. Raises MachineError when there is none."""
        return self.probed.host_port(guest_port)

    @property
    def spawned_ns(self) -> int:
        """Immediately before QEMU's process was made."""
        return self._child.spawned_ns

    @property
    def greeting_ns(self) -> int:
        """When QEMU was there."""
        return self.monitor.greeting_ns

    @property
    def host_ns(self) -> int | None:
        """How long QEMU needed to greet, less the time for which it was ready to run and had no processor; None when
        the host's kernel does not tell."""
        return None if self._waited_ns is None else max(0, self.greeting_ns - self.spawned_ns - self._waited_ns)

    @property
    def running_ns(self) -> int:
        """When the guest's processor was let run: QEMU answers QMP only from then on. Of a machine that stood still:
        when it last went on."""
        return self.resumed_ns or self.monitor.running_ns

    @property
    def listening_ns(self) -> int | None:
        """When the application was seen to listen: by init, else as ``Attempts.listening_ns`` says. None: not asked for
        a port."""
        return self.phases_ns.get(LISTENING, self._listening_ns)

    @property
    def clock_step_ns(self) -> int | None:
        """The steps of the guest's clock, and so of ``phases_ns``; None when init has not reported them."""
        return self.channel.reports.clock_step_ns

    @property
    def phases_ns(self) -> dict[str, int]:
        """``kernel`` and what init reported, in order; empty when nothing came over the channel."""
        if self.launch.incoming and self.resumed_ns is not None:
            return self.channel.reports.clone_phases_ns(resumed_ns=self.resumed_ns)
        return self.channel.reports.phases_ns(not_before_ns=self.greeting_ns)

    @property
    def console(self) -> str:
        """What the guest has printed; of much, the beginning and the end."""
        return self.terminal.text

    @property
    def events(self) -> tuple[QmpEvent, ...]:
        """The last events of QEMU."""
        return tuple(self.monitor.events)

    @property
    def qemu_output(self) -> str:
        """What QEMU itself said."""
        return self._child.output

    @property
    def cpu_s(self) -> float:
        """The host processor time that QEMU has used, in seconds."""
        return self._child.cpu_s

    def host_memory(self) -> HostMemory:
        """The memory of QEMU's process, the guest's included. Raises MachineError when it has ended."""
        return usage.host_memory(self.pid)

    @property
    def wiring(self) -> Wiring:
        """The numbers that its files have in QEMU."""
        return self._transport.wiring

    def _greeted(self) -> None:
        self._waited_ns = usage.waited_ns(self.pid)

    def _on_event(self, event: QmpEvent) -> None:
        if event.name == "GUEST_PANICKED":
            resolve(self.evidence.panic, event.at_ns)
