"""The machine that measures: figures of two of them are never compared."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import imagebuilder
from imagebuilder import process
from imagebuilder.arch import TARGET
from imagebuilder.errors import ImagebuilderError

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Host:
    """Where the figures were measured. None is not known."""

    accelerator: str | None
    qemu: str | None
    cpu: str | None
    cores: int | None
    kernel: str | None
    imagebuilder: str


def host(accelerator: str | None = None) -> Host:
    """Look at this machine; ``accelerator`` is the one that was used."""
    kernel = f"{os.uname().sysname} {platform.release()}"
    return Host(accelerator, qemu_version(), cpu_model(), _cores(), kernel, imagebuilder.__version__)


def qemu_version() -> str | None:
    """QEMU's own version, as in ``7.2.22``; None when it is not there or does not say."""
    try:
        said = process.run([TARGET.qemu, "--version"], timeout_s=20).text
    except ImagebuilderError:
        return None
    found = re.search(r"version (\S+)", said)
    return found[1] if found else None


def cpu_model(cpuinfo: Path = CPUINFO) -> str | None:
    """The processor's name as Linux has it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return " ".join(found[1].split()) if found else None


def _cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0))
