"""Counting the guest's instructions from power-on to ready: the figure of a start that a busy host does not disturb.

QEMU counts them (``-icount``), with the guest's clock tied to the count. What host and guest do at the same time is not
tied to it: the moment at which we see a line or an answer lies some ten thousand instructions off, now here, now there.
So it is not taken at that moment. The guest is left alone until it *rests* (its processor waits for an interrupt) or
has ended, and what it executed until then is the figure. A server is asked when it rests, once, and rests again after
the answer; the ticks of its clock between rest and question are taken off. So the figure holds the whole start and the
whole first answer, with what a server does after it (its log, the end of the connection).

Two things besides would differ from start to start. Programs lie at random addresses, which take one page table more or
less: a guest of ours gets ``norandmaps``. And a disk answers sooner or later: with ``io_uring`` QEMU has what is in the
host's cache at once, before the guest executes anything else.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import cache, partial

from imagebuilder import process
from imagebuilder.errors import ImagebuilderError, NotReady
from imagebuilder.events import Progress, Say, silent, step
from imagebuilder.machine import counting
from imagebuilder.machine.answers import Unanswered, ask_http, ask_tcp
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.spec import PROGRAM, Accelerator, MachineSpec
from imagebuilder.machine.waiting import all_of, any_of
from imagebuilder.measure.statistics import Summary
from imagebuilder.recipe.model import Ready

RUNS = 5
SHIFT = 0  # an instruction takes 1 ns of the guest's time, about as on a processor of today
SLOWER = 5  # than a start that is not counted, at most
POLL_S = 0.005
REST_S = 0.1  # that it must rest
CALM = 0.005  # of all that it executed: more while it rests is no rest
ANSWER_S = 10.0
FIXED = "norandmaps"  # Documentation/admin-guide/kernel-parameters.txt of Linux
AT_ONCE = "io_uring"


async def measure(
    spec: MachineSpec, ready: Ready, *, runs: int = RUNS, host_cpus: tuple[int, ...] = (), say: Say = silent
) -> Summary:
    """Count in ``runs`` starts. Raises NotReady, GuestFailed, MachineError."""
    name = f"instructions {spec.name}"
    counts: list[int] = []
    with step(say, name, f"count the instructions of {spec.name}", total=runs):
        for done in range(1, runs + 1):
            counts.append(await count(spec, ready, host_cpus=host_cpus))
            say(Progress(name, done))
    return Summary.of(counts)


async def count(spec: MachineSpec, ready: Ready, *, host_cpus: tuple[int, ...] = ()) -> int:
    """The instructions of one start; always translated (TCG) and on one processor, else there is no count."""
    counting = counted(spec, at_once=has_uring())
    limit_s = float(SLOWER * ready.timeout_s)
    async with Instance.start(counting, Launch(icount=SHIFT, host_cpus=host_cpus)) as instance:
        try:
            async with asyncio.timeout(limit_s):
                return await _counted(instance, ready, limit_s)
        except TimeoutError:
            late = f"{spec.name} was not ready and at rest within {limit_s:g} s while its instructions were counted"
            raise NotReady(late, hint="a guest that never waits cannot be counted: do without --instructions") from None


def counted(spec: MachineSpec, *, at_once: bool) -> MachineSpec:
    """The machine in which a start repeats as well as it can; ``at_once``: disks without waiting."""
    disks = tuple(replace(disk, aio=AT_ONCE) if disk.path and at_once else disk for disk in spec.disks)
    words = spec.cmdline if spec.foreign else f"{spec.cmdline} {FIXED}"
    return replace(spec, accelerator=Accelerator.TCG, cpus=1, disks=disks, cmdline=words)


@cache
def has_uring() -> bool:
    """Whether QEMU can use io_uring here: it may be built without it, and kernels and containers can forbid it."""
    empty = ("-M", "none", "-nodefaults", "-display", "none", "-monitor", "stdio")
    disk = f"if=none,id=any,format=raw,readonly=on,aio={AT_ONCE},file={__file__.replace(',', ',,')}"
    try:
        process.run([PROGRAM, *empty, "-drive", disk], stdin=b"quit\n", timeout_s=20)
    except ImagebuilderError:
        return False
    return True


async def _counted(instance: Instance, ready: Ready, limit_s: float) -> int:
    if ready.port is None:
        await instance.wait_ready(ready, limit_s)
        return await _rest(instance)
    ask, taken = _question(instance, ready), partial(instance.probed.taken, instance.host_port(ready.port))
    if instance.probed.started is not None:
        await _started(instance)
    executed = await _rest(instance)
    while True:
        before = await counting.instructions(instance.monitor)
        answered = await _answered(ask, taken)
        executed += await _rest(instance) - before
        if answered:
            return executed
        if await counting.ended(instance.monitor):
            raise instance.evidence.failure("before it was ready")


async def _started(instance: Instance) -> None:
    """Until init says that the application has started, or the machine has ended."""
    started = instance.probed.started
    while started is not None and not started.is_set():
        if await counting.ended(instance.monitor):
            raise instance.evidence.failure("before the application started")
        await asyncio.sleep(POLL_S)


async def _answered(ask: Callable[[], Awaitable[int]], taken: Callable[[], Awaitable[bool]]) -> bool:
    """Ask once. A connection that the guest has taken is not given up: it works on the answer."""
    asking = asyncio.ensure_future(ask())
    try:
        while not await any_of(asking, timeout_s=ANSWER_S):
            if not await taken():
                return False
        asking.result()
    except Unanswered:
        return False
    finally:
        asking.cancel()
        await all_of(asking)
    return True


def _question(instance: Instance, ready: Ready) -> Callable[[], Awaitable[int]]:
    assert ready.port is not None
    port, http, tcp = instance.host_port(ready.port), ready.http, ready.tcp
    if http is not None:
        return lambda: ask_http(port, http)
    if tcp is not None and tcp.expect is not None:
        return lambda: ask_tcp(port, tcp)
    # Nothing to expect: that the guest takes the connection is the answer.
    return lambda: _accepted(instance, port)


async def _accepted(instance: Instance, port: int) -> int:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await instance.probed.accepted_ns(port)
    except OSError as error:
        raise Unanswered(str(error)) from error
    finally:
        writer.close()


async def _rest(instance: Instance) -> int:
    """Wait until the guest rests; returns the count at the first look that found it so.

    A server may wake up now and then for its housekeeping. It rests all the same when that is little.
    """
    first: int | None = None
    since_s = 0.0
    while True:
        resting, now = await counting.at_rest(instance.monitor), await counting.instructions(instance.monitor)
        if first is not None and now - first <= CALM * first:
            if resting and time.monotonic() - since_s >= REST_S:
                return first
        else:
            first, since_s = (now if resting else None), time.monotonic()
        await asyncio.sleep(POLL_S)
