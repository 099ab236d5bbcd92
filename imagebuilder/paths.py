"""Where things are: the recipes and kernels that ship, and the cache."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from imagebuilder import private
from imagebuilder.errors import InputError, OutputError
from imagebuilder.words import shortened, whole_number

USUAL_EPOCH_S = 1_767_225_600
MOST_EPOCH_S = 253_402_300_799  # the year 9999, of which every date can be written
PACKAGE = Path(__file__).resolve().parent


def shipped(kind: str) -> Path:
    """The folder ``recipes`` or ``kernels`` that ships: beside the package in a checkout, inside it in a wheel."""
    beside = PACKAGE.parent / kind
    return beside if beside.is_dir() else PACKAGE / "data" / kind


def search(kind: str) -> Iterator[Path]:
    """Folders in which a recipe or a kernel is looked for by name: the user's own first."""
    own = Path(kind).absolute()
    yield own
    if shipped(kind) != own:
        yield shipped(kind)


def cache_dir() -> Path:
    """The store's folder: ``$IMAGEBUILDER_CACHE``, else ``imagebuilder`` in the XDG cache folder. Raises OutputError
    for a user who has neither these nor a home of his own."""
    named = os.environ.get("IMAGEBUILDER_CACHE")
    if named:
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    if base:
        return Path(base).absolute() / "imagebuilder"
    own = home()
    if own is None:
        raise OutputError(
            "there is no place for the cache: HOME is not set, and this user has no home in passwd",
            hint="set IMAGEBUILDER_CACHE to a folder",
        )
    with suppress(OSError):
        if foreign := private.whose(own.stat()):  # as under sudo, which may keep HOME
            words = f"there is no place for the cache: HOME, {own}, belongs to {foreign}"
            raise OutputError(words, hint=private.elsewhere())
    return own.absolute() / ".cache" / "imagebuilder"


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that the file system cannot have is none."""
    with suppress(OSError):
        return path.is_file()
    return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that the file system cannot have is none."""
    with suppress(OSError):
        return path.is_dir()
    return False


def real(path: Path) -> Path:
    """Where a path leads to, through all links; a loop of links leads to itself (``Path.resolve`` raises there)."""
    return Path(os.path.realpath(path))


def home() -> Path | None:
    """The user's own folder, if there is one."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def source_date_epoch_s() -> int:
    """The time that every file of an image without one of its own gets: ``$SOURCE_DATE_EPOCH``, else 2026-01-01.
    Raises InputError for a time that is none."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    given = whole_number(text, MOST_EPOCH_S) if text else USUAL_EPOCH_S
    if given is None:
        words = f'SOURCE_DATE_EPOCH: "{shortened(text)}" is no time in whole seconds since 1970'
        raise InputError(words, hint="such as 1767225600, as date +%s prints it")
    return given
