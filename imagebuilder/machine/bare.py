"""A machine by its bare command line, as one would paste it: no QMP, no channel, the console on a pipe.

It is started to know what measuring costs, with nothing between us and QEMU that the other starts have. It does not die
with us by itself, so a shell that was there before waits beside it: when we are gone, it ends QEMU.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from imagebuilder import process
from imagebuilder.errors import GuestFailed, MachineError, NotReady
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.console import Console
from imagebuilder.machine.failures import check_files
from imagebuilder.machine.ports import with_ports
from imagebuilder.machine.ready import PROBES, Attempts
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.machine.usage import cpu_ns
from imagebuilder.machine.waiting import all_of, any_of
from imagebuilder.recipe.model import Ready
from imagebuilder.recipe.values import ReadyKind

LEASHED = "LEASHED_BY"  # in QEMU's environment, with the number of the process that ends it
# Where we are gone before we have reported QEMU's number, it is known by its environment: our end of the pipe is closed
# in QEMU's process when that has one of its own.
LEASH = f"""echo; if read -r pid; then read -r rest; kill -9 "$pid"; else for each in /proc/[0-9]*; do
grep -qszx {LEASHED}=$$ $each/environ && kill -9 "${{each#/proc/}}"; done; fi"""
ATTEMPTS = 3  # another process may take a port that was free
WATCHED = (ReadyKind.HTTP, ReadyKind.TCP, ReadyKind.CONSOLE)


@dataclass(frozen=True, slots=True)
class BareStart:
    """The first answer, in ns after the spawn, and QEMU's processor time until then; None when it had ended."""

    took_ns: int
    cpu_ns: int | None


class Bare:
    """A machine that runs so, as the probes see it (``ready.Probed``)."""

    def __init__(self, spec: MachineSpec, started: asyncio.Event) -> None:
        self.spec = spec
        self.started: asyncio.Event | None = started
        self.console = Console()
        self.spawned_ns = 0
        self.pid = 0

    def host_port(self, guest_port: int) -> int:
        """Where a port of the guest is reached."""
        return next(each.host_port for each in self.spec.forwards if each.guest_port == guest_port and each.host_port)

    def watch_console(self, pattern: str) -> asyncio.Future[int]:
        """The moment at which a line of the console matches."""
        return self.console.watch(pattern)

    async def exited_ns(self, status: int) -> int:
        """Not known without a channel."""
        raise MachineError("a bare machine does not tell how its application ended")

    @property
    def running(self) -> bool:
        """Not known without a channel: not before the application may be asked anyway."""
        return False

    @property
    def listens(self) -> bool:
        """Not known without a channel."""
        return False

    async def taken(self, host_port: int) -> None:
        """Not known without QMP."""

    async def accepted_ns(self, host_port: int) -> int:
        """Not known without QMP."""
        raise MachineError("a bare machine does not tell who took a connection")


def can_watch(ready: Ready) -> bool:
    """Whether the first answer can be seen from outside alone."""
    return ready.kind in WATCHED and (ready.tcp is None or ready.tcp.expect is not None)


async def first_answer(
    spec: MachineSpec, ready: Ready, *, quiet_s: float, host_cpus: tuple[int, ...] = ()
) -> BareStart:
    """Start it and wait for the first real answer. It is asked as an instance is from the moment at which its
    application has started; of a bare one that is not known, so not before ``quiet_s`` are over.
    ``host_cpus`` are the processors of this host that it may use; none: those that we may use.

    Raises NotReady, GuestFailed, MachineError.
    """
    check_files(spec)
    for _ in range(ATTEMPTS - 1):
        with suppress(GuestFailed):
            return await _once(with_ports(spec), ready, quiet_s, host_cpus)
    return await _once(with_ports(spec), ready, quiet_s, host_cpus)


async def _once(spec: MachineSpec, ready: Ready, quiet_s: float, host_cpus: tuple[int, ...]) -> BareStart:
    started = asyncio.Event()
    bare = Bare(spec, started)
    async with _running(bare, host_cpus):
        waking = asyncio.get_running_loop().call_later(quiet_s, started.set)
        probe = asyncio.ensure_future(PROBES[ready.kind](ready, bare, Attempts()))
        try:
            in_time = await any_of(probe, bare.console.closed, timeout_s=ready.timeout_s)
            if probe.done():
                return BareStart(probe.result() - bare.spawned_ns, _cpu_ns(bare.pid))
        finally:
            waking.cancel()
            probe.cancel()
            await all_of(probe)
    if in_time:
        raise GuestFailed(f"{spec.name}, started by its command line alone, ended before it was ready")
    raise NotReady(f"{spec.name}, started by its command line alone, was not ready within {ready.timeout_s:g} s")


def _cpu_ns(pid: int) -> int | None:
    with suppress(MachineError):
        return cpu_ns(pid)
    return None


@asynccontextmanager
async def _running(bare: Bare, host_cpus: tuple[int, ...]) -> AsyncIterator[None]:
    """QEMU, killed at the end."""
    with _leash() as leash:
        child = _spawn(bare, host_cpus, leash.pid)
        try:
            assert leash.stdin is not None
            leash.stdin.write(b"%d\n" % child.pid)
            leash.stdin.flush()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: bare.console, child.stdout)
            try:
                yield
            finally:
                transport.close()
        finally:
            child.kill()
            leash.kill()  # before QEMU's number can be anybody else's
            child.wait()


def _leash() -> subprocess.Popen[bytes]:
    """What ends QEMU when we are gone. It waits already, and takes no processor time from now on."""
    leash = subprocess.Popen(
        ["/bin/sh", "-c", LEASH],
        env=process.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert leash.stdout is not None
    leash.stdout.readline()
    return leash


def _spawn(bare: Bare, host_cpus: tuple[int, ...], leash_pid: int) -> subprocess.Popen[bytes]:
    words = argv(bare.spec, wiring=None)
    words[0] = str(process.require(words[0]))
    environment = {**process.environment(), LEASHED: str(leash_pid)}
    bare.spawned_ns = time.monotonic_ns()
    child = subprocess.Popen(
        words,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    bare.pid = child.pid
    if host_cpus:
        with suppress(OSError):  # it ended already, which is noticed elsewhere
            os.sched_setaffinity(child.pid, host_cpus)
    return child
