"""The network that QEMU gives a machine: its addresses, and what they are in a template and its clones."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from imagebuilder.machine.firewall import Subnet
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.spec import LOOPBACK, Forward, MachineSpec
from imagebuilder.recipe.values import Egress

# The guest's address, its gateway and its name server in QEMU's user network (QEMU: "Network emulation").
ADDRESS, GATEWAY_ADDRESS, NAME_SERVER_ADDRESS = "10.0.2.15/24", "10.0.2.2", "10.0.2.3"
# A template and its clones: room for an address that no other clone on this host has at the time, and gateway and name
# server are the same for all. 100.64.0.0/10 is set aside for addresses inside one provider's network (RFC 6598).
NETWORK = "net"  # the name of the network backend
CLONES_NETWORK = IPv4Network("100.64.0.0/10")
GATEWAY, NAME_SERVER, FIRST_GUEST = 2, 3, 15  # QEMU is given these: in so large a network its defaults would differ


def forwarding(spec: MachineSpec, launch: Launch = COLD) -> Iterator[str]:
    """The forwards of a machine, as QEMU's monitor takes them while it runs (``hostfwd_add``)."""
    address = guest_address(spec, launch) if launch.memory_file else ""
    yield from (f"{NETWORK} {rule(forward, address)}" for forward in spec.forwards)


def rule(forward: Forward, address: str) -> str:
    """How a forward to a guest's address is written in QEMU's options; its host port must have been chosen."""
    assert forward.host_port is not None, "choose the host ports first"
    return f"tcp:{LOOPBACK}:{forward.host_port}-{address}:{forward.guest_port}"


def address_words(spec: MachineSpec, launch: Launch = COLD) -> str:
    """The guest's address and gateway, as ``ib.ip=`` has them."""
    own = ADDRESS if launch.memory_file is None else f"{guest_address(spec, launch)}/{CLONES_NETWORK.prefixlen}"
    return f"{own},{gateway(launch)}"


def gateway(launch: Launch = COLD) -> str:
    """The address under which QEMU's user network hands on to this host's loopback."""
    return GATEWAY_ADDRESS if launch.memory_file is None else str(CLONES_NETWORK[GATEWAY])


def subnet(launch: Launch = COLD) -> Subnet:
    """QEMU's user network, as this machine sees it."""
    network = IPv4Interface(ADDRESS).network if launch.memory_file is None else CLONES_NETWORK
    return Subnet(network, IPv4Address(gateway(launch)), IPv4Address(name_server(launch)))


def network_words(spec: MachineSpec, launch: Launch) -> str:
    """The same and the name server; a guest without a way out gets none, so that it does not wait for answers."""
    return address_words(spec, launch) + (f",{name_server(launch)}" if spec.egress is Egress.FULL else "")


def name_server(launch: Launch) -> str:
    """The address at which QEMU's user network answers for names."""
    return NAME_SERVER_ADDRESS if launch.memory_file is None else str(CLONES_NETWORK[NAME_SERVER])


def guest_address(spec: MachineSpec, launch: Launch) -> str:
    """A clone is numbered by its first host port, which no other process has at the time. One without ports cannot be
    reached, and has its template's address."""
    number = next((forward.host_port or 0 for forward in spec.forwards), 0) if launch.incoming else 0
    return str(CLONES_NETWORK[(number << 6) + FIRST_GUEST])
