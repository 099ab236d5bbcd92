"""Whatever happens, no process, no file and no descriptor is left; also when this process is killed."""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagebuilder.errors import GuestFailed, NotReady
from imagebuilder.machine.child import Child, empty_file
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.ending import How
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.ports import with_ports
from imagebuilder.machine.spec import Disk, Forward, MachineSpec
from imagebuilder.recipe.model import Http, Ready

from .machines import Make

WEB = Ready(http=Http(port=80), timeout_s=120)
WAITING = Ready(console="waiting", timeout_s=120)
Orphans = Callable[[], list[int]]
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
GONE_S = 30  # for the host's kernel to take a killed process away; nobody waits so long when all is well


def processes(token: str) -> list[int]:
    """Processes with the token in their environment, besides ourselves. A child has its parent's before it has its own
    command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "environ").read_bytes()
        except OSError:
            continue
        if token.encode() in words and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def descriptors() -> int:
    """How many files we have open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def orphans() -> Iterator[Orphans]:
    """What a process leaves behind becomes our child. Calling it gives those that do not end by themselves."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    mine = set(children())

    def remaining() -> list[int]:
        return [pid for pid in children() if pid not in mine and not ends(pid)]

    yield remaining
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def children() -> list[int]:
    """Our children, the dead that nobody asked for included."""
    lists = Path("/proc/self/task").glob("*/children")
    return [int(word) for each in lists for word in each.read_text().split()]


def ends(pid: int) -> bool:
    """Whether a child of ours ends by itself, at once or soon."""
    until = time.monotonic() + GONE_S
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A name for the machine; afterwards nothing with that name runs, and neither a file nor a descriptor is left."""
    name = f"left-{os.getpid()}-{time.monotonic_ns()}"
    temporary = tmp_path / name
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    empty_file()  # the one that all machines share stays open
    before = descriptors()
    yield name
    assert processes(name) == []
    # Python tries a folder with a file of its own before it uses it; whoever is killed just then leaves these bytes.
    assert [path for path in temporary.iterdir() if path.stat().st_size > len(b"blat")] == []
    assert descriptors() <= before


@pytest.fixture
def spec(make: Make, token: str) -> MachineSpec:
    """A machine with everything that could be left."""
    return make("wait", name=token, disks=(Disk(size_mib=8),), forwards=(Forward(None, 80),))


pytestmark = pytest.mark.vm


async def test_after_an_exception(spec: MachineSpec, token: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Instance.start(spec) as instance:
            assert processes(token) == [instance.pid]
            raise ZeroDivisionError


@pytest.mark.parametrize("after_ms", [0, 1, 3, 10, 30, 100, 300])
async def test_when_cancelled_while_it_starts(spec: MachineSpec, after_ms: int) -> None:
    async def start() -> None:
        async with Instance.start(spec) as instance:
            await instance.wait_ready(WEB)

    task = asyncio.create_task(start())
    await asyncio.sleep(after_ms / 1000)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_when_cancelled_twice(spec: MachineSpec) -> None:
    async def start() -> None:
        async with Instance.start(spec):
            await asyncio.Event().wait()

    task = asyncio.create_task(start())
    await asyncio.sleep(0.2)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_a_time_out(spec: MachineSpec) -> None:
    with pytest.raises(NotReady):
        async with Instance.start(spec) as instance:
            await instance.wait_ready(WEB, timeout_s=0.5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), Instance.start(spec) as instance:
            await instance.wait_exit()


async def test_when_qemu_is_killed(spec: MachineSpec) -> None:
    async with Instance.start(spec) as instance:
        await instance.wait_ready(WAITING)
        probing = asyncio.create_task(instance.wait_ready(WEB))
        await asyncio.sleep(0.1)
        os.kill(instance.pid, signal.SIGKILL)
        with pytest.raises(GuestFailed, match="QEMU was ended by SIGKILL before it was ready"):
            await probing
        found = await instance.wait_exit()
        assert (found.how, found.ok) == (How.QEMU, False)
        assert (await instance.terminate()) == found


async def test_when_it_ends_by_itself_at_once(make: Make, token: str) -> None:
    for _ in range(3):
        async with Instance.start(make("exit=0", name=token)) as instance:
            assert (await instance.wait_exit()).ok


async def test_a_guest_that_is_killed_in_a_flood(make: Make, token: str) -> None:
    async with Instance.start(make(f"flood={1 << 20}", name=token)) as instance:
        await instance.wait_ready(Ready(console="xxxx", timeout_s=120))
        await asyncio.sleep(0.5)
        instance.kill()
        assert (await instance.wait_exit()).how is How.STOPPED


# Another process starts it, and ends in all the ways that a process can end

PARENT = """
import asyncio, pickle, sys
from imagebuilder.machine.instance import Instance
spec = pickle.loads(bytes.fromhex(sys.stdin.readline()))

async def main():
    print("begin", flush=True)
    async with Instance.start(spec):
        print("started", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def parent_that_gets(number: int, spec: MachineSpec, *, at: str, after_s: float = 0) -> int:
    """Let another process start the machine and send it a signal after it said ``at``; returns how that ended."""
    import pickle

    pipe, folder = asyncio.subprocess.PIPE, Path(__file__).parents[2]
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, cwd=folder
    )
    assert parent.stdin is not None and parent.stdout is not None
    parent.stdin.write(pickle.dumps(spec).hex().encode() + b"\n")
    while at.encode() not in (await parent.stdout.readline()):
        assert not parent.stdout.at_eof()
    await asyncio.sleep(after_s)
    parent.send_signal(number)
    status = await parent.wait()
    await parent.communicate()
    return status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_when_its_parent_ends(spec: MachineSpec, orphans: Orphans, number: int) -> None:
    assert await parent_that_gets(number, spec, at="started") != 0
    assert orphans() == []


@pytest.mark.parametrize("after_ms", [*range(12), 16, 32])
async def test_when_its_parent_is_killed_while_it_starts(spec: MachineSpec, orphans: Orphans, after_ms: int) -> None:
    await parent_that_gets(signal.SIGKILL, spec, at="begin", after_s=after_ms / 1000)
    assert orphans() == []


@pytest.mark.parametrize("end", [Child.kill, Child.close])
def test_a_child_can_be_ended_twice(spec: MachineSpec, end: Callable[[Child], None]) -> None:
    child = Child.spawn([*argv(with_ports(spec), wiring=None), "-S"])
    assert child.wait_for(0) is None
    end(child)
    end(child)
    child.close()
    assert child.status == -signal.SIGKILL
