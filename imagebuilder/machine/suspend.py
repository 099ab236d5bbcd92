"""A machine that stands still, is kept as it is, and goes on as the same one or as another.

Before the machine is stopped, init stops every program in it. So after it goes on, here or in a clone, no program has
run one instruction when init reads what the host has written meanwhile: the time, and in a clone who it is.

The time is sent as what the wall clock is ahead of the guest's monotonic clock. That one stands still with the machine;
where it stood is known, and QEMU stamps the moment at which it goes on. So what is sent is right however late the guest
gets to read it. On a busy host QEMU itself may be kept from its work just when it stamps: between asking it to stop and
its stamp, or between its stamp and its answer that it goes on. Where that took long, init is asked for its clock first,
while the programs still stand.
"""

import asyncio
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from imagebuilder.errors import MachineError
from imagebuilder.machine.counting import at_rest
from imagebuilder.machine.ending import reason
from imagebuilder.machine.instance import Instance

PATIENCE_S = 30.0
LAST_WORDS_S = 1.0
LOOKS = 3
ALIGNING = 8  # questions to a guest at rest, whose answers align its clock
UNSURE_NS = 4_000_000  # a clock that may be off by more is looked at before the programs see it
CAPABILITIES = ("x-ignore-shared", "events")  # the memory stays where it is; tell how far you are
CHUNK_BYTES = 1 << 20
STATE = "state"
Command = tuple[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Parked:
    """A machine that stands still. ``guest_ns`` is its monotonic clock, or less by up to ``unsure_ns``."""

    guest_ns: int
    unsure_ns: int = 0


async def rest(instance: Instance, *, looks: int, look_s: float, most_looks: int) -> None:
    """Wait until so many looks in a row find it at rest, so that nothing of its last connection is left to do; one that
    never rests is left after ``most_looks``. Raises MachineError."""
    resting = 0
    for _ in range(most_looks):
        resting = resting + 1 if await at_rest(instance.monitor) else 0
        if resting == looks:
            return
        await asyncio.sleep(look_s)


async def park(instance: Instance, *, detach: bool = False) -> Parked:
    """Stop the guest's programs, then the machine. ``detach``: it gives up its address and makes ready what its clones
    will need; it is to be kept as a template. Raises GuestFailed, MachineError."""
    if not instance.launch.incoming:  # of a clone, the clock is known exactly
        for _ in range(ALIGNING):
            await instance.guest_memory()
    for command in ("freeze", "detach") if detach else ("freeze",):
        done = instance.channel.done(command)
        instance.channel.send(command)
        await instance.outcome(done, "its programs stood still", timeout_s=PATIENCE_S)
    stopped, asked_ns = instance.monitor.next_event("STOP"), time.time_ns()
    await instance.monitor.execute("stop")
    event = await instance.outcome(stopped, "it stood still", timeout_s=PATIENCE_S)
    guest_ns = instance.channel.reports.clock.guest_ns(event.wall_ns - _wall_ahead_ns())
    if guest_ns is None:
        raise MachineError(
            f"{instance.spec.name}: its init has not reported its clock, so clones would not know the time"
        )
    return Parked(guest_ns, max(event.wall_ns - asked_ns, 0))


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
    resumed = instance.monitor.next_event("RESUME")
    try:
        await _all(instance, commands)
    except MachineError:
        await instance.outcome(resumed, "it went on", timeout_s=LAST_WORDS_S)  # why it ended says more
        raise
    event = await instance.outcome(resumed, "it went on", timeout_s=PATIENCE_S)
    unsure_ns, ahead_ns = parked.unsure_ns + time.time_ns() - event.wall_ns, _wall_ahead_ns()
    at_ns, clock = event.wall_ns - ahead_ns, instance.channel.reports.clock
    instance.resumed_ns = at_ns
    clock.set(guest_ns=parked.guest_ns, host_ns=at_ns)
    if unsure_ns > UNSURE_NS:
        await _look(instance)
    ahead_of_guest_ns = (clock.offset_ns or 0) + ahead_ns
    instance.channel.send("\n".join((f"clock {ahead_of_guest_ns}", *words, f"thaw {signal or ''}")))


async def _look(instance: Instance) -> None:
    """Ask init, whose programs stand still, until its clock is known well enough. What it says comes late and never
    early: of many answers the quickest is near the truth."""
    clock = instance.channel.reports.clock
    for _ in range(ALIGNING):
        done = instance.channel.done("freeze")
        instance.channel.send("freeze")
        await instance.outcome(done, "its init answered", timeout_s=PATIENCE_S)
        if clock.doubt_ns is not None and clock.doubt_ns <= UNSURE_NS:
            return
    clock.offset_ns = clock.bound_ns


async def save(instance: Instance) -> bytes:
    """The device state of a machine that stands still and whose memory is a file. Raises MachineError."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        await _all(instance, (_allow(),))
        await instance.monitor.send_fd(STATE, theirs.fileno())
        theirs.close()
        await instance.monitor.execute("migrate", uri=f"fd:{STATE}")
        reading = asyncio.create_task(_all_of(ours))
        return await instance.outcome(reading, "its state came", timeout_s=PATIENCE_S)


async def load(instance: Instance) -> None:
    """Take over the device state with which an ``incoming`` machine was started; it stands still afterwards. Raises
    GuestFailed when QEMU does not understand it, MachineError."""
    settled = instance.monitor.next_event("MIGRATION", status=("completed", "failed"))
    await _all(instance, _loading(instance))
    event = await instance.outcome(settled, "its state was read", timeout_s=PATIENCE_S)
    if event.data["status"] == "failed":
        raise MachineError(
            f"{instance.spec.name}: QEMU cannot load the state of its template: {reason(instance.qemu_output)}"
        )


def _allow() -> Command:
    wanted = [{"capability": name, "state": True} for name in CAPABILITIES]
    return ("migrate-set-capabilities", {"capabilities": wanted})


def _loading(instance: Instance) -> tuple[Command, ...]:
    return (_allow(), ("migrate-incoming", {"uri": f"fd:{instance.wiring.state_fd}"}))


async def _all(instance: Instance, commands: Iterable[Command]) -> None:
    """Commands one after the other, without waiting for their answers in between. Raises MachineError."""
    await asyncio.gather(*(instance.monitor.execute(name, **arguments) for name, arguments in commands))


async def _all_of(source: socket.socket) -> bytes:
    parts = []
    while data := await asyncio.get_running_loop().sock_recv(source, CHUNK_BYTES):
        parts.append(data)
    return b"".join(parts)


def _wall_ahead_ns() -> int:
    """What the host's wall clock is ahead of its monotonic one, of several looks the one that nothing came between."""
    looks = []
    for _ in range(LOOKS):
        begin_ns, wall_ns, end_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        looks.append((end_ns - begin_ns, wall_ns - begin_ns))
    return min(looks)[1]
