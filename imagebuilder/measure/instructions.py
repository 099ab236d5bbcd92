"""Counting the guest's instructions from power-on to ready: the figure of a start that a busy host does not disturb.

QEMU counts them (``-icount``), with the guest's clock tied to the count. What host and guest do at the same time is not
tied to it: the moment at which we see a line or an answer lies some ten thousand instructions off, now here, now there.
So it is not taken at that moment. The guest is left alone until it *rests* (its processor waits for an interrupt) or
has ended, and what it executed until then is the figure. A server is asked when it rests, once, and rests again after
the answer; the ticks of its clock between rest and question are taken off. So the figure holds the whole start and the
whole first answer, with what a server does after it (its log, the end of the connection).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from imagebuilder.errors import GuestFailed, NotReady
from imagebuilder.events import Progress, Say, silent, step
from imagebuilder.machine.answers import Unanswered, ask_http, ask_tcp
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, MachineSpec
from imagebuilder.measure.statistics import Summary
from imagebuilder.recipe.model import Ready

RUNS = 5
SHIFT = 0  # an instruction takes 1 ns of the guest's time, about as on a processor of today
SLOWER = 5  # than a start that is not counted, at most
POLL_S = 0.02
QUIET_POLLS = 5  # that find it at rest, one after another
IDLE_PER_S = 5_000_000  # more instructions in a second than this are no rest: a disk was waited for meanwhile
ANSWER_S = 10.0


async def measure(spec: MachineSpec, ready: Ready, *, runs: int = RUNS, say: Say = silent) -> Summary:
    """Count in ``runs`` starts. Raises NotReady, GuestFailed, MachineError."""
    name = f"instructions {spec.name}"
    counts: list[int] = []
    with step(say, name, f"count the instructions of {spec.name}", total=runs):
        for done in range(1, runs + 1):
            counts.append(await count(spec, ready))
            say(Progress(name, done))
    return Summary.of(counts)


async def count(spec: MachineSpec, ready: Ready) -> int:
    """The instructions of one start; always translated (TCG) and on one processor, else there is no count."""
    counting = replace(spec, icount=SHIFT, accelerator=Accelerator.TCG, cpus=1)
    limit_s = float(SLOWER * ready.timeout_s)
    async with Instance.start(counting) as instance:
        try:
            return await asyncio.wait_for(_counted(instance, ready, limit_s), limit_s)
        except TimeoutError:
            late = f"{spec.name} was not ready and at rest within {limit_s:g} s while its instructions were counted"
            raise NotReady(late, hint="a guest that never waits cannot be counted: do without --instructions") from None


async def _counted(instance: Instance, ready: Ready, limit_s: float) -> int:
    if ready.port is None:
        await instance.wait_ready(ready, limit_s)
        return await _rest(instance)
    ask = _question(instance, ready)
    if instance.started is not None:
        await _started(instance)
    executed = await _rest(instance)
    while True:
        before = await instance.instructions()
        answered = await _answered(ask)
        executed += await _rest(instance) - before
        if answered:
            return executed
        if await instance.ended():
            raise GuestFailed(f"{instance.spec.name} ended before it was ready", hint=f"{instance.console[-200:]!r}")


async def _started(instance: Instance) -> None:
    """Until init says that the application has started, or the machine has ended."""
    while instance.started is not None and not instance.started.is_set():
        if await instance.ended():
            raise GuestFailed(f"{instance.spec.name} ended before its application had started")
        await asyncio.sleep(POLL_S)


async def _answered(ask: Callable[[], Awaitable[int]]) -> bool:
    try:
        await asyncio.wait_for(ask(), ANSWER_S)
    except (Unanswered, TimeoutError):
        return False
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
        return await instance.accepted_ns(port)
    except OSError as error:
        raise Unanswered(str(error)) from error
    finally:
        writer.close()


async def _rest(instance: Instance) -> int:
    """Wait until the guest rests; returns the count at the first of the looks that found it so."""
    first, quiet = 0, 0
    last, last_s = 0, time.monotonic()
    while quiet < QUIET_POLLS:
        resting, now, now_s = await instance.at_rest(), await instance.instructions(), time.monotonic()
        if not resting or (quiet and now - last > IDLE_PER_S * (now_s - last_s)):
            quiet = 0
        elif not quiet:
            first, quiet = now, 1
        else:
            quiet += 1
        last, last_s = now, now_s
        await asyncio.sleep(POLL_S)
    return first
