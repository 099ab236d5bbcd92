"""What QEMU says of a guest whose instructions are counted (``-icount``): how many, and whether it rests or ended."""

from typing import Any

from imagebuilder.machine.qmp import Qmp


async def instructions(monitor: Qmp) -> int:
    """The guest instructions executed so far. Raises MachineError."""
    found: Any = await monitor.execute("query-replay")
    return int(found["icount"])


async def ended(monitor: Qmp) -> bool:
    """Whether the guest of a counted machine, which stays at its end, has ended. Raises MachineError."""
    status: Any = await monitor.execute("query-status")
    return bool(status["status"] == "shutdown")


async def at_rest(monitor: Qmp) -> bool:
    """Whether the guest waits for an interrupt, or has ended. Raises MachineError."""
    if await ended(monitor):
        return True
    registers = await monitor.ask("info registers -a")
    return "HLT=1" in registers and "HLT=0" not in registers
