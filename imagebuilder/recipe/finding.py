"""Where recipes are, by their names. Apart from ``load``: whoever asks for names alone need not wait for the model."""

from pathlib import Path

from imagebuilder import paths
from imagebuilder.errors import Problem, RecipeError
from imagebuilder.recipe.beside import is_file, is_folder
from imagebuilder.recipe.near import suggest

FILE = "recipe.toml"


def find(name_or_folder: str | Path) -> Path:
    """The folder of a recipe, given by its name, by itself, or by its file: absolute. Raises RecipeError with the
    nearest name when there is none."""
    given = Path(name_or_folder)
    if given.name == FILE and is_file(given):
        return given.absolute().parent
    tried = [given, *(folder / given for folder in paths.search("recipes"))]
    for folder in tried:
        if is_file(folder / FILE):
            return folder.absolute()
    hint = suggest(given.name, names()) or "'imagebuilder new NAME' writes one"
    message = f"the folder holds no {FILE}" if is_folder(given) else "there is no recipe of this name"
    raise RecipeError((Problem(given, 0, "", message, hint),))


def names() -> tuple[str, ...]:
    """The recipes that can be asked for by name."""
    found = {path.parent.name for folder in paths.search("recipes") for path in folder.glob(f"*/{FILE}")}
    return tuple(sorted(found))
