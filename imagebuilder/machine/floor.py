"""The floor: how long the same machine takes to be there with nothing in it. Start-ups are told in its multiples."""

from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, MachineSpec, MachineType

MEMORY_MIB = 32


async def floor_ns(accelerator: Accelerator, machine: MachineType, *, host_cpus: tuple[int, ...] = ()) -> int:
    """From spawning an empty machine, whose processor does not run, to QEMU's greeting, in ns."""
    spec = MachineSpec(
        machine, accelerator, memory_mib=MEMORY_MIB, network=False, channel=False, paused=True, host_cpus=host_cpus
    )
    async with Instance.start(spec) as instance:
        return instance.greeting_ns - instance.spawned_ns
