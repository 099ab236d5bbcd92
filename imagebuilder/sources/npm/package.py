"""The tarball of a package, unpacked as data: what npm would put into its folder, and the links to its programs."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from imagebuilder import tarball
from imagebuilder.errors import SourceError
from imagebuilder.sources.npm.lock import HERE, Wanted
from imagebuilder.tree import Kind, Node, symlink

if TYPE_CHECKING:
    from imagebuilder.tarball import Keep

BIN = re.compile(r"[A-Za-z0-9][\w.+-]{0,127}", re.ASCII)
# Modules that are compiled for other systems, where packages bring them for several (node-gyp-build, prebuildify).
PREBUILT = re.compile(r"/prebuilds/(?P<os>[a-z0-9]+)-(?P<cpu>[a-z0-9_+]+)/.*|.*[.-]musl(\.\w+)?\.node")


def unpacked(stream: IO[bytes], package: Wanted, keep: "Keep") -> dict[str, Node]:
    """The files by their path in the package's folder (``/index.js``), which belong to root. Raises SourceError for a
    damaged archive, for one that would write elsewhere, and for another package than the lock has."""
    name = f"{package.name} {package.version}"
    packed_bytes = stream.seek(0, 2)
    stream.seek(0)
    try:
        members = tarball.members(tarball.OPENERS[".gz"](stream), name, tarball.most_bytes(packed_bytes))
        nodes = tarball.nodes_of(members, name, keep)
    except tarball.DAMAGED as error:
        raise SourceError(f"{name} is no tarball of npm, or a damaged one: {error}") from error
    files = {_inner(path): _usual(node) for path, node in nodes.items() if node.kind is Kind.FILE}
    _check(files, package, name)
    return {path: node for path, node in files.items() if path and not _is_foreign(path)}


def links(package: Wanted, nodes: Mapping[str, Node]) -> Iterator[tuple[str, Node]]:
    """The package's programs as npm links them, by path in the project; where its file is there."""
    folder = PurePosixPath(package.place)
    scoped = package.place.rpartition("node_modules/")[2].startswith("@")
    modules = folder.parent.parent if scoped else folder.parent
    for name, target in package.bins.items():
        short, path = name.rpartition("/")[2], program(target)
        if BIN.fullmatch(short) and path in nodes:
            yield f"{modules}/.bin/{short}", symlink(f"../{folder.relative_to(modules)}{path}")


def program(target: str) -> str:
    """The path in its package of what ``bin`` names; nothing for one that leads elsewhere."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/" + "/".join(parts)


def _inner(path: str) -> str:
    """A path without the folder that all of a tarball stands in, whatever it is called."""
    parts = path.split("/")[2:]
    return "/" + "/".join(parts) if parts else ""


def _usual(node: Node) -> Node:
    return replace(node, mode=0o755 if node.mode & 0o111 else 0o644, uid=0, gid=0, xattrs=())


def _check(files: Mapping[str, Node], package: Wanted, name: str) -> None:
    """Whether it is the package that the lock has."""
    node = files.get("/package.json")
    said: object = None
    if node is not None and node.size_bytes <= tarball.LARGE_BYTES:
        with suppress(ValueError, RecursionError):
            said = json.loads(node.content.read().decode(errors="replace").removeprefix("\ufeff"))
    if not isinstance(said, dict):
        raise SourceError(f"{name} has no package.json that can be read")
    if said.get("name") != package.name:
        raise SourceError(f"{name} is another package: its package.json says {str(said.get('name'))[:80]!r}")


def _is_foreign(path: str) -> bool:
    match = PREBUILT.fullmatch(path)
    if match is None or match["os"] is None:
        return match is not None
    return match["os"] != HERE["os"] or HERE["cpu"] not in match["cpu"].split("+")
