"""What is in an image, as a value: its kernel, the packages (or the like) that it is of, each file with its owner."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from imagebuilder.sources.kind import Material
from imagebuilder.tree import Blob, Kind, Tree

BYTE_CODE = "__pycache__"  # https://peps.python.org/pep-3147/


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """The kernel: ``purl`` of the package that its source, or it itself, is from, ``source_sha256`` of its tarball;
    ``patches`` and ``fragments`` by name with the digest of each, ``config_sha256`` of its whole configuration, where
    it is known."""

    name: str
    version: str
    purl: str
    source_sha256: str = ""
    patches: Mapping[str, str] = field(default_factory=dict)
    fragments: Mapping[str, str] = field(default_factory=dict)
    config_sha256: str = ""


@dataclass(frozen=True, slots=True)
class OwnedFile:
    """A regular file of the image, and the name of the material that it is of."""

    path: str
    sha256: str
    sha1: str
    bytes: int
    owner: str


@dataclass(frozen=True)
class Inventory:
    """All of one image. ``subjects`` are the files that a machine needs by name with their digest,
    ``materials`` by name what the image's files are of, ``parameters`` what was asked for (the recipe), ``sources``
    what each of its sources came to, ``builder`` our version."""

    name: str
    version: str
    summary: str
    digest: str
    epoch_s: int
    builder: str
    subjects: Mapping[str, str]
    kernel: KernelFacts
    materials: Mapping[str, Material]
    files: tuple[OwnedFile, ...]
    parameters: Mapping[str, Any]
    sources: tuple[Any, ...] = ()

    def files_of(self, name: str) -> Iterable[OwnedFile]:
        """The files of one material, by path."""
        return (each for each in self.files if each.owner == name)


def owned(root: Tree, origins: Mapping[str, str], *, own: str) -> tuple[OwnedFile, ...]:
    """The regular files of a root. Whose it is says ``origins``; byte code is of the module's; all else is of ``own``.
    A hard link is a file too."""
    found = []
    for path, node in sorted(root.items()):
        if node.kind is Kind.FILE:
            owner = origins.get(path) or _module_owner(path, origins) or own
            found.append(OwnedFile(path, node.content.digest, _sha1(node.content), node.size_bytes, owner))
    return tuple(found)


def _module_owner(path: str, origins: Mapping[str, str]) -> str | None:
    """Whose the Python module is that a file of byte code was made of."""
    place = PurePosixPath(path)
    if place.suffix != ".pyc" or place.parent.name != BYTE_CODE:
        return None
    return origins.get(f"{place.parent.parent}/{place.name.split('.')[0]}.py")


def _sha1(content: Blob) -> str:
    """SPDX 2.3 wants it of each file (https://spdx.github.io/spdx-spec/v2.3/file-information/#84-file-checksum-field);
    it guards nothing here."""
    if content.path is None:
        return hashlib.sha1(content.read(), usedforsecurity=False).hexdigest()
    with content.path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
