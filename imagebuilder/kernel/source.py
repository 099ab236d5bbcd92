"""The kernel's source tarball: out of a distribution's package or from a URL, into the store, by its digest."""

from contextlib import suppress
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from imagebuilder.errors import CacheError, KernelError, SourceError
from imagebuilder.events import Say
from imagebuilder.kernel.definition import FILE, KernelDefinition, Source
from imagebuilder.sources import apt, deb, download
from imagebuilder.store import Store, sha256_file

MOST_BYTES = 1 << 30  # Linux has 140 MB as .tar.xz
MOVE = "put the new version and the tarball's new sha256 there; kernels/README.md says how"


def tarball(definition: KernelDefinition, *, store: Store, say: Say) -> Path:
    """The source tarball, checked: from the store, else fetched. Raises KernelError when it is no longer to be had."""
    source = cast(Source, definition.source)
    try:
        if source.url:
            trusted = _host(source.url)  # plain HTTP will do: the digest is known
            return download.blob(
                source.url, source.sha256, store=store, say=say, most_bytes=MOST_BYTES, trusted=trusted
            )
        return _of_package(definition, source, store=store, say=say)
    except SourceError as error:
        message = f"{definition.folder / FILE}: the kernel's source is not to be had: {error.message}"
        raise KernelError(message, hint=MOVE) from error


def _host(url: str) -> tuple[str, ...]:
    """The host of a URL; none of what is no URL, which the download refuses."""
    with suppress(ValueError):
        return (urlsplit(url).hostname or "",)
    return ()


def _of_package(definition: KernelDefinition, source: Source, *, store: Store, say: Say) -> Path:
    with suppress(CacheError):
        return store.blob(source.sha256)
    with store.scratch() as scratch:
        fetched = scratch / "tarball"
        _from_package(source, fetched, store=store, say=say)
        found = sha256_file(fetched)
        if found != source.sha256:
            message = f"the kernel's source has the sha256 {found}, and {definition.folder / FILE} expects another"
            raise KernelError(message, hint="try again; do not trust it") from None
        return store.blob(store.put_file(fetched))


def newest(source: Source, *, store: Store, say: Say) -> str:
    """The version of the source package that the archives have now. Raises SourceError."""
    request = apt.PackageRequest(cast(str, source.release), (cast(str, source.package),), dependencies=False)
    return apt.resolve(request, store=store, say=say, refresh=True)[0].version


def with_digest(source: Source, *, store: Store, say: Say) -> Source:
    """The source of that package and version with the digest of its tarball, which is fetched. Raises SourceError."""
    with store.scratch() as scratch:
        fetched = scratch / "tarball"
        _from_package(source, fetched, store=store, say=say)
        return source.model_copy(update={"sha256": store.put_file(fetched)})


def _from_package(source: Source, target: Path, *, store: Store, say: Say) -> None:
    release = cast(str, source.release)
    request = apt.PackageRequest(release, (f"{source.package}={source.version}",), dependencies=False)
    try:
        packages = apt.resolve(request, store=store, say=say)
        path = apt.fetch(release, packages, store=store, say=say)[cast(str, source.package)]
    except SourceError as error:
        there = newest(source, store=store, say=say)
        if there == source.version:
            raise
        gone = f"{source.package} {source.version} is gone from the archives, which have {there} now"
        raise SourceError(gone) from error
    deb.extract(path, cast(str, source.file), target)
