"""One running machine: started, waited for, asked, and gone on every way out.

Nothing of it has a name in the file system, and QEMU dies with the thread that started it; so there is nothing to clean
up even when this process is killed.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from imagebuilder.errors import GuestFailed, MachineError, NotReady
from imagebuilder.machine import usage
from imagebuilder.machine.channel import LISTENING, Channel
from imagebuilder.machine.child import Child
from imagebuilder.machine.console import Console
from imagebuilder.machine.diagnosis import Seen, failed, last_words, late, own_lines
from imagebuilder.machine.ending import PANIC, Exit, Facts, How, judge
from imagebuilder.machine.failures import COMMAND, QEMU_SAID, PortTaken, check_files, explain
from imagebuilder.machine.messages import GuestMemory, Listens
from imagebuilder.machine.origin import Origin, Spawned
from imagebuilder.machine.ports import with_ports
from imagebuilder.machine.qmp import Qmp, QmpEvent
from imagebuilder.machine.ready import INTERVAL_S, PROBES, Answer, Attempts, wanted
from imagebuilder.machine.spec import LOOPBACK, Forward, MachineSpec, Wiring, argv
from imagebuilder.machine.usage import HostMemory
from imagebuilder.machine.waiting import all_of, any_of, finished, resolve
from imagebuilder.machine.wires import Wires
from imagebuilder.process import shell_line
from imagebuilder.recipe.model import Ready

START_S = 60.0  # for QEMU itself to come up
PORT_ATTEMPTS = 5
LAST_WORDS_S = 5.0  # for what a machine that is ending still has to say
ANSWER_S = 10.0
LISTENS_S = 2.0  # an older init does not know the question
GRACE_S = 10.0
PORT_S = 2.0  # for init to find its port: an application may be faster
POWER_OFF_S = 2.0
QUIT_S = 2.0
T = TypeVar("T")
SPAWNED = Spawned()
TAKEN = ("ESTABLISHED", "CLOSE_WAIT")  # states of a connection that the guest has taken


class Instance:
    """A running machine; ``async with Instance.start(spec) as instance`` is the way to one.

    Times are in ns of the host's monotonic clock.
    """

    def __init__(
        self, spec: MachineSpec, wires: Wires, child: Child, on_console: Callable[[bytes], None] | None = None
    ) -> None:
        self.spec = spec
        """The machine, with the host ports that were chosen."""
        self._wires = wires
        self._child = child
        self._console = Console(on_console)
        self._channel = Channel()
        self._resumed_ns: int | None = None
        self._awaited: list[tuple[str, tuple[str, ...], asyncio.Future[QmpEvent]]] = []
        self._qmp = Qmp(spec.name, self._on_event)
        self._panic = self._console.watch(PANIC)
        self._stopped = False
        self._listening_ns: int | None = None
        self._waited_ns: int | None = None
        self._answered = False
        self.answer: Answer | None = None
        """What was answered last when that was wanted, or when it is all that was looked at."""
        self._ended: asyncio.Task[Exit] = asyncio.create_task(self._follow())

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        spec: MachineSpec,
        *,
        on_console: Callable[[bytes], None] | None = None,
        origin: Origin = SPAWNED,
    ) -> AsyncIterator["Instance"]:
        """Start a machine and talk to QEMU; what is left of it at the end of the block is killed.

        ``on_console`` gets what the guest prints as it comes. ``origin`` makes its QEMU. An ``incoming`` machine stands
        still (``machine/parking.py``). Raises ToolMissing, InputError (a file is missing) and MachineError (PortTaken
        among them, for a port that the caller chose).
        """
        check_files(spec)
        instance = await cls._start(spec, origin, on_console)
        try:
            yield instance
        finally:
            await instance._leave()

    @classmethod
    async def _start(cls, spec: MachineSpec, origin: Origin, on_console: Callable[[bytes], None] | None) -> "Instance":
        own = {forward.host_port for forward in spec.forwards}
        for attempt in range(PORT_ATTEMPTS):
            instance = await cls._made(with_ports(spec), origin, on_console)
            try:
                await instance._connect(origin)
                return instance
            except PortTaken as error:
                await instance._leave()
                if error.port in own or attempt == PORT_ATTEMPTS - 1:
                    raise
            except BaseException:
                await instance._leave()
                raise
        raise AssertionError("unreachable")

    @classmethod
    async def _made(cls, spec: MachineSpec, origin: Origin, on_console: Callable[[bytes], None] | None) -> "Instance":
        wires = origin.wires(spec)
        try:
            child = await origin.child(spec, wires)
        except BaseException:
            wires.close()
            raise
        wires.hand_over()
        return cls(spec, wires, child, on_console)

    # What it is

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._child.pid

    @property
    def qemu_version(self) -> str:
        """As QEMU says it, such as ``7.2.22``."""
        return self._qmp.version

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """The forwarded ports, with the host ports that were chosen."""
        return self.spec.forwards

    def host_port(self, guest_port: int) -> int:
        """The port of 127.0.0.1 at which a port of the guest is reached. Raises MachineError when there is none."""
        for forward in self.spec.forwards:
            if forward.guest_port == guest_port and forward.host_port is not None:
                return forward.host_port
        raise MachineError(f"port {guest_port} of the guest is not forwarded: add it to machine.ports of the recipe")

    # What was seen of it

    @property
    def spawned_ns(self) -> int:
        """Immediately before QEMU's process was made."""
        return self._child.spawned_ns

    @property
    def greeting_ns(self) -> int:
        """When QEMU was there."""
        return self._qmp.greeting_ns

    @property
    def host_ns(self) -> int | None:
        """How long QEMU needed to greet, less the time for which it was ready to run and had no processor; None when
        the host's kernel does not tell."""
        return None if self._waited_ns is None else max(0, self.greeting_ns - self.spawned_ns - self._waited_ns)

    @property
    def running_ns(self) -> int:
        """When the guest's processor was let run: QEMU answers QMP only from then on. Of a machine that stood still:
        when it last went on."""
        return self._resumed_ns or self._qmp.running_ns

    @property
    def listening_ns(self) -> int | None:
        """When the application was seen to listen: by init, else as ``Attempts.listening_ns`` says. None: nobody asked
        a port."""
        return self.phases_ns.get(LISTENING, self._listening_ns)

    @property
    def clock_step_ns(self) -> int | None:
        """The steps of the guest's clock, and so of ``phases_ns``; None when init has not told."""
        return self._channel.reports.clock_step_ns

    @property
    def phases_ns(self) -> dict[str, int]:
        """``kernel`` and what init reported, in order; empty when nothing came over the channel."""
        if self.spec.incoming and self._resumed_ns is not None:
            return self._channel.reports.clone_phases_ns(resumed_ns=self._resumed_ns)
        return self._channel.reports.phases_ns(not_before_ns=self.greeting_ns)

    @property
    def console(self) -> str:
        """What the guest has printed; of much, the beginning and the end."""
        return self._console.text

    @property
    def events(self) -> tuple[QmpEvent, ...]:
        """The last events of QEMU."""
        return tuple(self._qmp.events)

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

    async def guest_memory(self) -> GuestMemory:
        """The guest's memory as its kernel counts it. Raises MachineError when init does not answer."""
        answer = self._channel.ask_memory()
        await any_of(answer, self._ended, timeout_s=ANSWER_S)
        if not answer.done() or answer.cancelled():
            answer.cancel()
            raise MachineError(f"{self.spec.name}: init did not tell the guest's memory within {ANSWER_S:g} s")
        return answer.result()

    async def listening(self) -> frozenset[Listens] | None:
        """What TCP sockets of the guest listen; None when init does not answer."""
        if not self._channel.started.is_set() or self._ended.done():
            return None
        told = self._channel.done("sockets")
        self._channel.send("sockets")
        await any_of(told, self._ended, timeout_s=LISTENS_S)
        if not told.done() or told.cancelled():
            told.cancel()
            return None
        return frozenset(self._channel.reports.listens)

    async def instructions(self) -> int:
        """The guest instructions executed so far, of a machine with ``icount``. Raises MachineError."""
        found: Any = await self._qmp.execute("query-replay")
        return int(found["icount"])

    async def ended(self) -> bool:
        """Whether the guest of a machine with ``icount``, which stays at its end, has ended. Raises MachineError."""
        status: Any = await self._qmp.execute("query-status")
        return bool(status["status"] == "shutdown")

    async def at_rest(self) -> bool:
        """Whether the guest waits for an interrupt, or has ended. Raises MachineError."""
        if await self.ended():
            return True
        registers = await self._qmp.execute("human-monitor-command", **{"command-line": "info registers -a"})
        return "HLT=1" in str(registers) and "HLT=0" not in str(registers)

    @property
    def over(self) -> bool:
        """Whether QEMU has ended."""
        return self._ended.done()

    # What one waits for

    async def wait_ready(self, ready: Ready, timeout_s: float | None = None, *, curious: bool = False) -> int:
        """Wait for the first real answer; returns its time. Raises NotReady after ``timeout_s`` (the recipe's own when
        not given) and GuestFailed as soon as it is clear that none will come. ``curious``: ``answer`` has the answer
        itself afterwards."""
        limit_s = ready.timeout_s if timeout_s is None else timeout_s
        attempts = Attempts(at_once=self.spec.incoming, curious=curious)
        probe = asyncio.ensure_future(PROBES[ready.kind](ready, self, attempts))
        try:
            signs = (probe, self._channel.ended, self._panic, self._ended)
            in_time = await any_of(*signs, timeout_s=limit_s)
            if in_time and not probe.done():
                # It is over, but the last lines of the console may be on their way.
                await all_of(self._ended, timeout_s=LAST_WORDS_S)
                await all_of(probe, timeout_s=0)
            if probe.done():
                ready_ns, self._listening_ns, self.answer = probe.result(), attempts.listening_ns, attempts.answer
                self._answered = self._answered or ready.port is not None
                if self.spec.channel and not self._ended.done():
                    await self._channel.wait_started(PORT_S)
                return ready_ns
        finally:
            probe.cancel()
            await all_of(probe)
        if in_time:
            raise self.failure("before it was ready")
        listens = await self.listening() if ready.port is not None else None
        sentence, hint = late(replace(self._seen(), listens=listens), limit_s, wanted(ready, attempts), ready.port)
        raise NotReady(sentence, hint=hint)

    async def wait_started(self, timeout_s: float) -> None:
        """Wait until init has started the application. Raises NotReady after ``timeout_s``, GuestFailed when the
        machine ends without, MachineError when there is no channel on which init could tell."""
        if not self.spec.channel:
            raise MachineError(f"{self.spec.name} has no channel on which init could tell that it started")
        started = asyncio.ensure_future(self._channel.started.wait())
        try:
            in_time = await any_of(started, self._ended, timeout_s=timeout_s)
        finally:
            started.cancel()
        if self._channel.started.is_set():
            return
        if in_time:
            raise self.failure("before the application started")
        sentence = f"{self.spec.name}: init did not start the application within {timeout_s:g} s"
        raise NotReady(sentence, hint=last_words(self.console))

    async def wait_exit(self) -> Exit:
        """Wait until the machine has ended; tells how."""
        return await asyncio.shield(self._ended)

    # What parking needs besides

    @property
    def channel(self) -> Channel:
        """What connects us with init."""
        return self._channel

    @property
    def wiring(self) -> Wiring:
        """The numbers that its files have in QEMU."""
        return self._wires.wiring

    async def execute(self, command: str, **arguments: object) -> object:
        """Run a QMP command. Raises MachineError when QEMU refuses it or has ended."""
        return await self._qmp.execute(command, **arguments)

    async def send_fd(self, name: str, fd: int) -> None:
        """Give QEMU an open file under a name. Raises MachineError."""
        await self._qmp.send_fd(name, fd)

    def next_event(self, name: str, *, status: tuple[str, ...] = ()) -> asyncio.Future[QmpEvent]:
        """The next event of this name, from now on; one that tells a status counts with one of these only."""
        future: asyncio.Future[QmpEvent] = asyncio.get_running_loop().create_future()
        self._awaited.append((name, status, future))
        return future

    async def outcome(self, future: asyncio.Future[T], what: str, *, timeout_s: float) -> T:
        """What something gives that this machine has to do. Raises GuestFailed when it ends before, MachineError when
        it does not come in time."""
        in_time = await any_of(future, self._channel.ended, self._panic, self._ended, timeout_s=timeout_s)
        if future.done() and not future.cancelled():
            return future.result()
        future.cancel()
        if in_time:
            await all_of(self._ended, timeout_s=LAST_WORDS_S)
            raise self.failure(f"before {what}")
        raise MachineError(f"{self.spec.name}: {what} did not come within {timeout_s:g} s")

    def went_on(self, at_ns: int) -> None:
        """It stood still, and goes on from this moment of the host's clock."""
        self._resumed_ns = at_ns

    # What one does to it

    def write_console(self, data: bytes) -> None:
        """Type into the guest's console."""
        self._console.write(data)

    async def terminate(self, *, grace_s: float = GRACE_S) -> Exit:
        """Ask the application to end, then power off, then end QEMU; each only when the one before did not help.

        ``grace_s`` is for the application; a guest whose init has not spoken yet gets less, as it has less to lose.
        """
        self._stopped = True
        steps: list[tuple[Callable[[], Awaitable[None]], float]] = [(self._quit, QUIT_S)]
        if self._channel.reports.phases:
            steps[:0] = [(partial(self._say, "terminate"), grace_s), (partial(self._say, "poweroff"), POWER_OFF_S)]
        elif self.spec.channel:
            steps[:0] = [(partial(self._say, "terminate"), min(PORT_S, grace_s))]
        for act, patience_s in steps:
            if self._ended.done():
                break
            await act()
            await all_of(self._ended, timeout_s=patience_s)
        self.kill()
        return await self.wait_exit()

    def kill(self) -> None:
        """End QEMU at once."""
        self._stopped = self._stopped or not self._ended.done()
        self._child.kill()

    def write_artefacts(self, folder: Path) -> None:
        """Write down what there is to see of a boot that failed, and the command line that repeats it by hand."""
        folder.mkdir(parents=True, exist_ok=True)
        events = [asdict(event) for event in self.events]
        times = {"spawned": self.spawned_ns, "greeting": self.greeting_ns, **self.phases_ns}
        contents = {
            "console.log": self.console,
            QEMU_SAID: self.qemu_output,
            "qmp-events.json": json.dumps(events, indent=1) + "\n",
            "phases.json": json.dumps(times, indent=1) + "\n",
            COMMAND: shell_line(argv(self.spec, wiring=None)) + "\n",
        }
        for name, content in contents.items():
            (folder / name).write_text(content, encoding="utf-8")

    # What the probes need besides

    @property
    def started(self) -> asyncio.Event | None:
        """Set when the application may be asked: when init saw it listen or, not looking, started it; None when it
        cannot tell."""
        return self._channel.askable if self.spec.channel else None

    def watch_console(self, pattern: str) -> asyncio.Future[int]:
        """The moment at which a line of the console matches."""
        return self._console.watch(pattern)

    async def exited_ns(self, status: int) -> int:
        """The moment at which init told that the application ended with ``status``. Raises GuestFailed for all else."""
        await any_of(self._channel.ended, self._ended)
        found, at_ns = judge(self._facts()), self._channel.reports.end_ns
        if found.how is How.APPLICATION and found.status == status and at_ns is not None:
            return at_ns
        raise self.failure(f"where status {status} was expected")

    @property
    def listens(self) -> bool:
        """Whether the application is known to listen: init has told, it did before it was cloned, or has answered."""
        return self.spec.incoming or self._answered or LISTENING in self._channel.reports.phases

    async def accepted_ns(self, host_port: int) -> int:
        """The moment at which the guest took a connection to this port: QEMU has no event for it, and is asked again
        and again."""
        while not await self.taken(host_port):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(INTERVAL_S)
        return time.monotonic_ns()

    async def taken(self, host_port: int) -> bool:
        """Whether the guest has taken a connection to this port that is still open, as QEMU's user network sees it,
        which takes connections itself before the guest does. Raises MachineError."""
        row = rf"TCP\[({'|'.join(TAKEN)})\]\s+\d+\s+{re.escape(LOOPBACK)}\s+{host_port}\s"
        table = await self._qmp.execute("human-monitor-command", **{"command-line": "info usernet"})
        return re.search(row, str(table)) is not None

    # Inside

    async def _connect(self, origin: Origin) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._console, sock=self._wires.console)
        await loop.create_unix_connection(lambda: self._channel, sock=self._wires.channel)
        try:
            async with asyncio.timeout(START_S):  # wait_for of Python 3.11 can lose that it was cancelled
                await origin.meet(self.spec, self._qmp, self._wires.qmp, self._greeted)
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise MachineError(f"QEMU did not come up within {START_S:g} s") from error
            self._child.kill()
            await all_of(self._ended)
            raise explain(self.spec, status=self._child.reap(), said=self.qemu_output) from error

    def _greeted(self) -> None:
        self._waited_ns = usage.waited_ns(self.pid)

    async def _follow(self) -> Exit:
        await self._child.wait()
        # Whatever is still in the sockets belongs to the guest's last words.
        await all_of(*(end.closed for end in (self._console, self._channel) if end.connected), timeout_s=LAST_WORDS_S)
        await self._qmp.close()
        return judge(self._facts())

    async def _leave(self) -> None:
        """Kill it, and let go of everything. It takes milliseconds, and is not given up when cancelled meanwhile."""
        self.kill()
        try:
            await finished(self._ended)
        finally:
            for each in (self._console, self._channel, self._child, self._wires):
                each.close()

    def _facts(self) -> Facts:
        return Facts(
            reported=self._channel.reports.end,
            panic=self._panic_text() if self._panic.done() else None,
            stopped=self._stopped,
            qemu_status=self._child.status,
            qemu_said=self.qemu_output,
            started=self.spec.foreign or self._channel.started.is_set() or bool(own_lines(self.console)),
            memory_mib=self.spec.memory_mib,
        )

    def _panic_text(self) -> str:
        found = re.search(PANIC + r"(.*)", self.console)
        return found[1].strip() if found else "its console tells more"

    def failure(self, when: str) -> GuestFailed:
        """The error for what was seen of it so far; ``when`` completes the sentence: "before it was ready"."""
        sentence, hint = failed(self._seen(), judge(self._facts()), when)
        return GuestFailed(sentence, hint=hint)

    def _seen(self) -> Seen:
        return Seen(self.spec.name, self.spec.memory_mib, self.console, self._channel.reports.left)

    def _on_event(self, event: QmpEvent) -> None:
        if event.name == "GUEST_PANICKED":
            resolve(self._panic, event.at_ns)
        for name, status, future in self._awaited:
            if name == event.name and (not status or event.data.get("status") in status):
                resolve(future, event)
        self._awaited = [each for each in self._awaited if not each[-1].done()]

    async def _say(self, command: str) -> None:
        self._channel.send(command)

    async def _quit(self) -> None:
        try:
            await self._qmp.execute("quit")
        except MachineError:
            self._child.kill()
