"""Free TCP ports of 127.0.0.1."""

import socket
from contextlib import ExitStack
from dataclasses import replace

from imagebuilder.machine.spec import LOOPBACK, Forward, MachineSpec


def free_ports(count: int) -> tuple[int, ...]:
    """So many different ports that are free now. They may be taken by the time they are used: then choose again."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return tuple(each.getsockname()[1] for each in sockets)


def with_ports(spec: MachineSpec) -> MachineSpec:
    """The machine with a free host port for every forward that has none yet."""
    free = iter(free_ports(sum(forward.host_port is None for forward in spec.forwards)))
    chosen = (
        forward if forward.host_port is not None else Forward(next(free), forward.guest_port)
        for forward in spec.forwards
    )
    return replace(spec, forwards=tuple(chosen))
