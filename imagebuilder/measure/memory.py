"""The least memory with which an image still answers."""

from dataclasses import replace

from imagebuilder.errors import MachineError
from imagebuilder.events import Say, silent, step
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.measure.bisect import smallest
from imagebuilder.measure.startup import boot_once
from imagebuilder.recipe.model import Ready

MIB_BYTES = 1 << 20
TOO_LITTLE_MIB = 3  # less than any kernel that we boot
SLOWER = 5  # so many times the usual time to ready, and it counts as not answering


async def answers(spec: MachineSpec, ready: Ready, *, memory_mib: int, usual_s: float) -> bool:
    """Whether the image gets ready in a machine with so much memory, within ``SLOWER`` times ``usual_s``."""
    try:
        await boot_once(replace(spec, memory_mib=memory_mib), ready, timeout_s=SLOWER * usual_s)
    except MachineError:
        return False
    return True


async def minimum_mib(spec: MachineSpec, ready: Ready, *, usual_s: float, say: Say = silent) -> int | None:
    """The smallest memory that is enough, by bisection up to that of ``spec``; None when even that was not."""

    async def enough(memory_mib: int) -> bool:
        return await answers(spec, ready, memory_mib=memory_mib, usual_s=usual_s)

    with step(say, f"memory {spec.name}", f"the least memory for {spec.name}"):
        return await smallest(enough, below=TOO_LITTLE_MIB, high=spec.memory_mib)
