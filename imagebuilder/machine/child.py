"""The door through which QEMU is started: it dies with us, its end is noticed at once, what it said is kept.

``setpriv --pdeathsig`` makes the kernel kill QEMU when the thread that started it ends, however that comes about. It
costs one more ``exec`` (about 1 ms); doing the same between ``fork`` and ``exec`` in Python copies our page tables
first, which was measured to cost 2 ms in a small process and 15 ms in one of 300 MiB, and is unsafe with threads.

We may be killed in the millisecond before that takes effect. So QEMU, when it is past it, has to open a file through
our list of open files: a process that dies loses those before its children are notified, so that QEMU either finds us
alive and will be notified, or ends by itself.
"""

import ctypes
import fcntl
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from typing import Self

from imagebuilder import process
from imagebuilder.machine.usage import cpu_ns
from imagebuilder.machine.waiting import readable

OUTPUT_BYTES = 1 << 16
PR_SET_THP_DISABLE, PR_GET_THP_DISABLE = 41, 42  # prctl(2)


class Child:
    """A running QEMU, from its start to its end: a child process of ours, ``output_fd`` a file with what it says."""

    def __init__(self, pid: int, *, spawned_ns: int, output_fd: int) -> None:
        self.pid = pid
        self.spawned_ns = spawned_ns
        """Immediately before its process was made."""
        self.status: int | None = None
        """The exit status, negative for a signal; None while it runs."""
        self._usage: resource.struct_rusage | None = None
        self._output_fd = output_fd
        self._popen: subprocess.Popen[bytes] | None = None
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:  # there is no further descriptor: it could not be supervised
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        fds: Sequence[int] = (),
        cpus: Sequence[int] = (),
        small_pages: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start it. Raises ToolMissing when it is not installed.

        With ``small_pages`` none of its memory is in huge pages, by ``_small_pages``. ``environment`` is given to
        it besides the usual one.
        """
        words = [str(process.require("setpriv")), "--pdeathsig", "KILL", str(process.require(argv[0])), *argv[1:]]
        variables = {**process.environment(), **(environment or {})}
        output_fd = output_file()
        words += ("-object", f"secret,id=parent,file=/proc/{os.getpid()}/fd/{empty_file()}")
        try:
            with _small_pages() if small_pages else nullcontext():
                spawned_ns = time.monotonic_ns()
                popen = subprocess.Popen(
                    words,
                    env=variables,
                    stdin=subprocess.DEVNULL,
                    stdout=output_fd,
                    stderr=output_fd,
                    pass_fds=fds,
                    start_new_session=True,  # Ctrl-C reaches us, and we end it in order
                )
            child = cls(popen.pid, spawned_ns=spawned_ns, output_fd=output_fd)
        except BaseException:
            os.close(output_fd)
            raise
        child._popen = popen
        if cpus:
            with suppress(OSError):  # it ended already, which is noticed elsewhere
                os.sched_setaffinity(child.pid, cpus)  # the threads that it will make inherit it
        return child

    @property
    def output(self) -> str:
        """What QEMU itself said (the first 64 KiB)."""
        if self._output_fd < 0:
            return self._last_output
        return os.pread(self._output_fd, OUTPUT_BYTES, 0).partition(b"\0")[0].decode(errors="replace")

    @property
    def cpu_s(self) -> float:
        """The processor time that it has used, in seconds."""
        if self._usage is not None:
            return self._usage.ru_utime + self._usage.ru_stime
        return cpu_ns(self.pid) / 1e9

    def kill(self) -> None:
        """End it at once."""
        if self.status is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end; returns the status. One at a time may wait."""
        if self.status is None:
            await readable(self._pidfd)
        return self.reap()

    def wait_for(self, timeout_s: float) -> int | None:
        """Wait for its end without an event loop; None when the time is over."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return self.reap() if poll.poll(timeout_s * 1000) else None

    def reap(self) -> int:
        """The status; blocks until it has ended."""
        if self.status is None:
            _, raw, self._usage = os.wait4(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(raw)
            if self._popen is not None:
                self._popen.returncode = self.status
        return self.status

    def close(self) -> None:
        """Kill it if need be, collect it and let go of all that belongs to it."""
        self.kill()
        self.reap()
        if self._output_fd >= 0:
            self._last_output = self.output
            os.close(self._output_fd)
            os.close(self._pidfd)
            self._output_fd = -1


def output_file() -> int:
    """A file for what a QEMU says, in memory: no pipe that could fill up, nothing that has to be read in time. It does
    not grow: a guest can have its devices complain for ever, and what is too much is lost to QEMU's own error."""
    fd = os.memfd_create("qemu-output", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, OUTPUT_BYTES)  # it takes memory only where it is written
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return fd


@cache
def empty_file() -> int:
    """An open file of ours with nothing in it, for all of our machines; it stays open."""
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def _small_pages() -> Iterator[None]:
    """What is started meanwhile has no huge pages.

    QEMU asks for them for the code that it translates (and for the guest's memory, where a clone has a file's pages),
    and each counts whole however little of it is used: 2 MB of a clone's own memory. A process inherits this through
    fork and exec, and it is no slower for it (docs/fleet.md).
    """
    libc = ctypes.CDLL(None)
    before = libc.prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_THP_DISABLE, max(before, 0), 0, 0, 0)
