"""Layers and images made in tests, by Python alone."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.oci import layers
from imagebuilder.oci.layers import LayerFile
from imagebuilder.tree import Blob, Kind, Node, Tree

FILE, FOLDER, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@dataclass(frozen=True)
class Member:
    """A member of a layer; ``said`` is what a link leads to, or what is in a file."""

    name: str
    said: str = ""
    type: bytes = FILE
    mode: int = 0o644
    ids: tuple[int, int] = (0, 0)
    device: tuple[int, int] = (0, 0)
    pax: Mapping[str, str] = field(default_factory=dict)


def folder(name: str, mode: int = 0o755) -> Member:
    """A folder."""
    return Member(name, type=FOLDER, mode=mode)


def link(name: str, target: str) -> Member:
    """A symbolic link."""
    return Member(name, target, LINK, 0o777)


def hard(name: str, target: str) -> Member:
    """A hard link."""
    return Member(name, target, HARD)


def tar(members: Iterable[Member], form: int = tarfile.PAX_FORMAT) -> bytes:
    """The archive of some members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.mode, info.mtime = member.type, member.mode, 1_000_000_000
            info.uid, info.gid = member.ids
            info.devmajor, info.devminor = member.device
            info.pax_headers = dict(member.pax)
            data = b""
            if member.type in (LINK, HARD):
                info.linkname = member.said
            else:
                data = member.said.encode()
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def in_memory(chunks: Iterable[bytes], _size_bytes: int) -> Blob:
    """A content in memory."""
    return Blob.of(b"".join(chunks))


def applied(folder: Path, *archives: bytes, packed: Sequence[bytes] | None = None) -> Tree:
    """The tree of some layers, which are gzipped unless they are given as they are ``packed``."""
    files = []
    for number, archive in enumerate(archives):
        path = folder / f"layer{number}"
        path.write_bytes(packed[number] if packed else gzip.compress(archive, 1))
        files.append(LayerFile(path, f"sha256:{hashlib.sha256(archive).hexdigest()}", f"layer {number}"))
    return layers.applied(files, in_memory)


def shown(tree: Tree) -> dict[str, str]:
    """What stands where, without the root: the content of a file, the target of a link."""
    return {path.lstrip("/"): _shown(node) for path, node in tree.items() if path != "/"}


def _shown(node: Node) -> str:
    if node.kind is Kind.FILE:
        return node.content.read().decode()
    return f"→ {node.target}" if node.kind is Kind.SYMLINK else f"<{node.kind}>"
