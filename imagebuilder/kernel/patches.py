"""Patches to the kernel's source, as ``git am`` takes them: a message that says what and why, and the changes."""

import re
from pathlib import Path

from imagebuilder import documents
from imagebuilder.errors import KernelError
from imagebuilder.store import sha256_file

MOST_BYTES = 4 << 20
BEGIN = re.compile(rb"^(diff --git |--- a/|--- /dev/null)", re.MULTILINE)


def changes(patch: Path) -> bytes:
    """What a patch does to the source, without what it says. Raises KernelError."""
    try:
        text = documents.read(patch, MOST_BYTES)
    except OSError as error:
        raise KernelError(f"the patch {patch} cannot be read: {error.strerror}") from error
    if len(text) > MOST_BYTES:
        raise KernelError(f"the patch {patch} is longer than {MOST_BYTES >> 20} MiB")
    begin = BEGIN.search(text)
    if begin is None:
        raise KernelError(f"{patch} is no patch: it changes nothing")
    return text[begin.start() :]


def digest(file: Path) -> str:
    """The SHA-256 of another file that goes into a kernel. Raises KernelError."""
    try:
        return sha256_file(file)
    except OSError as error:
        raise KernelError(f"{file} cannot be read: {error.strerror}") from error
