"""A file system as a value: what stands at which path, with mode, owner and time, before anything is written.

Owners, modes, devices and extended attributes live here and never on the build machine's disk, so that nothing needs
root. Names may hold every byte but NUL and ``/`` (``encoded``).
"""

import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from imagebuilder.errors import InputError
from imagebuilder.store import Store, key_of, sha256, sha256_file

MAX_LINKS = 40  # as Linux: more symbolic links on one way are taken for a loop
MOST_FOLDERS = 256  # above one file: no real image has as many, and what is done for each of them adds up


class Kind(StrEnum):
    """What a node is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    CHARACTER = "character"
    BLOCK = "block"
    FIFO = "fifo"


TYPE_BITS: Mapping[Kind, int] = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHARACTER: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}


@dataclass(frozen=True, slots=True)
class Blob:
    """A file's content: its digest and size, and where it is (in memory or in a file). Equal digests, equal blobs."""

    digest: str
    size_bytes: int
    data: bytes | None = None
    path: Path | None = None

    @classmethod
    def of(cls, data: bytes) -> "Blob":
        """A content in memory."""
        return cls(sha256(data), len(data), data=data)

    @classmethod
    def of_content(cls, content: "bytes | Path") -> "Blob":
        """A content in memory, given as it is or in a file that will be gone."""
        return cls.of(content.read_bytes() if isinstance(content, Path) else content)

    @classmethod
    def at(cls, path: Path) -> "Blob":
        """A content in a file, which must stay as it is."""
        return cls(sha256_file(path), path.stat().st_size, path=path)

    def read(self) -> bytes:
        """The content."""
        if self.data is not None:
            return self.data
        assert self.path is not None
        return self.path.read_bytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blob) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


EMPTY = Blob.of(b"")
Xattrs = tuple[tuple[str, bytes], ...]  # extended attributes by name, sorted: ("security.capability", …)


@dataclass(frozen=True, slots=True)
class Node:
    """What stands at one path. ``mode`` holds permission bits only; ``mtime_s`` None is the image's own time."""

    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_s: int | None = None
    content: Blob = EMPTY
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Xattrs = ()

    @property
    def st_mode(self) -> int:
        """Type and permission bits as ``stat`` gives them."""
        return TYPE_BITS[self.kind] | self.mode

    @property
    def size_bytes(self) -> int:
        """The bytes of a file or of a link's target; 0 for all else."""
        if self.kind is Kind.SYMLINK:
            return len(encoded(self.target))
        return self.content.size_bytes if self.kind is Kind.FILE else 0

    def describe(self) -> dict[str, Any]:
        """The node as JSON; equal nodes give equal documents."""
        document: dict[str, Any] = {"kind": self.kind.value, "mode": self.mode, "uid": self.uid, "gid": self.gid}
        document["mtime_s"] = self.mtime_s
        if self.kind is Kind.FILE:
            document |= {"sha256": self.content.digest, "bytes": self.content.size_bytes}
        elif self.kind is Kind.SYMLINK:
            document["target"] = self.target
        elif self.kind in (Kind.CHARACTER, Kind.BLOCK):
            document["device"] = list(self.device)
        if self.xattrs:
            document["xattrs"] = {name: value.hex() for name, value in self.xattrs}
        return document


def file(content: bytes | Blob, *, mode: int = 0o644, uid: int = 0, gid: int = 0, mtime_s: int | None = None) -> Node:
    """A regular file."""
    blob = content if isinstance(content, Blob) else Blob.of(content)
    return Node(Kind.FILE, mode, uid, gid, mtime_s, content=blob)


