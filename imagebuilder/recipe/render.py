"""The files that a recipe adds."""

from collections.abc import Callable, Mapping

from imagebuilder.errors import Problem, RecipeError
from imagebuilder.recipe.local_files import inside
from imagebuilder.recipe.model import FileEntry, Recipe
from imagebuilder.recipe.values import FileKind
from imagebuilder.tree import Node, directory, file, symlink


def rendered(entry: FileEntry, recipe: Recipe) -> bytes:
    """What is in the file; nothing for folders and links. Raises RecipeError for a template with mistakes."""
    return CONTENTS[entry.kind](entry, recipe)


def node_of(entry: FileEntry, recipe: Recipe) -> Node:
    """The node that a file which a recipe adds stands for, root's. Raises as ``rendered``."""
    if entry.kind is FileKind.SYMLINK:
        return symlink(entry.symlink or "")
    mode = int(entry.mode, 8)
    return directory(mode=mode) if entry.kind is FileKind.DIRECTORY else file(rendered(entry, recipe), mode=mode)


def _source(entry: FileEntry, recipe: Recipe) -> bytes:
    path = recipe.folder / (entry.source or "")
    if not inside(recipe.folder, entry.source or ""):  # since the recipe was read
        message = "it is behind a link that leads out of the recipe's folder"
        raise RecipeError((Problem(path, 0, "", message, "copy the file there"),))
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecipeError((Problem(path, 0, "", f"it cannot be read: {error.strerror}"),)) from error


def _template(entry: FileEntry, recipe: Recipe) -> bytes:
    from imagebuilder.recipe.templates import render  # jinja2, only for recipes with templates

    return render(recipe, entry.template or "").encode()


def _text(entry: FileEntry, _recipe: Recipe) -> bytes:
    return (entry.text or "").encode()


CONTENTS: Mapping[FileKind, Callable[[FileEntry, Recipe], bytes]] = {
    FileKind.SOURCE: _source,
    FileKind.TEMPLATE: _template,
    FileKind.TEXT: _text,
    FileKind.DIRECTORY: lambda _entry, _recipe: b"",
    FileKind.SYMLINK: lambda _entry, _recipe: b"",
}
