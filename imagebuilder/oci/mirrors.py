"""Where an image is really asked for: the mirrors of containers-registries.conf(5), version 2, which Podman, Buildah
and skopeo have too. That is the machine's matter, so a recipe says nothing of it.

Of each file ``[[registry]]`` counts, with ``prefix``, ``location``, ``blocked`` and its mirrors; names without a host
are those of Docker Hub, whatever ``unqualified-search-registries`` says.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagebuilder import documents, paths
from imagebuilder.errors import InputError, SourceError
from imagebuilder.oci.reference import HOST, NAME, Reference, is_loopback
from imagebuilder.words import shortened

SYSTEM = Path("/etc/containers")


@dataclass(frozen=True, slots=True)
class Place:
    """A server and the repository on it. ``insecure``: the file wants no TLS, and gets it."""

    host: str
    name: str
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    prefix: str
    table: Mapping[str, Any]
    file: Path


def places(image: Reference) -> tuple[Place, ...]:
    """Where to ask for an image, one after the other: mirrors, then the place itself. Raises InputError for a file
    that cannot be read, SourceError for a registry that is blocked."""
    rows = [row for file in files() for row in _rows(file)]
    matching = [row for row in rows if _rest(row.prefix, image) is not None]
    if not matching:
        return (Place(image.host, image.name),)
    row = max(reversed(matching), key=lambda row: len(row.prefix))  # of two that are as long the last file's
    if row.table.get("blocked") is True:
        raise SourceError(f"{row.file} blocks {row.prefix}, and so {image.repository}")
    mirrors = row.table.get("mirror", [])
    found = [_place(each, row, image) for each in mirrors if _serves(each, row, image)] if _are(mirrors) else []
    return (*found, _place(row.table, row, image))


def files() -> Iterator[Path]:
    """The files that there are, those that count more behind the others: the one that a variable names alone, else the
    user's or the system's with what lies beside it."""
    if named := os.environ.get("CONTAINERS_REGISTRIES_CONF"):
        yield Path(named)
        return
    configured, own = os.environ.get("XDG_CONFIG_HOME"), paths.home()
    users = (
        [(Path(configured) if configured else Path(own or "") / ".config") / "containers"] if configured or own else []
    )
    main = [folder / "registries.conf" for folder in (*users, SYSTEM)]
    yield from [path for path in main if paths.is_file(path)][:1]
    for folder in (SYSTEM, *users):
        try:
            yield from sorted((folder / "registries.conf.d").glob("*.conf"))
        except OSError:
            continue


def _rows(file: Path) -> Iterator[_Row]:
    try:
        _, document = documents.toml_of(documents.read(file, documents.MOST_TOML_BYTES))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except documents.Damaged as error:
        raise InputError(f"{file}:{error.line}: {error}") from None
    tables = document.get("registry", [])
    if not _are(tables):
        raise InputError(f"{file}: registry is to be a list of tables, written [[registry]]")
    for table in tables:
        prefix = table.get("prefix") or table.get("location")
        if not isinstance(prefix, str) or not prefix:
            raise InputError(f"{file}: a [[registry]] has neither prefix nor location")
        yield _Row(prefix, table, file)


def _rest(prefix: str, image: Reference) -> str | None:
    """What is behind a prefix in an image's name; nothing where it is not one of its prefixes. ``*.example.com`` is
    every host below."""
    if prefix.startswith("*."):
        return f"/{image.name}" if image.host.endswith(prefix[1:]) else None
    full = image.repository
    if not full.startswith(prefix):
        return None
    rest = full[len(prefix) :]
    return rest if not rest or rest.startswith("/") else None


def _place(table: Mapping[str, Any], row: _Row, image: Reference) -> Place:
    """The place of a mirror, or of the registry itself."""
    insecure = table.get("insecure") is True
    location = table.get("location")
    if location in (None, "") and table is row.table:
        return Place(image.host, image.name, insecure and not is_loopback(image.host))
    host, _, inner = (location if isinstance(location, str) else "").partition("/")
    rest = _rest(row.prefix, image) or ""
    name = f"{inner}{rest}".strip("/")
    if not HOST.fullmatch(host) or not NAME.fullmatch(name):
        raise InputError(f'{row.file}: "{shortened(str(location))}" is no location of a registry or mirror')
    return replace(Place(host, name), insecure=insecure and not is_loopback(host))


def _serves(table: Mapping[str, Any], row: _Row, image: Reference) -> bool:
    """Whether a mirror is for images that are named as this one is."""
    which: object = table.get("pull-from-mirror", "all")
    if row.table.get("mirror-by-digest-only") is True:
        which = "digest-only"
    return which == "all" or (which == "digest-only") == (image.digest is not None)


def _are(tables: Any) -> bool:
    return isinstance(tables, list) and all(isinstance(each, dict) for each in tables)
