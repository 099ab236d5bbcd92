"""What a guest with a way out may not meet all the same: this host's loopback, and a cloud's metadata.

QEMU's user network hands on to the host's 127.0.0.1 what a guest sends to its gateway, to 0.0.0.0, to 255.255.255.255
and to 127.0.0.1 itself (which needs a guest with raw sockets), and no option of QEMU refuses it. So the guest's frames
go through a pair of datagram sockets, and on the one that the user network reads is a filter of the host's kernel
(classic BPF, SO_ATTACH_FILTER: https://docs.kernel.org/networking/filter.html), which needs no right and no program.

The filter is pure: ``program`` gives it as instructions.
"""

import ctypes
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from imagebuilder.errors import MachineError

SO_ATTACH_FILTER, SO_LOCK_FILTER = 26, 44  # asm-generic/socket.h
# linux/bpf_common.h: load a word, half-word or byte of the frame at K, or at X + K; X is the length of a header at K.
LD, LDH, LDB, LDH_X, LDB_X, LDX_HEADER = 0x20, 0x28, 0x30, 0x48, 0x50, 0xB1
AND, JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x54, 0x15, 0x45, 0x06
# Where a frame of Ethernet has what (the last two behind the header of IPv4, whose length is X).
ETHER_TYPE, FRAGMENT, PROTOCOL, DESTINATION, IP_HEADER, PORT, TCP_FLAGS = 12, 20, 23, 30, 14, 16, 27
ARP, IPV4, TCP, UDP = 0x0806, 0x0800, 6, 17
IS_FRAGMENT, SYN_OR_ACK, SYN = 0x3FFF, 0x12, 0x02
DHCP_SERVER, DOMAIN = 67, 53
BROADCAST = IPv4Address("255.255.255.255")
# "This host", loopback, link-local (where most clouds have their metadata), what is no single host's (RFC 6890), and
# where Azure and Alibaba Cloud have theirs.
REFUSED = tuple(
    map(
        IPv4Network,
        ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "168.63.129.16/32", "100.100.100.200/32"),
    )
)


@dataclass(frozen=True, slots=True)
class Subnet:
    """QEMU's user network, as its guest sees it."""

    network: IPv4Network
    gateway: IPv4Address
    name_server: IPv4Address


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction; ``yes`` and ``no`` are the labels at which a jump goes on, "" is the next instruction."""

    code: int
    value: int
    yes: str = ""
    no: str = ""


def guarded(subnet: Subnet) -> tuple[socket.socket, socket.socket]:
    """The guest's end and the user network's end of a wire that carries what a guest may send, and all that comes back.
    Raises MachineError where this host's kernel takes no filter, OSError."""
    guest, network = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    instructions = program(subnet)
    buffer = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in instructions))
    try:
        network.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(instructions), ctypes.addressof(buffer))
        )
        network.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)
    except OSError as error:
        guest.close()
        network.close()
        raise MachineError(
            f"this host's loopback cannot be kept from a guest: its kernel takes no socket filter ({error.strerror})",
            hint="--egress none starts it without a way out",
        ) from error
    return guest, network


def program(subnet: Subnet) -> list[tuple[int, int, int, int]]:
    """The filter, as ``struct sock_filter``: code, how many instructions to skip if true, if false, and a value."""
    labels: dict[str, int] = {}
    steps: list[Step] = []
    for each in _steps(subnet):
        if isinstance(each, str):
            labels[each] = len(steps)
        else:
            steps.append(each)

    def skipped(number: int, label: str) -> int:
        return labels[label] - number - 1 if label else 0

    return [(each.code, skipped(at, each.yes), skipped(at, each.no), each.value) for at, each in enumerate(steps)]


def _steps(subnet: Subnet) -> Iterator[Step | str]:
    """The instructions, and labels before those that are jumped to."""
    yield Step(LDH, ETHER_TYPE)
    yield Step(JUMP_EQUAL, ARP, "pass")
    yield Step(JUMP_EQUAL, IPV4, "", "drop")
    yield Step(LD, DESTINATION)
    yield Step(JUMP_EQUAL, int(BROADCAST), "own")
    for network, then in ((subnet.network, "own"), *((each, "drop") for each in REFUSED)):
        yield Step(LD, DESTINATION)
        yield Step(AND, int(network.netmask))
        yield Step(JUMP_EQUAL, int(network.network_address), then)
    yield Step(RETURN, 0xFFFFFFFF)
    yield from _own(subnet)
    yield "pass"
    yield Step(RETURN, 0xFFFFFFFF)
    yield "drop"
    yield Step(RETURN, 0)


def _own(subnet: Subnet) -> Iterator[Step | str]:
    """Of the user network itself: DHCP, the name server's one port, and answers to those who came by a forwarded port.

    A fragment could hide its port, or bring the flags of a connection later.
    """
    yield "own"
    yield Step(LDH, FRAGMENT)
    yield Step(JUMP_ANY_BIT, IS_FRAGMENT, "drop")
    yield Step(LDX_HEADER, IP_HEADER)
    yield Step(LDB, PROTOCOL)
    yield Step(JUMP_EQUAL, TCP, "tcp")
    yield Step(JUMP_EQUAL, UDP, "", "drop")
    yield Step(LDH_X, PORT)
    yield Step(JUMP_EQUAL, DHCP_SERVER, "", "name server")
    yield Step(LD, DESTINATION)
    yield Step(JUMP_EQUAL, int(BROADCAST), "pass")
    yield Step(JUMP_EQUAL, int(subnet.gateway), "pass", "drop")
    yield "tcp"
    yield Step(LDB_X, TCP_FLAGS)
    yield Step(AND, SYN_OR_ACK)
    yield Step(JUMP_EQUAL, SYN, "", "pass")  # what opens no connection
    yield "name server"
    yield Step(LDH_X, PORT)
    yield Step(JUMP_EQUAL, DOMAIN, "", "drop")
    yield Step(LD, DESTINATION)
    yield Step(JUMP_EQUAL, int(subnet.name_server), "pass", "drop")
