"""The floor: how long the same machine takes to be there with nothing in it. Start-ups are given in its multiples."""

from dataclasses import dataclass

from imagebuilder.arch import MachineType
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.spec import Accelerator, MachineSpec
from imagebuilder.machine.usage import HostMemory

MEMORY_MIB = 32


@dataclass(frozen=True, slots=True)
class Floor:
    """An empty machine: from spawning it to QEMU's greeting, and what it takes from the host."""

    took_ns: int
    memory: HostMemory


def floor_spec(accelerator: Accelerator, machine: MachineType) -> MachineSpec:
    """An empty machine."""
    return MachineSpec(machine, accelerator, memory_mib=MEMORY_MIB, network=False, channel=False)


async def floor(accelerator: Accelerator, machine: MachineType, *, host_cpus: tuple[int, ...] = ()) -> Floor:
    """Start an empty machine once, on these processors of the host (none: on any)."""
    async with Instance.start(floor_spec(accelerator, machine), Launch(paused=True, host_cpus=host_cpus)) as instance:
        return Floor(instance.greeting_ns - instance.spawned_ns, instance.host_memory())


async def floor_ns(accelerator: Accelerator, machine: MachineType) -> int:
    """From spawning an empty machine to QEMU's greeting, in ns."""
    return (await floor(accelerator, machine)).took_ns
