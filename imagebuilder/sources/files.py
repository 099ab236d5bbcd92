"""Files beside the recipe, as they are: contents, links and the executable bit; owner root, the image's own time."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imagebuilder.errors import SourceError
from imagebuilder.paths import real
from imagebuilder.recipe import beside
from imagebuilder.recipe.model import FilesSource
from imagebuilder.sources.hints import did_you_mean
from imagebuilder.sources.layer import Context, Layer
from imagebuilder.tree import Blob, Node, Tree, file, symlink


def describe(source: FilesSource, context: Context) -> Any:
    """The files by path with the hash of each."""
    found = collect(context.folder, source.files, key="source.files")
    described = {path: node.describe() for path, node in found.items()}
    return {"type": source.type, "target": source.target, "files": described}


def provide(source: FilesSource, context: Context) -> Layer:
    """The files below ``target``, each with its path beside the recipe."""
    found = collect(context.folder, source.files, key="source.files")
    tree = Tree({f"{source.target.rstrip('/')}/{path}": node for path, node in found.items()})
    return Layer(tree, dict.fromkeys(tree, "files"))


def collect(folder: Path, patterns: Iterable[str], *, key: str) -> dict[str, Node]:
    """The files that the patterns mean, by their path in the folder. ``key`` is the recipe's, for the error's sentence.

    Raises SourceError for a pattern that leaves the folder or matches nothing, and as ``node_of`` does.
    """
    found: dict[str, Node] = {}
    for pattern in patterns:
        for path in _expand(folder, pattern, key):
            found[path] = node_of(folder / path, folder)
    return dict(sorted(found.items()))


def node_of(path: Path, folder: Path) -> Node:
    """A file or link as a node. Raises SourceError for what leads out of ``folder``, or is neither file nor link."""
    name = path.relative_to(folder).as_posix()
    if not real(path.parent).is_relative_to(real(folder)):
        raise SourceError(f"{name} leads out of {folder}: copy the files there")
    try:
        if path.is_symlink():
            return _link(path, folder, name)
        if not path.is_file():
            raise SourceError(f"{name} is neither a file, a folder nor a link: leave it out")
        return file(Blob.at(path), mode=0o755 if path.stat().st_mode & 0o111 else 0o644)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _link(path: Path, folder: Path, name: str) -> Node:
    target = str(path.readlink())
    end = real(path.parent / target)
    if target.startswith("/") or not end.is_relative_to(real(folder)):
        raise SourceError(f"{name} is a link to {target}, out of the folder {folder}: copy the file, or link within it")
    return symlink(target)


def _expand(folder: Path, pattern: str, key: str) -> tuple[str, ...]:
    try:
        found = beside.expand(folder, pattern)
    except ValueError as error:
        raise SourceError(f'{key}: "{pattern}": {error}') from error
    if not found:
        hint = did_you_mean(pattern, beside.candidates(folder))
        raise SourceError(f'{key}: "{pattern}" matches no file', hint=hint)
    return found