def directory(*, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Node:
    """A folder."""
    return Node(Kind.DIRECTORY, mode, uid, gid)


IMPLIED = directory()


def symlink(target: str) -> Node:
    """A symbolic link."""
    return Node(Kind.SYMLINK, 0o777, target=target)


def encoded(name: str) -> bytes:
    """The bytes of a name: UTF-8, or whatever they were on the disk that it comes from."""
    return name.encode("utf-8", "surrogateescape")


def clean_path(path: str) -> str:
    """A path in its one spelling: absolute, no ``.`` or ``//``. Raises InputError for one that leaves the tree
    (``..``), and for one of too many folders."""
    if path[:1] == "/" and path[-1] != "/" and path.count("/") <= MOST_FOLDERS and not re.search(r"//|/\.|\0", path):
        return path  # as nearly all are, and parsing them takes most of the time that a tree does
    parts = PurePosixPath("/" + path).parts[1:]
    if "\0" in path or ".." in parts:
        raise InputError(f"the path {path!r} would leave the image: give a path without '..'")
    if len(parts) > MOST_FOLDERS:
        raise InputError(f"the path {path[:40]}… leads through more than {MOST_FOLDERS} folders: give a shorter one")
    return "/" + "/".join(parts).lstrip("/")


class Tree(Mapping[str, Node]):
    """Nodes by absolute path, in the order of their paths; parents always stand before their children.

    Missing parents are added as folders of root with mode 0755. ``/`` itself is always there.
    """

    def __init__(self, nodes: Mapping[str, Node] | None = None) -> None:
        given = {clean_path(path): node for path, node in (nodes or {}).items()}
        for path in list(given):
            for parent in _parents(path):
                if (there := given.setdefault(parent, IMPLIED)) is not IMPLIED:
                    if there.kind is not Kind.DIRECTORY:
                        raise InputError(f"{parent} is no folder, but {path} is to stand in it")
                    break  # those above it are seen to for its own sake
        given.setdefault("/", IMPLIED)
        self._nodes = dict(sorted(given.items(), key=lambda item: item[0].replace("/", "\0")))

    def __getitem__(self, path: str) -> Node:
        return self._nodes[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __repr__(self) -> str:
        return f"Tree({len(self)} nodes, {self.size_bytes} bytes, {self.digest[:12]})"

    @cached_property
    def digest(self) -> str:
        """The hash of all that the tree holds."""
        return key_of(self.describe())

    @cached_property
    def size_bytes(self) -> int:
        """The sum of all files' bytes."""
        return sum(node.size_bytes for node in self.values())

    def merge(self, other: "Tree") -> "Tree":
        """Both trees; where both have a node the other's stands, but a folder it only implied keeps ours."""
        over = {path: node for path, node in other.items() if not (node == IMPLIED and path in self)}
        return Tree({**self._nodes, **over})

    def filter(self, keep: Callable[[str, Node], bool]) -> "Tree":
        """The nodes that ``keep`` says yes to, and the folders above them as they are."""
        kept = {path: node for path, node in self.items() if keep(path, node)}
        above: dict[str, Node] = {}
        for path in kept:
            for parent in _parents(path):
                if parent in above or parent in kept:
                    break
                above[parent] = self[parent]
        return Tree({**above, **kept})

    def diff(self, other: "Tree") -> dict[str, tuple[Node | None, Node | None]]:
        """The paths at which the trees differ: (ours, the other's), None where there is none."""
        paths = sorted({*self, *other})
        pairs = {path: (self.get(path), other.get(path)) for path in paths}
        return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}

    def resolve(self, path: str, *, base: str = "/") -> str | None:
        """The path of the node that one reaches through all symbolic links; None for nothing there, or a loop."""
        return resolve_in(self._nodes, path, base=base)

    def links_to(self, path: str) -> list[str]:
        """The symbolic links that one passes on the way to ``path``, in order (they must be kept when it is)."""
        passed: list[str] = []
        _walk(self._nodes, path, "/", passed)
        return passed

    def put(self, path: str, node: Node) -> "Tree":
        """The tree with one node more, or replaced."""
        return Tree({**self._nodes, clean_path(path): node})

    # As JSON, with contents in the store

    def describe(self) -> dict[str, Any]:
        """The tree as JSON without the contents; equal trees give equal documents."""
        return {path: node.describe() for path, node in self.items()}

    def save(self, store: Store) -> dict[str, Any]:
        """Keep the contents in the store; returns the document from which ``load`` gives the tree back."""
        for node in self.values():
            if node.kind is Kind.FILE:
                _keep(node.content, store)
        return self.describe()

    @classmethod
    def load(cls, document: Mapping[str, Any], store: Store) -> "Tree":
        """The tree that ``save`` described. Raises CacheError when a content is missing or damaged."""
        return cls({path: _node(entry, store) for path, entry in document.items()})


def is_below(path: str, folders: Collection[str]) -> bool:
    """Whether a path stands in one of these folders, however many they are (a set or a mapping); none of them is /."""
    while path := path.rpartition("/")[0]:
        if path in folders:
            return True
    return False


def resolve_in(nodes: Mapping[str, Node], path: str, *, base: str = "/") -> str | None:
    """As ``Tree.resolve``, in nodes that are no Tree yet."""
    return _walk(nodes, path, base)


def _parents(path: str) -> Iterator[str]:
    """The folders above a path, the closest first."""
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        yield path


def _keep(blob: Blob, store: Store) -> None:
    if blob.path == store.place(blob.digest):
        store.blob(blob.digest)
    elif blob.path is not None:
        store.put_file(blob.path)
    else:
        store.put(blob.read())


def _node(entry: Mapping[str, Any], store: Store) -> Node:
    node = Node(
        Kind(entry["kind"]),
        entry["mode"],
        entry["uid"],
        entry["gid"],
        entry["mtime_s"],
        target=entry.get("target", ""),
        device=tuple(entry.get("device", (0, 0))),
        xattrs=tuple((name, bytes.fromhex(value)) for name, value in sorted(entry.get("xattrs", {}).items())),
    )
    if node.kind is not Kind.FILE:
        return node
    return replace(node, content=Blob(entry["sha256"], entry["bytes"], path=store.blob(entry["sha256"])))


def _walk(nodes: Mapping[str, Node], path: str, base: str, passed: list[str] | None = None) -> str | None:
    pending = [part for part in path.split("/") if part not in ("", ".")][::-1]
    here = "/" if path.startswith("/") else base
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            here = str(PurePosixPath(here).parent)
            continue
        step = f"{here.rstrip('/')}/{part}"
        node = nodes.get(step)
        if node is None:
            return None
        if node.kind is not Kind.SYMLINK:
            here = step
            continue
        links += 1
        if links > MAX_LINKS:
            return None
        if passed is not None:
            passed.append(step)
        pending += [word for word in node.target.split("/") if word not in ("", ".")][::-1]
        here = "/" if node.target.startswith("/") else here
    return here if here in nodes else None
