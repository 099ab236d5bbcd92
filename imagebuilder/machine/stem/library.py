"""The library that makes a QEMU a stem: built from ``src/``, and kept ready-built (``imagebuilder/ready_built.py``)."""

import platform
from pathlib import Path

from imagebuilder.ready_built import Program

LIBRARY = Program.of(
    Path(__file__).resolve().parent,
    "stem.so",
    schema="imagebuilder.stem/1",
    compiler="gcc",
    flags=(
        "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-O2", "-fPIC", "-shared",
        # Nothing in the file that changes from build to build.
        "-Wl,--build-id=none", "-s",
    ),
)  # fmt: skip


def missing() -> str | None:
    """Why it cannot be used on this machine; None when it can."""
    if platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc":
        return "what copies it is made for x86-64 with glibc"
    if LIBRARY.read() is None:
        return f"{LIBRARY.file} is not of these sources: python -m imagebuilder.machine.stem build"
    return None
