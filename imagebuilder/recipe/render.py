"""The contents of the files that a recipe adds."""

from collections.abc import Callable, Mapping

from imagebuilder.errors import Problem, RecipeError
from imagebuilder.recipe.beside import inside
from imagebuilder.recipe.model import FileEntry, Recipe
from imagebuilder.recipe.values import FileKind


def rendered(entry: FileEntry, recipe: Recipe) -> bytes:
    """What is in the file; nothing for folders and links. Raises RecipeError for a template with mistakes."""
    return CONTENTS[entry.kind](entry, recipe)


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
