"""``imagebuilder new``: a commented recipe that works, to begin with."""

import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from imagebuilder import paths
from imagebuilder.errors import InputError, OutputError
from imagebuilder.paths import is_file
from imagebuilder.recipe.fields import NAME, PATTERNS
from imagebuilder.recipe.lookup import FILE

STARTER = Path(__file__).parent / "starter"
PLACEHOLDER = "@NAME@"
LONGEST_NAME = 63  # it is also the guest's host name


def new_recipe(name: str, parent: Path) -> list[Path]:
    """Write the folder ``parent/name`` with a recipe that works; returns its files, ``recipe.toml`` first.

    Raises InputError for a name that cannot be one or a folder that is there already, OutputError when the folder
    cannot be written. The folder appears whole or not at all.
    """

    def write(folder: Path) -> None:
        for file in STARTER.iterdir():
            (folder / file.name).write_text(file.read_text().replace(PLACEHOLDER, name))

    return made(name, parent, write)


def made(name: str, parent: Path, write: Callable[[Path], None]) -> list[Path]:
    """Have the files of a new recipe written; returns them. Raises as ``new_recipe`` does, and what
    ``write`` raises."""
    folder = parent / _checked(name)
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} is there already: choose another name, or remove it first")
    missing = [each for each in (parent, *parent.parents) if not each.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as scratch:
            work = Path(scratch) / name
            work.mkdir()
            write(work)
            work.rename(folder)
    except BaseException as error:
        with suppress(OSError):
            for each in missing:
                each.rmdir()
        if isinstance(error, OSError):
            raise OutputError.of(folder, error) from error
        raise
    return sorted(folder.iterdir(), key=lambda file: (file.suffix != ".toml", file.name))


def replaced(name: str, parent: Path) -> Path | None:
    """The recipe of this name that was found until now, and is no more once ``parent`` has one of it."""
    folders = list(paths.search("recipes"))
    if paths.real(parent) not in map(paths.real, folders[:1]):
        return None
    return next((folder / name for folder in folders[1:] if is_file(folder / name / FILE)), None)


def _checked(name: str) -> str:
    if re.fullmatch(NAME, name) and len(name) <= LONGEST_NAME:
        return name
    slug = re.sub("[^a-z0-9]+", "-", name.lower())[:LONGEST_NAME].strip("-")
    hint = f"'{slug}' would do" if slug else None
    raise InputError(f"'{name}' cannot be a recipe's name: it takes {PATTERNS[NAME]}", hint=hint)
