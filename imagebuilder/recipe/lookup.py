"""Where recipes are, by their names. Apart from ``load``: names alone do not have to wait for the model."""

import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from imagebuilder import paths
from imagebuilder.errors import Problem, RecipeError
from imagebuilder.paths import is_file, is_folder
from imagebuilder.recipe.suggestions import suggest

FILE = "recipe.toml"
KINDS: Mapping[Callable[[int], bool], str] = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def find(name_or_folder: str | Path) -> Path:
    """The folder of a recipe, given by its name, by itself, or by its file: absolute. Raises RecipeError with the
    nearest name when there is none."""
    given = Path(name_or_folder)
    tried = places(given)
    for folder in tried:
        if is_file(folder / FILE):
            return folder.absolute()
    for folder in tried:
        if (kind := _kind(folder / FILE)) is not None:
            raise RecipeError((Problem(folder / FILE, 0, "", f"it is no file, but {kind}"),))
    hint = suggest(given.name, names()) or "'imagebuilder new NAME' writes one"
    message = f"the folder holds no {FILE}" if is_folder(given) else "there is no recipe of this name"
    raise RecipeError((Problem(given, 0, "", message, hint),))


def places(given: Path) -> list[Path]:
    """The folders in which the recipe is looked for, in turn."""
    by_file = [given.parent] if given.name == FILE else []
    return [*by_file, given, *(folder / given for folder in paths.search("recipes"))]


def _kind(path: Path) -> str | None:
    """What is there, of what is there and no file."""
    with suppress(OSError, ValueError):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) and not path.exists():
            return "a link that leads to nothing"
        return next((name for is_so, name in KINDS.items() if is_so(path.stat().st_mode)), None)
    return None


def names() -> tuple[str, ...]:
    """The recipes that can be asked for by name."""
    found = {path.parent.name for folder in paths.search("recipes") for path in folder.glob(f"*/{FILE}")}
    return tuple(sorted(found))


def typed(folder: Path) -> str:
    """What one types for the recipe in a folder: its name where that finds it, else the folder as seen from here."""
    with suppress(RecipeError):
        if find(folder.name) == folder.absolute():
            return folder.name
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)
