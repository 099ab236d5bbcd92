"""How a machine is started: cold, as a clone of a template, to be kept as one, counted, or empty.

What the machine is (``spec.py``) stays the same meanwhile, and so may be started in any of these ways.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class MemoryFile:
    """The guest's memory is this file: a template's is written, and a clone changes only its own copy of the pages."""

    path: Path
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """A way to start a machine; the usual one is a cold start, ``COLD``. ``paused`` leaves the processor stopped.

    ``icount`` counts the guest's instructions: each takes 2**icount ns of the guest's time, and a guest that ends stays
    there to be asked. ``incoming`` waits for the device state of a template. ``host_cpus`` are the processors of this
    host that QEMU may use; none: those that we may use.
    """

    paused: bool = False
    icount: int | None = None
    memory_file: MemoryFile | None = None
    incoming: bool = False
    host_cpus: tuple[int, ...] = ()

    @classmethod
    def kept(cls, memory: Path) -> "Launch":
        """To be kept as a template: what is in its memory stays in this file."""
        return cls(memory_file=MemoryFile(memory, writable=True))

    @classmethod
    def cloned(cls, memory: Path, *, host_cpus: tuple[int, ...] = ()) -> "Launch":
        """As a clone of the template with this memory: it stands still until it is given its state."""
        return cls(memory_file=MemoryFile(memory), incoming=True, host_cpus=host_cpus)


COLD = Launch()
