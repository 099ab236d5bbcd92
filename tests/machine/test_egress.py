"""A guest is not trusted: what it can reach, in QEMU; cold, as a clone, and as a copy of one that runs."""

import asyncio
import ctypes
import fcntl
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import pytest

from imagebuilder.arch import MachineType
from imagebuilder.build.walk import build
from imagebuilder.bundle import Bundle
from imagebuilder.errors import InputError
from imagebuilder.events import silent
from imagebuilder.machine import template as templates
from imagebuilder.machine.clone import clone
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.forkserver import started
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.network import gateway
from imagebuilder.machine.spec import PROGRAM, Accelerator, MachineSpec, spec_of
from imagebuilder.machine.template import Wanted
from imagebuilder.machine.template_create import create
from imagebuilder.recipe.load import load
from imagebuilder.recipe.values import Egress
from imagebuilder.store import Store

from .clones import PATIENCE_S

HERE = Path(__file__).parent
METADATA = "169.254.169.254"  # where clouds tell a machine its secrets
OUTSIDE = "192.0.2.77"  # of the host too, but not its loopback (RFC 5737)
CLONE_NEWNET, SIOCSIFADDR, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8916, 0x8914, 1  # linux/sched.h, sockios.h, if.h
NEEDS_ROOT = "only root can have a network of its own"
T = TypeVar("T")
SPEC = MachineSpec(MachineType.MICROVM, Accelerator.TCG)


def test_without_being_asked_for_there_is_no_way_out() -> None:
    assert "user,id=net,restrict=on,ipv6=off" in argv(SPEC, wiring=None)
    assert "user,id=net,ipv6=off" in argv(replace(SPEC, egress=Egress.FULL), wiring=None)


@pytest.mark.tools
@pytest.mark.parametrize("egress", Egress)
def test_the_hosts_loopback_is_not_reached_by_ipv6(egress: Egress) -> None:
    """As fec0::2, QEMU's name for ::1; where IPv6 is on it is, and that is how we know that this test asks right."""
    (ours,) = (word for word in argv(replace(SPEC, egress=egress), wiring=None) if word.startswith("user,"))
    assert not hears_by_ipv6(ours)
    assert hears_by_ipv6("user,id=net")


def test_a_guest_without_a_way_out_is_told_of_no_name_server() -> None:
    """It would wait ten seconds for each name."""
    booting = replace(SPEC, kernel=Path("/kernel"))
    closed, opened = (" ".join(argv(replace(booting, egress=each), wiring=None)).split() for each in Egress)
    assert "ib.ip=10.0.2.15/24,10.0.2.2" in closed
    assert "ib.ip=10.0.2.15/24,10.0.2.2,10.0.2.3" in opened


@pytest.fixture(scope="module")
def reach(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The image that tells what it reaches."""
    return build(load(str(HERE / "reach")), tmp_path_factory.mktemp("out"), store=store, say=silent)


@pytest.mark.vm
@pytest.mark.parametrize("egress", Egress)
def test_what_a_guest_reaches(reach: Bundle, store: Store, egress: Egress) -> None:
    """The host's loopback and the address of a cloud's metadata, which no guest does, and another address of the host,
    in a network that is this test's alone."""
    told = in_a_network_of_its_own(lambda: asyncio.run(told_by_all(reach, store, egress)))
    # By default the reset comes from QEMU, at once; nothing comes back for a datagram, nor from behind the filter.
    refused = "Connection refused" if egress is Egress.NONE else "Operation now in progress"
    nothing = {"tcp": f"nothing: {refused}", "udp": "nothing: Resource temporarily unavailable"}
    for who, what, said in told:
        kind, address, _ = what.split()
        wanted = "heard the host" if address == OUTSIDE and egress is Egress.FULL else nothing[kind]
        assert said == wanted, f"{who}: {what}"
    assert len(told) == 3 * 5


@pytest.mark.vm
def test_a_template_is_of_one_egress(reach: Bundle, store: Store) -> None:
    closed, opened = (Wanted.of(reach, Accelerator.TCG, egress=each).circumstances for each in Egress)
    assert closed.key != opened.key
    assert Wanted.of(reach, Accelerator.TCG).circumstances == closed


@pytest.mark.tools
def test_a_way_out_without_a_network(reach: Bundle) -> None:
    image = reach.image.model_copy(update={"boot": reach.image.boot.model_copy(update={"network": False})})
    with pytest.raises(InputError, match="a way out was asked for, and its machine has no network"):
        spec_of(Bundle(reach.folder, image), accelerator=Accelerator.TCG, egress=Egress.FULL)


def hears_by_ipv6(backend: str) -> bool:
    """Whether a datagram to fec0::2, sent into QEMU's network as a guest would send it, comes to the host's ::1."""
    host, (wire, theirs) = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM), socket.socketpair()
    host.bind(("::1", 0))
    host.settimeout(0.1)
    ends = (backend, "hubport,id=a,hubid=0,netdev=net", f"socket,id=wire,fd={theirs.fileno()}")
    hub = [word for end in (*ends, "hubport,id=b,hubid=0,netdev=wire") for word in ("-netdev", end)]
    words = [PROGRAM, "-M", "none", "-nodefaults", "-display", "none", *hub]
    frame = datagram(host.getsockname()[1])
    with host, wire, theirs, subprocess.Popen(words, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL) as qemu:
        try:
            for _ in range(20):
                wire.send(struct.pack("!I", len(frame)) + frame)
                with suppress(TimeoutError):
                    return host.recv(100) == b"from the guest"
        finally:
            qemu.kill()
    return False


