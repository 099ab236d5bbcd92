"""What this machine has and lacks: one row per check, with the command that mends it."""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuilder import private, process
from imagebuilder.arch import TARGET
from imagebuilder.errors import ImagebuilderError, ToolFailed
from imagebuilder.paths import cache_dir
from imagebuilder.words import counted

ENOUGH_DISK_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``needed_for`` says what does not work without it; ``required`` is false for what only some
    need."""

    name: str
    ok: bool
    found: str
    needed_for: str
    required: bool = True
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that something needs."""

    name: str
    needed_for: str
    required: bool = False


TOOLS: Sequence[Tool] = (
    Tool(TARGET.qemu, "run, test", required=True),
    Tool("apt-get", "sources of type debian", required=True),
    Tool("setpriv", "run, test", required=True),
    Tool("gcc", "the recipe hello, kernels with fragments of your own"),
    Tool("make", "kernels with fragments of your own"),
    Tool("flex", "kernels with fragments of your own"),
    Tool("bison", "kernels with fragments of your own"),
    Tool("bc", "kernels with fragments of your own"),
    Tool("dpkg-deb", "kernels with fragments of your own"),
    Tool("patch", "kernels with fragments of your own"),
    Tool("musl-gcc", "changing the init"),
    Tool("mksquashfs", "roots of format squashfs"),
)


def examine() -> list[Finding]:
    """All checks, in the order in which one needs them."""
    found = [_python(), *(_tool(tool) for tool in TOOLS), _libelf(), _kvm(), *_engines(), _disk(), _memory()]
    return [replace(finding, mend=None) if finding.ok else finding for finding in found]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), version, "everything", mend="install Python 3.11 or newer")


def _tool(tool: Tool) -> Finding:
    path = process.find(tool.name)
    package = process.PACKAGES.get(tool.name, tool.name)
    mend = None if path else f"sudo apt-get install {package}"
    found = _version(path) if path else "not installed"
    return Finding(tool.name, path is not None, found, tool.needed_for, tool.required, mend)


def _version(path: Path) -> str:
    try:
        first = process.run([path, "--version"], timeout_s=10).text.splitlines()[0]
    except (ToolFailed, IndexError):
        return str(path)
    match = re.search(r"\d+(\.\d+)+", first)
    return match[0] if match else str(path)


def _libelf() -> Finding:
    present = Path("/usr/include/libelf.h").exists()
    mend = None if present else "sudo apt-get install libelf-dev"
    found = "present" if present else "not installed"
    return Finding("libelf.h", present, found, "kernels with fragments of your own", False, mend)


def _kvm() -> Finding:
    from imagebuilder.machine.accel import Accelerator, choose

    try:
        choice = choose("auto")
    except ImagebuilderError as error:
        return Finding("kvm", False, error.message, "starts of milliseconds", False, error.hint)
    works = choice.accelerator is Accelerator.KVM
    mend = None if works else "use a machine whose KVM runs guests; all works without, slower"
    return Finding("kvm", works, choice.why, "starts of milliseconds", False, mend)


def _engines() -> Iterator[Finding]:
    from imagebuilder.machine.engines import installed

    for engine in installed():
        why = engine.missing()
        mend = None if why is None else "clones work without, slower"
        yield Finding(engine.name, why is None, why or "a running QEMU can be copied", engine.gain, False, mend)


def _disk() -> Finding:
    needed_for = "build"
    try:
        private.check(cache_dir())
    except ImagebuilderError as error:
        return Finding("cache", False, error.message, needed_for, mend=error.hint)
    folder = next(folder for folder in (cache_dir(), *cache_dir().parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    found = f"{free / 1e9:.1f} GB free in {cache_dir()}" + ("" if writable else ", not writable")
    ok = free >= ENOUGH_DISK_BYTES and writable
    return Finding(
        "cache", ok, found, needed_for, mend=None if ok else "set IMAGEBUILDER_CACHE to a folder with 2 GB free"
    )


def _memory() -> Finding:
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = f"{available / 1e9:.1f} GB free, {counted(os.cpu_count() or 1, 'CPU')}"
    return Finding("memory", available >= 512_000_000, found, "run, test", mend="close other programs")
