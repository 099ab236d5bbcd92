"""A tar or zip archive, from a URL or beside the recipe: what is in it, somewhere in the image.

Whose the files were where the archive was packed does not count: they are root's, or the recipe's ``owner``. Modes,
times (of tar), links and extended attributes are the archive's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import ConfigDict
from pydantic_core import InitErrorDetails

from imagebuilder.errors import SourceError
from imagebuilder.events import Note, step
from imagebuilder.recipe import fields
from imagebuilder.recipe.base import mistake_at
from imagebuilder.recipe.cross_checks import exactly_one
from imagebuilder.sources.hints import did_you_mean
from imagebuilder.sources.kind import Context, Locked, Material, SourceTable
from imagebuilder.store import sha256_file
from imagebuilder.tree import Kind, Node, Tree

if TYPE_CHECKING:
    from imagebuilder.sources.layer import Layer
    from imagebuilder.tarball import Keep

# How a compressed archive begins, and the suffix of what it is packed with; whatever it is called.
MAGIC: Mapping[bytes, str] = {
    b"\x1f\x8b": ".gz",
    b"\xfd7zXZ\0": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"BZh": ".bz2",
}
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06")


class Place(StrEnum):
    """Where an archive is."""

    URL = "url"
    PATH = "path"


class ArchiveSource(SourceTable):
    """Files of a tar or zip archive, from a URL or beside the recipe, as they are."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["url", "sha256"]}, {"required": ["path"]}]})

    type: Literal["archive"]
    """The kind of source."""
    url: fields.DownloadUrl | None = None
    """Where it is downloaded from: https, or http of 127.0.0.1."""
    path: fields.FileBeside | None = None
    """The archive beside the recipe."""
    sha256: fields.Sha256 | None = None
    """Its SHA-256, in hexadecimal; of a URL it must be given."""
    strip: fields.Folders = 0
    """How many folders are taken off the front of each path; what has no more is left out."""
    folder: fields.Beside | None = None
    """The folder in the archive, after ``strip``, of which alone the files are taken."""
    target: fields.ImagePath = "/"
    """The folder in the image under which they stand."""
    owner: fields.User = "root"
    """Their owner, whatever the archive says: a name, "uid", "uid:gid" or "name:uid"."""
    licence: fields.Line = ""
    """Its licence as an SPDX expression, for the bill of materials."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """One place, and no download without a hash."""
        yield from exactly_one(raw, Place)
        if raw.get("url") is not None and raw.get("sha256") is None:
            yield mistake_at(("sha256",), "what is downloaded needs its sha256", "as sha256sum prints it")


def resolve(source: ArchiveSource, context: Context) -> Locked:
    """The archive by its hash: where it comes from makes no other image."""
    digest = source.sha256
    if source.path is not None:
        digest = _digest(context.folder / source.path)
        if source.sha256 not in (None, digest):
            raise SourceError(f"{source.path} has the sha256 {digest}, and the recipe expects {source.sha256}")
    key = {name: getattr(source, name) for name in ("type", "strip", "folder", "target", "owner", "licence")}
    return Locked(source, {**key, "sha256": digest})


def fetch(locked: Locked, context: Context) -> "Layer":
    """The files below ``target``. Raises SourceError as ``read`` does, and for a folder that is not there."""
    from imagebuilder.sources import download
    from imagebuilder.sources.layer import Layer, kept

    source: ArchiveSource = locked.source
    digest: str = locked.key["sha256"]
    if source.url is not None:
        path = download.blob(source.url, digest, store=context.store, say=context.say)
        name = Path(urlsplit(source.url).path).name or "the archive"
    else:
        path = context.folder / str(source.path)
        name = path.name
    with step(context.say, f"unpack-{digest[:12]}", f"unpack {name}"), path.open("rb") as stream:
        nodes = read(stream, name, lambda data: kept(data, context.store))
    placed = shaped(nodes, source, name)
    owners = {(node.uid, node.gid) for node in placed.values()} - {(0, 0)}
    if owners:
        context.say(Note(f"{name}: what is of {len(owners)} other owners in it is {source.owner}'s in the image"))
    tree = {f"{source.target.rstrip('/')}{path}": replace(node, uid=0, gid=0) for path, node in placed.items()}
    return Layer(Tree(tree), dict.fromkeys(tree, name), owner=source.owner, materials={name: _material(name, locked)})


def _material(name: str, locked: Locked) -> Material:
    """The archive for the bill of materials. Where it comes from is no part of it, as of the image."""
    digest: str = locked.key["sha256"]
    purl = f"pkg:generic/{quote(name, safe='')}?checksum=sha256:{digest}"
    licences = (locked.source.licence,) if locked.source.licence else ()
    return Material(name, purl=purl, licences=licences, sha256=digest)


def read(stream: IO[bytes], name: str, keep: "Keep") -> dict[str, Node]:
    """The nodes of a tar or zip archive by absolute path; ``keep`` takes each content; ``name`` is what errors call it.

    Raises SourceError for what is neither, is damaged, has members that would be written elsewhere or are of a kind
    that is not taken, or is more than the bounds.
    """
    from imagebuilder import tarball
    from imagebuilder.sources import zipped

    begin = stream.read(8)
    if begin.startswith(ZIP):
        return zipped.read(stream, name, keep)
    packed_bytes = stream.seek(0, 2)
    stream.seek(0)
    suffix = next((suffix for magic, suffix in MAGIC.items() if begin.startswith(magic)), "")
    try:
        members = tarball.members(tarball.OPENERS[suffix](stream), name, tarball.most_bytes(packed_bytes))
        return tarball.nodes_of(members, name, keep)
    except tarball.DAMAGED as error:
        raise SourceError(f"{name} is no tar or zip archive, or a damaged one: {error}") from error


def shaped(nodes: Mapping[str, Node], source: ArchiveSource, name: str) -> dict[str, Node]:
    """The nodes at the paths that ``strip`` and ``folder`` leave of theirs."""
    placed: dict[str, Node] = {}
    for path, node in nodes.items():
        parts = path.split("/")[1 + source.strip :]
        where = "/" + "/".join(parts)
        if not parts:
            continue
        before = placed.get(where, node)
        if before != node and not before.kind is node.kind is Kind.DIRECTORY:
            raise SourceError(f"{name} has two files that are {where[1:]} with strip = {source.strip}")
        placed[where] = node
    _check_folders(placed, name, source.strip)
    if source.folder is not None:
        folder = "/" + "/".join(part for part in source.folder.split("/") if part not in ("", "."))
        inner = f"{folder.rstrip('/')}/"
        found = {path[len(inner) - 1 :]: node for path, node in placed.items() if path.startswith(inner)}
        if not found and folder not in placed:
            known = {path.rpartition("/")[0][1:] for path in placed} | {path[1:] for path in placed}
            raise SourceError(f'{name} has no folder "{source.folder}"', hint=did_you_mean(source.folder, known))
        placed = found
    if not placed:
        raise SourceError(f"nothing is left of {name} with its folder and strip = {source.strip}")
    return placed


def _check_folders(placed: Mapping[str, Node], name: str, strip: int) -> None:
    """Raises SourceError where stripping put a file in the place of a folder."""
    for path in placed:
        above = path.rpartition("/")[0]
        if above in placed and placed[above].kind is not Kind.DIRECTORY:
            raise SourceError(f"{name} has a file and a folder that are {above[1:]} with strip = {strip}")


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