def datagram(port: int) -> bytes:
    """One of UDP over IPv6 over Ethernet (RFC 768, 8200) for fec0::2, from a guest."""
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, each) for each in ("fec0::15", "fec0::2"))
    said = b"from the guest"
    head = struct.pack("!HHH", 4000, port, 8 + len(said))
    covered = addresses + struct.pack("!I3xB", 8 + len(said), socket.IPPROTO_UDP) + head + b"\0\0" + said
    total = sum(struct.unpack(f"!{len(covered) // 2}H", covered))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    around = struct.pack("!IHBB", 0x60000000, 8 + len(said), socket.IPPROTO_UDP, 64) + addresses
    return bytes.fromhex("525600000002 525400123456 86dd") + around + head + struct.pack("!H", checksum) + said


async def told_by_all(image: Bundle, store: Store, egress: Egress) -> list[tuple[str, str, str]]:
    """What a cold start, a clone and a copy tell: who, what was to be reached, what came of it."""
    wanted = Wanted.of(image, Accelerator.TCG, egress=egress)
    async with AsyncExitStack() as stack:
        addresses = ("127.0.0.1", METADATA, OUTSIDE)
        own, other, far = [await stack.enter_async_context(listening(each)) for each in addresses]
        template = await create(wanted, store)
        stack.callback(templates.remove, template.folder)
        cold = await stack.enter_async_context(Instance.start(wanted.source))
        one = await stack.enter_async_context(clone(template))
        server = await stack.enter_async_context(started(template))
        copy = await stack.enter_async_context(server.clone())
        told = []
        for name, machine in {"cold": cold, "clone": one, "copy": copy}.items():
            await machine.wait_ready(image.ready, PATIENCE_S)
            host = gateway(machine.launch)
            whom = (f"{host} {own}", f"{OUTSIDE} {far}")
            for what in (*(f"{kind} {each}" for kind in ("tcp", "udp") for each in whom), f"tcp {METADATA} {other}"):
                told.append((name, what, await ask(machine, what)))
        return told


async def ask(instance: Instance, words: str) -> str:
    """By the forwarded port, which answers whatever the guest may."""
    reader, writer = await asyncio.open_connection("127.0.0.1", instance.host_port(7000))
    writer.write(f"{words}\n".encode())
    said, end = (await asyncio.wait_for(reader.read(), PATIENCE_S)).decode().splitlines()
    writer.close()
    assert end == "end"
    return said


@asynccontextmanager
async def listening(address: str) -> AsyncIterator[int]:
    """Somebody of this host whom a guest must not meet: a port of TCP, and of UDP, at which he says who he is."""

    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"the host")
        writer.close()

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(b"the host", addr)

    async with await asyncio.start_server(answer, address, 0) as server:
        port = server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(address, port))
        yield port
        transport.close()


def in_a_network_of_its_own(work: Callable[[], T]) -> T:
    """Do it in a thread, and in a network in which there is nothing but a loopback with the addresses of this test."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: work() if _left_the_network() else pytest.skip(NEEDS_ROOT)).result()


def _left_the_network() -> bool:
    if ctypes.CDLL(None).unshare(CLONE_NEWNET):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name, address in (("lo", "127.0.0.1"), ("lo:1", METADATA), ("lo:2", OUTSIDE)):
            packed = socket.inet_aton(address)
            fcntl.ioctl(control, SIOCSIFADDR, struct.pack("16sHH4s16x", name.encode(), socket.AF_INET, 0, packed))
            fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), IFF_UP))
    return True
