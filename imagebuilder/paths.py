"""Where things are: the recipes and kernels that ship, and the cache."""

import os
from collections.abc import Iterator
from pathlib import Path

from imagebuilder.errors import OutputError

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
    for a user who has neither these nor a home."""
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
    return own.absolute() / ".cache" / "imagebuilder"


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
    """The time that every file of an image without one of its own gets: ``$SOURCE_DATE_EPOCH``, else 2026-01-01."""
    value = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(value) if value.isdigit() else 1_767_225_600
