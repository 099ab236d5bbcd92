"""What a copy of a process has of its eventfds, while the process itself goes on."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuilder.machine.forkserver.control import Control

from .clones import PATIENCE_S

COPIES = 20
HERE = Path(__file__).parent


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The library asks for that name."""
    made = tmp_path / "qemu-system-counters"
    subprocess.run(["gcc", "-O1", "-pthread", "-o", made, HERE / "counters.c"], check=True)
    return made


@pytest.fixture
def counting(program: Path) -> Iterator["Counting"]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE_S)
    with ours, theirs, Control() as control:
        environment, fds = {**os.environ, **control.environment}, (*control.fds, theirs.fileno())
        with subprocess.Popen([program, str(theirs.fileno())], env=environment, pass_fds=fds) as process:
            try:
                assert ours.recv(1)
                yield Counting(control, process.pid, theirs.fileno())
            finally:
                process.kill()


@dataclass(frozen=True)
class Counting:
    """The program, which says through ``fd`` whether what it counted was kept."""

    control: Control
    pid: int
    fd: int

    async def copied(self) -> list[bytes]:
        """What each copy says first."""
        await self.control.greeted(self.pid)
        return [await self.first_word() for _ in range(COPIES)]

    async def first_word(self) -> bytes:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE_S)
        with closing(ours):
            with closing(theirs):
                pid = await self.control.copy({self.fd: theirs.fileno()})
            try:
                return await asyncio.to_thread(ours.recv, 1)
            finally:
                os.kill(pid, signal.SIGKILL)
                await asyncio.to_thread(os.waitpid, pid, 0)


@pytest.mark.tools
def test_what_was_counted_is_not_taken_by_the_process_that_was_copied(counting: Counting) -> None:
    assert asyncio.run(counting.copied()) == [b"k"] * COPIES
