"""An application that wants out of its guest, as root: with no capability, as by default, and with all of them."""

import asyncio
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.build.walk import build
from imagebuilder.bundle import Bundle
from imagebuilder.errors import NotReady
from imagebuilder.events import silent
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.recipe.values import Capability
from imagebuilder.store import Store

from .guest_boot import NEEDS

pytestmark = NEEDS

HERE = Path(__file__).parent
SECONDS = 20
LONG = 30 * SECONDS
MOST_BYTES = 100 << 20
MEMORY_MIB = 32
DISK_MIB = 1
END_S = 120.0
RECIPE = """
name = "hostile"
version = "1"
summary = "wants out"
source = {{ type = "files", files = ["hostile"], mode = "0755" }}
application = {{ command = "/hostile", arguments = [{ports}], user = "root", capabilities = [{granted}] }}
ready = {{ console = "this is never said" }}
machine = {{ memory_mib = {memory}, ports = [7000], disks = [{{ size_mib = {disk} }}] }}
"""
# Of what is tried the rest must fail. The console and the scratch disk are the application's own.
ITS_OWN = {"/dev/vda"}


@dataclass
class Listeners:
    """Somebody of this host, at its loopback: a port of TCP and of UDP; and whoever came."""

    ports: tuple[int, int] = (0, 0)
    came: list[str] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listeners]:
    """Until the end of the block."""
    found = Listeners()
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        found.ports = (tcp.getsockname()[1], udp.getsockname()[1])
        threads = [threading.Thread(target=_note, args=(each, found)) for each in (tcp, udp)]
        for thread in threads:
            thread.start()
        try:
            yield found
        finally:
            for each in (tcp, udp):
                each.shutdown(socket.SHUT_RDWR) if each is tcp else each.sendto(b"", each.getsockname())
            for thread in threads:
                thread.join()


def _note(server: socket.socket, found: Listeners) -> None:
    while True:
        try:
            data = server.recv(64) if server.type is socket.SOCK_DGRAM else server.accept()[0].recv(64)
        except OSError:
            return
        if server.type is socket.SOCK_DGRAM and not data:
            return
        found.came.append(f"{server.type.name}: {data!r}")


@dataclass
class Peak:
    """The most memory that a process had, and at the beginning; in bytes."""

    pid: int
    first: int = 0
    most: int = 0

    def look(self) -> None:
        """Look once more."""
        now = resident_bytes(self.pid)
        self.first = self.first or now
        self.most = max(self.most, now)


def resident_bytes(pid: int) -> int:
    """The resident memory of a process (proc(5), VmRSS)."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) << 10 if found else 0


def image(folder: Path, ports: tuple[int, int], granted: tuple[Capability, ...]) -> Bundle:
    """The image of this application."""
    recipe = folder / "hostile"
    recipe.mkdir()
    process.run(["gcc", "-static", "-O1", "-s", "-o", recipe / "hostile", HERE / "hostile.c"])
    words = {"ports": ", ".join(f'"{port}"' for port in ports), "granted": ", ".join(f'"{each}"' for each in granted)}
    (recipe / "recipe.toml").write_text(RECIPE.format(**words, memory=MEMORY_MIB, disk=DISK_MIB))
    return build(load(str(recipe)), folder / "out", store=Store(folder / "cache"), say=silent)


def files(folder: Path) -> dict[str, int]:
    """Every file below, and its size."""
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "seconds", [SECONDS, pytest.param(LONG, marks=[pytest.mark.slow, pytest.mark.timeout(2 * LONG)])]
)
@pytest.mark.parametrize("granted", [(), tuple(Capability)], ids=["none", "all"])
async def test_an_application_that_wants_out(tmp_path: Path, granted: tuple[Capability, ...], seconds: int) -> None:
    with listening() as host:
        bundle = image(tmp_path, host.ports, granted)
        before = files(tmp_path)
        ours, qemu, console = await attacked(bundle, seconds)
    ours_mib, qemu_mib = ((each.most - each.first) / (1 << 20) for each in (ours, qemu))
    print(f"{seconds} s: our process grew by {ours_mib:.1f} MiB, QEMU by {qemu_mib:.1f} MiB", flush=True)
    tried = dict(line.rsplit(": ", 1) for line in console.partition("that was all")[0].splitlines() if ": " in line)
    assert len(tried) > 20, console[:2000]
    if not granted:
        assert {what for what, came in tried.items() if came == "WORKS"} <= ITS_OWN
    assert {what for what, came in tried.items() if came == "WORKS" and what.startswith(("tcp", "udp"))} == set()
    assert host.came == []
    assert files(tmp_path) == before
    assert ours.most - ours.first < MOST_BYTES
    assert qemu.most - qemu.first < MOST_BYTES


async def attacked(bundle: Bundle, seconds: int) -> tuple[Peak, Peak, str]:
    """Boot it and leave it to itself for so long; it never gets ready, and is ended. What we and QEMU took meanwhile,
    and the console."""
    spec = spec_of(bundle, accelerator=Accelerator.TCG)
    ready = bundle.ready
    async with Instance.start(spec) as instance:
        await instance.wait_started(300)
        ours, qemu = Peak(os.getpid()), Peak(instance.pid)
        limit = asyncio.create_task(instance.wait_ready(ready, seconds))
        while not limit.done():
            ours.look()
            qemu.look()
            await asyncio.sleep(0.1)
        with pytest.raises(NotReady, match=f"not ready within {seconds} s"):
            limit.result()
        begun_s, pid = time.monotonic(), instance.pid
        await instance.terminate(grace_s=5)
    assert time.monotonic() - begun_s < END_S
    assert not Path(f"/proc/{pid}").exists()
    return ours, qemu, instance.console
