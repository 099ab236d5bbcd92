"""One running machine: started, waited for, asked, and gone on every way out.

Nothing of it has a name in the file system, and QEMU dies with the thread that started it; so there is nothing to clean
up even when this process is killed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from imagebuilder.errors import MachineError, NotReady
from imagebuilder.machine.child import Child
from imagebuilder.machine.diagnosis import last_words
from imagebuilder.machine.ending import Exit
from imagebuilder.machine.failures import PortTaken, check_files, explain
from imagebuilder.machine.given import START, check_secrets
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.launcher import Launcher, Spawned
from imagebuilder.machine.messages import GuestMemory
from imagebuilder.machine.observed import Observed, OnConsole
from imagebuilder.machine.ports import with_ports
from imagebuilder.machine.ready import PROBES, Attempts, wanted
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.machine.transport import Transport
from imagebuilder.machine.waiting import all_of, any_of, finished, resolve
from imagebuilder.recipe.model import Ready

START_S = 60.0  # for QEMU itself to come up
PORT_ATTEMPTS = 5
LAST_WORDS_S = 5.0  # for what a machine that is ending still has to say
ANSWER_S = 10.0
GRACE_S = 10.0
PORT_S = 2.0  # for init to find its port: an application may be faster
POWER_OFF_S = 2.0
QUIT_S = 2.0
T = TypeVar("T")
SPAWNED = Spawned()


class Instance(Observed):
    """A running machine; ``async with Instance.start(spec) as instance`` is the way to one."""

    def __init__(
        self, spec: MachineSpec, launch: Launch, transport: Transport, child: Child, on_console: OnConsole | None = None
    ) -> None:
        super().__init__(spec, launch, transport, child, on_console)
        self._ended: asyncio.Task[Exit] = asyncio.create_task(self._follow())

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        spec: MachineSpec,
        launch: Launch = COLD,
        *,
        on_console: OnConsole | None = None,
        launcher: Launcher = SPAWNED,
    ) -> AsyncIterator["Instance"]:
        """Start a machine and talk to QEMU; what is left of it at the end of the block is killed.

        ``on_console`` gets what the guest prints as it comes. ``launcher`` makes its QEMU. One that is ``incoming``
        stands still (``machine/suspend.py``). Raises ToolMissing, InputError (a file is missing) and MachineError
        (PortTaken among them, for a port that the caller chose).
        """
        check_files(spec, launch)
        if not launch.incoming and not spec.foreign:
            check_secrets(spec.name, spec.secrets, spec.given, kept=launch.memory_file is not None)
        instance = await cls._start(spec, launch, launcher, on_console)
        try:
            yield instance
        finally:
            await instance._leave()

    @classmethod
    async def _start(
        cls, spec: MachineSpec, launch: Launch, launcher: Launcher, on_console: OnConsole | None
    ) -> "Instance":
        own = {forward.host_port for forward in spec.forwards}
        for attempt in range(PORT_ATTEMPTS):
            instance = await cls._made(with_ports(spec), launch, launcher, on_console)
            try:
                await instance._connect(launcher)
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
    async def _made(
        cls, spec: MachineSpec, launch: Launch, launcher: Launcher, on_console: OnConsole | None
    ) -> "Instance":
        transport = launcher.transport(spec, launch)
        try:
            child = await launcher.child(spec, launch, transport)
        except BaseException:
            transport.close()
            raise
        transport.hand_over()
        return cls(spec, launch, transport, child, on_console)

    @property
    def over(self) -> bool:
        """Whether QEMU has ended."""
        return self._ended.done()

    # What one waits for

    async def guest_memory(self) -> GuestMemory:
        """The guest's memory as its kernel counts it. Raises MachineError when init does not answer."""
        answer = self.channel.ask_memory()
        await any_of(answer, self._ended, timeout_s=ANSWER_S)
        if not answer.done() or answer.cancelled():
            answer.cancel()
            raise MachineError(f"{self.spec.name}: init did not tell the guest's memory within {ANSWER_S:g} s")
        return answer.result()

    async def wait_ready(self, ready: Ready, timeout_s: float | None = None, *, curious: bool = False) -> int:
        """Wait for the first real answer; returns its time. Raises NotReady after ``timeout_s`` (the recipe's own when
        not given) and GuestFailed as soon as it is clear that none will come. ``curious``: ``answer`` has the answer
        itself afterwards."""
        limit_s = ready.timeout_s if timeout_s is None else timeout_s
        attempts = Attempts(at_once=self.launch.incoming, curious=curious)
        probe = asyncio.ensure_future(PROBES[ready.kind](ready, self.probed, attempts))
        try:
            signs = (probe, self.channel.ended, self.evidence.panic, self._ended)
            in_time = await any_of(*signs, timeout_s=limit_s)
            if in_time and not probe.done():
                # It is over, but the last lines of the console may be on their way.
                await all_of(self._ended, timeout_s=LAST_WORDS_S)
                await all_of(probe, timeout_s=0)
            if probe.done():
                ready_ns, self._listening_ns, self.answer = probe.result(), attempts.listening_ns, attempts.answer
                self.probed.answered = self.probed.answered or ready.port is not None
                if self.spec.channel and not self._ended.done():
                    await self.channel.wait_started(PORT_S)
                return ready_ns
        finally:
            probe.cancel()
            await all_of(probe)
        if in_time:
            raise self.evidence.failure("before it was ready")
        listens = await self.channel.listening(self._ended) if ready.port is not None else None
        raise self.evidence.late(limit_s, wanted(ready, attempts), ready.port, listens)

    async def wait_started(self, timeout_s: float) -> None:
        """Wait until init has started the application. Raises NotReady after ``timeout_s``, GuestFailed when the
        machine ends without, MachineError when there is no channel on which init could tell."""
        if not self.spec.channel:
            raise MachineError(f"{self.spec.name} has no channel on which init could tell that it started")
        started = asyncio.ensure_future(self.channel.started.wait())
        try:
            in_time = await any_of(started, self._ended, timeout_s=timeout_s)
        finally:
            started.cancel()
        if self.channel.started.is_set():
            return
        if in_time:
            raise self.evidence.failure("before the application started")
        sentence = f"{self.spec.name}: init did not start the application within {timeout_s:g} s"
        raise NotReady(sentence, hint=last_words(self.console))

    async def wait_exit(self) -> Exit:
        """Wait until the machine has ended; returns how."""
        return await asyncio.shield(self._ended)

    async def outcome(self, future: asyncio.Future[T], what: str, *, timeout_s: float) -> T:
        """What something gives that this machine has to do. Raises GuestFailed when it ends before, MachineError when
        it does not come in time."""
        in_time = await any_of(future, self.channel.ended, self.evidence.panic, self._ended, timeout_s=timeout_s)
        if future.done() and not future.cancelled():
            return future.result()
        future.cancel()
        if in_time:
            await all_of(self._ended, timeout_s=LAST_WORDS_S)
            raise self.evidence.failure(f"before {what}")
        raise MachineError(f"{self.spec.name}: {what} did not come within {timeout_s:g} s")

    # What one does to it

    async def terminate(self, *, grace_s: float = GRACE_S) -> Exit:
        """Ask the application to end, then power off, then end QEMU; each only when the one before did not help.

        ``grace_s`` is for the application; a guest whose init has not spoken yet gets less, as it has less to lose.
        """
        self.evidence.stopped = True
        steps: list[tuple[Callable[[], Awaitable[None]], float]] = [(self._quit, QUIT_S)]
        if self.channel.reports.phases:
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
        self.evidence.stopped = self.evidence.stopped or not self._ended.done()
        self._child.kill()

    # Inside

    async def _connect(self, launcher: Launcher) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self.terminal, sock=self._transport.console)
        await loop.create_unix_connection(lambda: self.channel, sock=self._transport.channel)
        if self.spec.given and not self.launch.incoming:
            for words in (*self.spec.given.words(), START):
                self.channel.send(words)  # init takes it when it has opened its port
        try:
            async with asyncio.timeout(START_S):  # wait_for of Python 3.11 can lose that it was cancelled
                await launcher.meet(self.spec, self.launch, self.monitor, self._transport.qmp, self._greeted)
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise MachineError(f"QEMU did not come up within {START_S:g} s") from error
            await all_of(self._ended, timeout_s=LAST_WORDS_S)  # it may be about to end by itself
            self._child.kill()
            await all_of(self._ended)
            if self._child.reap() == 0 and self.evidence.started:
                return  # the guest was quicker than our greeting: what it said and did counts
            raise explain(self.spec, self.launch, status=self._child.reap(), said=self.qemu_output) from error

    async def _follow(self) -> Exit:
        await self._child.wait()
        # Whatever is still in the sockets belongs to the guest's last words.
        await all_of(*(end.closed for end in (self.terminal, self.channel) if end.connected), timeout_s=LAST_WORDS_S)
        await self.monitor.close()
        resolve(self.evidence.over, None)
        return self.evidence.exit

    async def _leave(self) -> None:
        """Kill it, and let go of everything. It takes milliseconds, and is not given up when cancelled meanwhile."""
        self.kill()
        try:
            await finished(self._ended)
        finally:
            for each in (self.terminal, self.channel, self._child, self._transport):
                each.close()

    async def _say(self, command: str) -> None:
        self.channel.send(command)

    async def _quit(self) -> None:
        try:
            await self.monitor.execute("quit")
        except MachineError:
            self._child.kill()
