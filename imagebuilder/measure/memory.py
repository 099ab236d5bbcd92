"""The least memory with which an image still answers."""

from dataclasses import replace

from imagebuilder.errors import MachineError, NotReady
from imagebuilder.events import Say, silent, step
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.measure.bisect import smallest
from imagebuilder.measure.startup import boot_once
from imagebuilder.recipe.model import Ready

MIB_BYTES = 1 << 20
TOO_LITTLE_MIB = 3  # less than any kernel that we boot
SLOWER = 5  # so many times the usual time to ready, and it counts as not answering


async def answers(spec: MachineSpec, ready: Ready, *, memory_mib: int, usual_s: float) -> bool:
    """Whether the image gets ready in a machine with so much memory, within ``SLOWER`` times ``usual_s``.

    One that is late gets a second chance: this host may be busier by now than when the usual time was taken, so that
    time is taken again, beside it, with all the memory of ``spec``. One that panics or powers off gets none.
    """
    less = replace(spec, memory_mib=memory_mib)
    try:
        await boot_once(less, ready, timeout_s=SLOWER * usual_s)
    except NotReady:
        now_s = await _takes_s(spec, ready)
        return now_s is not None and await _in_time(less, ready, timeout_s=SLOWER * max(now_s, usual_s))
    except MachineError:
        return False
    return True


async def _in_time(spec: MachineSpec, ready: Ready, *, timeout_s: float) -> bool:
    return await _takes_s(spec, ready, timeout_s=timeout_s) is not None


async def _takes_s(spec: MachineSpec, ready: Ready, *, timeout_s: float | None = None) -> float | None:
    """The time to ready in s; None when it did not get ready."""
    try:
        return (await boot_once(spec, ready, timeout_s=timeout_s)).start.ready_ns / 1e9
    except MachineError:
        return None


async def minimum_mib(spec: MachineSpec, ready: Ready, *, usual_s: float, say: Say = silent) -> int | None:
    """The smallest memory that is enough, by bisection up to that of ``spec``: ready, with a real answer, in each of
    three further starts. None when even the memory of ``spec`` was not enough."""

    async def enough(memory_mib: int) -> bool:
        return await answers(spec, ready, memory_mib=memory_mib, usual_s=usual_s)

    with step(say, f"memory {spec.name}", f"the least memory for {spec.name}"):
        return await smallest(enough, below=TOO_LITTLE_MIB, high=spec.memory_mib)
