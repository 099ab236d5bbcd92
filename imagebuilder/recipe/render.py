"""The contents of the files that a recipe adds."""

from collections.abc import Callable, Mapping

from imagebuilder.errors import Problem, RecipeError
from imagebuilder.recipe.model import FileEntry, Recipe
from imagebuilder.recipe.values import FileKind


def rendered(entry: FileEntry, recipe: Recipe) -> bytes:
    """What is in the file; nothing for folders and links. Raises RecipeError for a template with mistakes."""
    return CONTENTS[entry.kind](entry, recipe)


def _source(entry: FileEntry, recipe: Recipe) -> bytes:
    path = recipe.folder / (entry.source or "")
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
