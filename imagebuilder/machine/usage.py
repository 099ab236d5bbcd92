"""What a process takes from the host, as its kernel tells."""

import os
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import MachineError

KIB_BYTES = 1024


@dataclass(frozen=True, slots=True)
class HostMemory:
    """A process's memory in bytes. ``pss`` counts a page that n processes share as 1/n; ``private`` is its alone."""

    rss_bytes: int
    pss_bytes: int
    private_bytes: int


def host_memory(pid: int) -> HostMemory:
    """The memory of a running process, from ``/proc/PID/smaps_rollup`` (proc(5)). Raises MachineError when it ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError as error:
        raise MachineError(f"the memory of process {pid} cannot be read: {error.strerror}") from error
    fields = (line.split() for line in lines)
    sizes = {words[0].rstrip(":"): int(words[1]) * KIB_BYTES for words in fields}
    return HostMemory(sizes["Rss"], sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"])


def cpu_s(pid: int) -> float:
    """The processor time of a running process in seconds, from ``/proc/PID/stat`` (proc(5): fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
