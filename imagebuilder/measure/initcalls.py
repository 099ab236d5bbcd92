"""What the kernel spends in its own start, initcall by initcall, from a boot of its own."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from imagebuilder.errors import MachineError
from imagebuilder.events import Say, Warned, step
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.recipe.model import Ready
from imagebuilder.store import sha256_file

WORDS = "initcall_debug ignore_loglevel"  # Documentation/admin-guide/kernel-parameters.txt of Linux
RETURNED = re.compile(
    r"initcall (?P<name>[\w.]+)(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?(?: \[\w+\])? returned .{1,99}?after "
    r"(?P<us>\d{1,12}) usecs"
)
SYMBOL = re.compile(r"^([0-9a-f]{16}) [tT] (\S+)$", re.MULTILINE)
US_PER_MS = 1000


async def initcalls(
    spec: MachineSpec, ready: Ready, *, launch: Launch = COLD, names: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Boot once and list how long each initcall took, in ms, largest first.

    They are not the kernel's whole phase, but that part of it that its subsystems and drivers bring. The printing makes
    this start a slow one, though not the initcalls; until the kernel has found its clock (at the level ``fs``), their
    times are in ticks. ``names`` are those of a kernel that was built without its symbols, by address (``symbols``);
    without them, those of our prebuilt kernels are known.
    Raises NotReady, GuestFailed, MachineError when the kernel does not tell.
    """
    said = bytearray()
    async with Instance.start(
        replace(spec, cmdline=f"{spec.cmdline} {WORDS}"), launch, on_console=said.extend
    ) as instance:
        await instance.wait_ready(ready)
        await instance.terminate()
    found = parse(said.decode(errors="replace"), names=known(spec.kernel) if names is None else names)
    if not found:
        raise MachineError(
            f"{spec.name}: its kernel does not tell of its initcalls",
            hint="it needs CONFIG_PRINTK and a word console= on its command line",
        )
    return found


async def opened(spec: MachineSpec, ready: Ready, *, launch: Launch = COLD, say: Say) -> dict[str, float] | None:
    """What ``initcalls`` finds; None, with a warning, where it cannot be had: other figures are no worse for it."""
    try:
        with step(say, f"initcalls {spec.name}", f"what the kernel of {spec.name} does at its start"):
            return await initcalls(spec, ready, launch=launch)
    except MachineError as error:
        say(Warned(str(error)))
        return None


def parse(console: str, *, names: Mapping[str, str] | None = None) -> dict[str, float]:
    """The initcalls that a kernel with ``initcall_debug`` printed, in ms, largest first; of equal ones in their order.

    A kernel without its symbols (``CONFIG_KALLSYMS=n``, as ``micro``) prints addresses: they stay what they are where
    ``names`` does not know them.
    """
    took_us: defaultdict[str, int] = defaultdict(int)
    for match in RETURNED.finditer(console):
        name = match["name"]
        took_us[(names or {}).get(name, name)] += int(match["us"])
    return {name: us / US_PER_MS for name, us in sorted(took_us.items(), key=lambda item: -item[1])}


def symbols(system_map: str) -> dict[str, str]:
    """The functions of a kernel by address, as it prints them, from the ``System.map`` of the same build."""
    return {f"0x{address}": name for address, name in SYMBOL.findall(system_map)}


def known(kernel: Path | None) -> dict[str, str]:
    """The functions of the start of a prebuilt kernel by address, as ``symbols``; none of another kernel."""
    from imagebuilder.kernel.prebuilt import symbols_of

    system_map = symbols_of(sha256_file(kernel)) if kernel else None
    return symbols(system_map) if system_map else {}
