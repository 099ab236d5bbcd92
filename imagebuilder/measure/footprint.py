"""Where memory went, in the guest and on the host, in parts that add up."""

from collections.abc import Mapping

from imagebuilder.machine.messages import GuestMemory
from imagebuilder.machine.usage import HostMemory

MEANING: Mapping[str, str] = {
    "reserved": "what the kernel never handed out: itself, its page tables of all memory, what the firmware keeps",
    "slab": "the kernel's objects",
    "stacks": "the kernel's stacks, one for each thread",
    "tables": "page tables of the programs",
    "kernel_other": "pages that the kernel took without saying what for: devices' queues, buffers, hash tables",
    "page_cache": "files, an initramfs among them, that no program maps",
    "mapped": "files that programs map: their code and libraries",
    "anonymous": "the memory of the programs' own",
    "free": "unused",
}
TWICE = "counted_twice"
"""What the parts come to more than the whole: by counters that the kernel sums up late."""


def guest_parts(memory: GuestMemory, *, memory_bytes: int) -> dict[str, int] | None:
    """A guest's memory by kind, in bytes; the parts, less what is ``counted_twice``, add up to ``memory_bytes``, which
    the machine was given.

    None when init has not reported all of it. The figures are those of ``/proc/meminfo`` (proc(5)); a page that is
    shared memory and mapped counts as mapped. What is mapped beyond all that is cached lies outside of the memory that
    the kernel hands out: a root that is used where it lies in memory, which no longer counts as reserved then.
    ``kernel_other`` is what is left, so it also takes the error of counters that the kernel sums up late.
    """
    sizes = (memory.buffers_bytes, memory.anonymous_bytes, memory.mapped_bytes, memory.stacks_bytes)
    if None in (*sizes, memory.tables_bytes):
        return None
    buffers, anonymous, mapped, stacks = (size or 0 for size in sizes)
    cached = memory.cached_bytes + buffers
    parts = {
        "reserved": max(0, memory_bytes - memory.total_bytes - max(0, mapped - cached)),
        "slab": memory.slab_bytes,
        "stacks": stacks,
        "tables": memory.tables_bytes or 0,
        "kernel_other": 0,
        "page_cache": max(0, cached - mapped),
        "mapped": mapped,
        "anonymous": anonymous,
        "free": memory.free_bytes,
    }
    left = memory_bytes - sum(parts.values())
    twice = {TWICE: -left} if left < 0 else {}
    return {**parts, "kernel_other": max(0, left), **twice}


def twice_bytes(parts: Mapping[str, int]) -> int:
    """What the parts of a report come to more than the whole; an older one has that as something less than nothing."""
    return parts.get(TWICE, 0) - sum(size for size in parts.values() if size < 0)


def host_parts(memory: HostMemory, *, floor: HostMemory | None) -> dict[str, int]:
    """QEMU's memory in bytes, beside what an empty machine takes: the difference is the guest's doing."""
    parts = {"rss": memory.rss_bytes, "pss": memory.pss_bytes, "private": memory.private_bytes}
    return parts if floor is None else {**parts, "floor_pss": floor.pss_bytes, "floor_private": floor.private_bytes}
