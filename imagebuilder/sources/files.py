"""Files beside the recipe: contents, links, empty folders; the image's own time.

Of a file's mode count whether its owner may execute it, and the bits that no umask sets (set-user-ID, set-group-ID,
sticky). Who may read and write it is in a checkout a matter of the umask: it becomes 0644 or 0755, so that a checkout
gives the same bytes on every machine, unless the recipe says a ``mode``.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from imagebuilder.errors import SourceError
from imagebuilder.events import Warned
from imagebuilder.paths import real
from imagebuilder.recipe import fields, local_files
from imagebuilder.sources.hints import did_you_mean
from imagebuilder.sources.kind import LOCKFILE, Context, Locked, SourceTable
from imagebuilder.tree import Blob, Kind, Node, Tree, directory, file, symlink

if TYPE_CHECKING:
    from imagebuilder.sources.layer import Layer


class FilesSource(SourceTable):
    """Files beside the recipe, as they are."""

    type: Literal["files"]
    """The kind of source."""
    files: tuple[fields.GlobBeside, ...] = Field(min_length=1)
    """Paths or patterns beside the recipe; a folder stands for all in it."""
    target: fields.ImagePath = "/"
    """The folder in the image under which they stand with their path beside the recipe."""
    mode: fields.Mode | None = None
    """Their permissions in octal (read permission of a folder includes entering it); else 0755 or 0644."""
    owner: fields.User = "root"
    """Their owner: a name, "uid", "uid:gid" or "name:uid"."""


def resolve(source: FilesSource, context: Context) -> Locked:
    """The files by path with the hash of each."""
    found = collect(context.folder, source.files, key="source.files")
    described = {path: node.describe() for path, node in found.items()}
    asked = {"mode": source.mode, "owner": source.owner}
    return Locked(source, {"type": source.type, "target": source.target, "files": described, **asked})


def fetch(locked: Locked, context: Context) -> "Layer":
    """The files below ``target``, each with its path beside the recipe."""
    from imagebuilder.sources.layer import Layer

    source: FilesSource = locked.source
    found = collect(context.folder, source.files, key="source.files")
    if source.mode is None:
        _tell_narrowed(context, found)
    nodes = {f"{source.target.rstrip('/')}/{path}": with_mode(node, source.mode) for path, node in found.items()}
    return Layer(Tree(nodes), dict.fromkeys(nodes, "files"), owner=source.owner)


def collect(folder: Path, patterns: Iterable[str], *, key: str) -> dict[str, Node]:
    """The files that the patterns mean, by their path in the folder. ``key`` is the recipe's, for the error's sentence.
    The lockfile, which a build may write there, is meant only where it is named.

    Raises SourceError for a pattern that leaves the folder or matches nothing, and as ``node_of`` does.
    """
    found: dict[str, Node] = {}
    for pattern in patterns:
        for path in _expand(folder, pattern, key):
            if path == LOCKFILE != pattern:
                continue
            found[path] = usual(node_of(folder / path, folder))
    return dict(sorted(found.items()))


def node_of(path: Path, folder: Path) -> Node:
    """A file, link or empty folder as a node with its own mode. Raises SourceError for what leads out of ``folder``,
    or is none of these."""
    name = path.relative_to(folder).as_posix()
    if not real(path.parent).is_relative_to(real(folder)):
        raise SourceError(f"{name} leads out of {folder}: copy the files there")
    try:
        if path.is_symlink():
            return _link(path, folder, name)
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            return directory(mode=mode)
        if not path.is_file():
            raise SourceError(f"{name} is neither a file, a folder nor a link: leave it out")
        return file(Blob.at(path), mode=mode)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def usual(node: Node) -> Node:
    """The node with the mode that it has whatever the umask was when it was checked out."""
    if node.kind is Kind.SYMLINK:
        return node
    runs = node.kind is Kind.DIRECTORY or node.mode & 0o111
    return replace(node, mode=(node.mode & 0o7000) | (0o755 if runs else 0o644))


def with_mode(node: Node, mode: str | None) -> Node:
    """The node with the mode that the recipe says; read permission of a folder includes entering it."""
    if mode is None or node.kind is Kind.SYMLINK:
        return node
    bits = int(mode, 8)
    return replace(node, mode=bits | (bits & 0o444) >> 2 if node.kind is Kind.DIRECTORY else bits)


def _tell_narrowed(context: Context, found: Mapping[str, Node]) -> None:
    """Name files that were closed to others on purpose: more than the umask of this process would close them."""
    umask = os.umask(0o022)
    os.umask(umask)
    modes = {
        path: stat.S_IMODE((context.folder / path).lstat().st_mode) for path, node in found.items() if node.content
    }
    closed = [path for path, mode in modes.items() if found[path].kind is Kind.FILE and 0o444 & ~umask & ~mode]
    if closed:
        more = f" and {len(closed) - 1} more" if closed[1:] else ""
        path = closed[0]
        text = f"{path}{more}: mode {modes[path]:04o} here, {found[path].mode:04o} in the image"
        context.say(Warned(f'{text}; say it in the recipe to keep it (mode = "{modes[path]:04o}")'))


def _link(path: Path, folder: Path, name: str) -> Node:
    target = str(path.readlink())
    end = real(path.parent / target)
    if target.startswith("/") or not end.is_relative_to(real(folder)):
        raise SourceError(f"{name} is a link to {target}, out of the folder {folder}: copy the file, or link within it")
    return symlink(target)


def _expand(folder: Path, pattern: str, key: str) -> tuple[str, ...]:
    try:
        found = local_files.expand(folder, pattern)
    except ValueError as error:
        raise SourceError(f'{key}: "{pattern}": {error}') from error
    if not found:
        hint = did_you_mean(pattern, local_files.candidates(folder))
        raise SourceError(f'{key}: "{pattern}" matches no file', hint=hint)
    return found
