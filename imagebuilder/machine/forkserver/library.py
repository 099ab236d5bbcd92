"""The library that makes a QEMU a fork server, kept prebuilt (``imagebuilder/prebuilt/``)."""

import platform
from pathlib import Path

from imagebuilder.arch import TARGET
from imagebuilder.prebuilt.program import Program

LIBRARY = Program.of(
    Path(__file__).resolve().parent,
    "forkserver.so",
    schema="imagebuilder.forkserver/1",
    compiler="gcc",
    flags=(
        "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-O2", "-fPIC", "-shared",
        # Nothing in the file that changes from build to build.
        "-Wl,--build-id=none", "-s",
    ),
)  # fmt: skip


def missing() -> str | None:
    """Why it cannot be used on this machine; None when it can."""
    if platform.machine() != TARGET.name or platform.libc_ver()[0] != "glibc":
        return f"what copies it is made for {TARGET.title} with glibc"
    if LIBRARY.read() is None:
        return f"{LIBRARY.file} is not of these sources: python -m imagebuilder.machine.forkserver build"
    return None
