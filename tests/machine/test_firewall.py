"""The filter on what a guest with a way out sends, in the kernel of this host, without a machine."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.arch import MachineType
from imagebuilder.errors import MachineError
from imagebuilder.machine import firewall
from imagebuilder.machine.command_line import argv
from imagebuilder.machine.firewall import guarded
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.network import subnet
from imagebuilder.machine.spec import Accelerator, MachineSpec
from imagebuilder.machine.transport import Transport
from imagebuilder.recipe.values import Egress

SPEC = MachineSpec(MachineType.MICROVM, Accelerator.TCG, egress=Egress.FULL)
LAUNCHES = {"cold": COLD, "clone": Launch.cloned(Path("/t/memory"))}
SYN, ACK, RST, FIN = 0x02, 0x10, 0x04, 0x01
MORE_FRAGMENTS, LAST_FRAGMENT = 0x2000, 0x0001
LOOPBACK = ("127.0.0.1", "127.0.0.53", "127.255.255.255", "0.0.0.0", "0.1.2.3", "255.255.255.255")
METADATA = ("169.254.169.254", "169.254.0.1", "168.63.129.16", "100.100.100.200")
MANY = ("224.0.0.251", "239.1.2.3", "240.0.0.1", "255.255.255.254")
OUTSIDE = (
    "192.0.2.2",
    "10.0.3.2",
    "10.1.2.2",
    "9.9.9.9",
    "128.0.0.1",
    "126.255.255.255",
    "169.253.255.254",
    "223.1.1.1",
)


@pytest.fixture(params=LAUNCHES)
def launch(request: pytest.FixtureRequest) -> Launch:
    """A machine of which the network has one subnet, and one that has the other."""
    return LAUNCHES[request.param]


@pytest.mark.parametrize("options", [0, 4, 40])
def test_what_is_refused(launch: Launch, options: int) -> None:
    """TCP and UDP, with a header of any length, whole and in fragments: the loopback under each of its names."""
    own = subnet(launch)
    ours = [str(own.gateway), str(own.name_server), str(own.gateway + 75)]
    with wire(launch) as passes:
        for address in (*ours, *LOOPBACK, *METADATA, *MANY):
            for port in (22, 80, 8053):
                assert not passes(tcp(address, port, SYN, options)), address
                assert not passes(udp(address, port, options)), address
        for address in ours:
            for flags in (SYN | RST, SYN | FIN, SYN | 0xC0):
                assert not passes(tcp(address, 80, flags, options))
            for fragment in (MORE_FRAGMENTS, LAST_FRAGMENT, 0x1FFF):
                assert not passes(tcp(address, 80, ACK, options, fragment))
                assert not passes(udp(address, 53, options, fragment))
            assert not passes(ip(address, socket.IPPROTO_ICMP, b"\x08" + bytes(7), options))
        for address in (str(own.gateway), str(own.gateway + 75)):
            assert not passes(tcp(address, 53, SYN, options))
            assert not passes(udp(address, 53, options))
        assert not passes(udp(str(own.name_server), 67, options))


def test_nothing_but_ipv4_and_arp(launch: Launch) -> None:
    with wire(launch) as passes:
        for kind in (0x86DD, 0x8100, 0x88F8, 0x0000):
            assert not passes(ether(kind, bytes(60)))
        assert not passes(ether(0x0800, bytes(5)))
        assert not passes(b"\xff")
        assert passes(ether(0x0806, bytes(28)))


@pytest.mark.parametrize("options", [0, 40])
def test_what_passes(launch: Launch, options: int) -> None:
    """All else, answers to who came by a forwarded port, DHCP, and questions to the name server."""
    own = subnet(launch)
    with wire(launch) as passes:
        for address in OUTSIDE:
            assert passes(tcp(address, 80, SYN, options)), address
            assert passes(udp(address, 80, options)), address
            assert passes(udp(address, 80, options, MORE_FRAGMENTS)), address
            assert passes(ip(address, socket.IPPROTO_ICMP, b"\x08" + bytes(7), options)), address
        for flags in (SYN | ACK, ACK, FIN | ACK, RST, RST | ACK):
            assert passes(tcp(str(own.gateway), 50000, flags, options))
        assert passes(udp(str(own.gateway), 67, options))
        assert passes(udp("255.255.255.255", 67, options))
        assert passes(udp(str(own.name_server), 53, options))
        assert passes(tcp(str(own.name_server), 53, SYN, options))


def test_what_comes_back_is_not_looked_at(launch: Launch) -> None:
    guest, network = guarded(subnet(launch))
    with guest, network:
        network.send(tcp("127.0.0.1", 80, SYN))
        guest.setblocking(False)
        assert guest.recv(100) == tcp("127.0.0.1", 80, SYN)


def test_it_stays_on(launch: Launch) -> None:
    """Not even its owner takes it off."""
    guest, network = guarded(subnet(launch))
    with guest, network, pytest.raises(PermissionError):
        network.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER


def test_where_there_is_no_filter_there_is_no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "RETURN", 0xFFFF)  # an instruction that the kernel refuses
    with pytest.raises(MachineError, match="this host's loopback cannot be kept from a guest") as caught:
        Transport(SPEC)
    assert caught.value.hint == "--egress none starts it without a way out"
    Transport(replace(SPEC, egress=Egress.NONE)).close()


def test_a_machine_gets_it_with_its_way_out() -> None:
    with Transport(SPEC) as transport:
        words = argv(SPEC, wiring=transport.wiring)
        guest, network = transport.wiring.guest_fd, transport.wiring.network_fd
        assert {guest, network} <= set(transport.fds) and None not in transport.fds
    assert "user,id=net,ipv6=off" in words
    assert f"dgram,id=guarded,local.type=fd,local.str={guest}" in words
    assert f"dgram,id=wire,local.type=fd,local.str={network}" in words
    assert {"hubport,id=hub-net,hubid=0,netdev=net", "hubport,id=hub-wire,hubid=0,netdev=wire"} <= set(words)
    assert "virtio-net-device,netdev=guarded,status=off" in words
    for closed in (replace(SPEC, egress=Egress.NONE), replace(SPEC, network=False)):
        with Transport(closed) as transport:
            assert transport.wiring.guest_fd is None and len(transport.fds) == 3


@contextmanager
def wire(launch: Launch) -> Iterator[Callable[[bytes], bool]]:
    """Tells whether a frame of the guest comes to its network."""
    guest, network = guarded(subnet(launch))
    network.setblocking(False)

    def passes(frame: bytes) -> bool:
        assert guest.send(frame) == len(frame), "who sends is not told"
        try:
            return network.recv(1 << 16) == frame
        except BlockingIOError:
            return False

    with guest, network:
        yield passes


def ether(kind: int, content: bytes) -> bytes:
    """A frame."""
    return bytes.fromhex("525500000002 525400123456") + struct.pack("!H", kind) + content


def ip(address: str, protocol: int, content: bytes, options: int = 0, fragment: int = 0) -> bytes:
    """A frame with a packet of IPv4 (its checksum is nobody's matter here); ``options`` is the bytes of them."""
    total, words = 20 + options + len(content), 5 + options // 4
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, total, 1, fragment, 64, protocol, 0)
    addresses = socket.inet_aton("10.0.2.15") + socket.inet_aton(address)
    return ether(0x0800, head + addresses + b"\1" * options + content)


def tcp(address: str, port: int, flags: int, options: int = 0, fragment: int = 0) -> bytes:
    """A segment without content."""
    segment = struct.pack("!HHIIBBHHH", 4000, port, 1, 0, 0x50, flags, 65000, 0, 0)
    return ip(address, socket.IPPROTO_TCP, segment, options, fragment)


def udp(address: str, port: int, options: int = 0, fragment: int = 0) -> bytes:
    """A datagram."""
    return ip(address, socket.IPPROTO_UDP, struct.pack("!HHHH", 4000, port, 10, 0) + b"hi", options, fragment)
