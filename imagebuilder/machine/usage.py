"""What a process takes from the host, by the kernel's own counts."""

import time
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import MachineError

KIB_BYTES = 1024
SCHEDULER_CLOCK = 2  # CPUCLOCK_SCHED of the kernel: what the scheduler counts, in ns


@dataclass(frozen=True, slots=True)
class HostMemory:
    """A process's memory in bytes. ``pss`` counts a page that n processes share as 1/n; ``private`` is its alone at the
    time; ``own`` is what it has written and shares with no copy of itself either. ``tables`` are the kernel's, for the
    process: its page tables."""

    rss_bytes: int
    pss_bytes: int
    private_bytes: int
    own_bytes: int = 0
    tables_bytes: int = 0


def host_memory(pid: int) -> HostMemory:
    """The memory of a running process, from ``/proc/PID/smaps_rollup`` (proc(5)). Raises MachineError when it ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except OSError as error:
        raise MachineError(f"the memory of process {pid} cannot be read: {error.strerror}") from error
    fields = (line.split() for line in lines)
    sizes = {words[0].rstrip(":"): int(words[1]) * KIB_BYTES for words in fields}
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    own = min(sizes["Anonymous"], sizes["Private_Dirty"])  # of a file's pages some may be dirty too, just written
    tables = int(status["VmPTE"].split()[0]) * KIB_BYTES if "VmPTE" in status else 0  # one that ends has none
    return HostMemory(sizes["Rss"], sizes["Pss"], private, own, tables)


def waited_ns(pid: int) -> int | None:
    """How long the first thread of a running process was ready to run and had no processor, in ns
    (Documentation/scheduler/sched-stats.rst of Linux); None when the kernel does not tell, or it has ended."""
    try:
        _, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    except (OSError, ValueError):
        return None
    return int(waited)


def cpu_ns(pid: int) -> int:
    """The processor time (user and system) of all threads of a running process. Raises MachineError when it ended.

    Linux has a clock for it, whose number is made from the process's (clock_getcpuclockid(3)); ``/proc/PID/stat`` has
    the same in steps of 10 ms.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | SCHEDULER_CLOCK)
    except OSError as error:
        raise MachineError(f"the processor time of process {pid} cannot be read: {error.strerror}") from error
