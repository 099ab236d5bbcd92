"""A machine that stands still, is kept as it is, and goes on as the same one or as another.

Before the machine is stopped, init stops every program in it. So after it goes on, here or in a clone, no program has
run one instruction when init reads what the host has written meanwhile: the time, and in a clone who it is.

The time is told as what the wall clock is ahead of the guest's monotonic clock. That one stands still with the machine;
where it stood is known, and QEMU stamps the moment at which it goes on. So what is told is true however late the guest
gets to read it, on a host however busy.
"""

import asyncio
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from imagebuilder.errors import MachineError
from imagebuilder.machine.instance import Instance

PATIENCE_S = 30.0
ALIGNING = 8  # questions to a guest at rest, whose answers align its clock
CAPABILITIES = ("x-ignore-shared", "events")  # the memory stays where it is; tell how far you are
CHUNK_BYTES = 1 << 20
STATE = "state"
Command = tuple[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Parked:
    """A machine that stands still. ``guest_ns`` is its monotonic clock."""

    guest_ns: int


async def park(instance: Instance, *, detach: bool = False) -> Parked:
    """Stop the guest's programs, then the machine. ``detach``: it gives up its address and makes ready what its clones
    will need; it is to be kept as a template. Raises GuestFailed, MachineError."""
    if not instance.spec.incoming:  # of a clone, the clock is known exactly
        for _ in range(ALIGNING):
            await instance.guest_memory()
    for command in ("freeze", "detach") if detach else ("freeze",):
        done = instance.channel.done(command)
        instance.channel.send(command)
        await instance.outcome(done, "its programs stood still", timeout_s=PATIENCE_S)
    stopped = instance.next_event("STOP")
    await instance.execute("stop")
    event = await instance.outcome(stopped, "it stood still", timeout_s=PATIENCE_S)
    guest_ns = instance.channel.reports.clock.guest_ns(_monotonic_ns(event.wall_ns))
    if guest_ns is None:
        raise MachineError(f"{instance.spec.name}: its init never told its clock, so that no clone could know the time")
    return Parked(guest_ns)


async def go_on(instance: Instance, parked: Parked, *, words: Iterable[str] = (), signal: int = 0) -> None:
    """Let a machine that stands still go on; init first does what ``words`` say (docs/contracts.md), then lets the
    programs go on and sends ``signal`` (0: none) to the application. Does not wait for that."""
    await _going(instance, parked, (("cont", {}),), words, signal)


async def load_and_go_on(instance: Instance, parked: Parked, *, words: Iterable[str] = (), signal: int = 0) -> None:
    """``load`` and ``go_on`` without a pause between."""
    await _going(instance, parked, (*_loading(instance), ("cont", {})), words, signal)


async def _going(
    instance: Instance, parked: Parked, commands: Iterable[Command], words: Iterable[str], signal: int
) -> None:
    resumed = instance.next_event("RESUME")
    await _all(instance, commands)
    event = await instance.outcome(resumed, "it went on", timeout_s=PATIENCE_S)
    at_ns = _monotonic_ns(event.wall_ns)
    instance.went_on(at_ns)
    instance.channel.reports.clock.set(guest_ns=parked.guest_ns, host_ns=at_ns)
    clock = f"clock {event.wall_ns - parked.guest_ns}"
    instance.channel.send("\n".join((clock, *words, f"thaw {signal or ''}")))


async def save(instance: Instance) -> bytes:
    """The device state of a machine that stands still and whose memory is a file. Raises MachineError."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        await _all(instance, (_allow(),))
        await instance.send_fd(STATE, theirs.fileno())
        theirs.close()
        await instance.execute("migrate", uri=f"fd:{STATE}")
        reading = asyncio.create_task(_all_of(ours))
        return await instance.outcome(reading, "its state came", timeout_s=PATIENCE_S)


async def load(instance: Instance) -> None:
    """Take over the device state with which an ``incoming`` machine was started; it stands still afterwards. Raises
    GuestFailed when QEMU does not understand it, MachineError."""
    settled = instance.next_event("MIGRATION", status=("completed", "failed"))
    await _all(instance, _loading(instance))
    event = await instance.outcome(settled, "its state was read", timeout_s=PATIENCE_S)
    if event.data["status"] == "failed":
        raise MachineError(f"{instance.spec.name}: QEMU cannot take the state over: {instance.qemu_output.strip()}")


def _allow() -> Command:
    wanted = [{"capability": name, "state": True} for name in CAPABILITIES]
    return ("migrate-set-capabilities", {"capabilities": wanted})


def _loading(instance: Instance) -> tuple[Command, ...]:
    return (_allow(), ("migrate-incoming", {"uri": f"fd:{instance.state_fd}"}))


async def _all(instance: Instance, commands: Iterable[Command]) -> None:
    """Commands one after the other, without waiting for their answers in between. Raises MachineError."""
    await asyncio.gather(*(instance.execute(name, **arguments) for name, arguments in commands))


async def _all_of(source: socket.socket) -> bytes:
    parts = []
    while data := await asyncio.get_running_loop().sock_recv(source, CHUNK_BYTES):
        parts.append(data)
    return b"".join(parts)


def _monotonic_ns(wall_ns: int) -> int:
    """A recent moment of the host's wall clock on its monotonic one."""
    return wall_ns - (time.time_ns() - time.monotonic_ns())
