"""The kernel's source tarball: out of a distribution's package or from a URL, into the store, by its digest."""

from pathlib import Path
from typing import cast

from imagebuilder.errors import CacheError, KernelError, OutputError, SourceError
from imagebuilder.events import Progress, Say, Unit, step
from imagebuilder.kernel.definition import FILE, KernelDefinition, Source
from imagebuilder.sources import apt, deb
from imagebuilder.store import CHUNK_BYTES, Store, sha256_file

MOST_BYTES = 1 << 30  # Linux has 140 MB as .tar.xz
TIMEOUT_S = 30  # without a single byte from the server
MOVE = "put the new version and the tarball's new sha256 there; kernels/README.md says how"


def tarball(definition: KernelDefinition, *, store: Store, say: Say) -> Path:
    """The source tarball, checked: from the store, else fetched. Raises KernelError when it is no longer to be had."""
    source = cast(Source, definition.source)
    try:
        return store.blob(source.sha256)
    except CacheError:
        with store.scratch() as scratch:
            fetched = scratch / "tarball"
            try:
                (_download if source.url else _from_package)(source, fetched, store=store, say=say)
            except SourceError as error:
                place = definition.folder / FILE
                raise KernelError(
                    f"{place}: the kernel's source is not to be had: {error.message}", hint=MOVE
                ) from error
            found = sha256_file(fetched)
            if found != source.sha256:
                message = f"the kernel's source has the sha256 {found}, and {definition.folder / FILE} expects another"
                raise KernelError(message, hint="try again; do not trust it") from None
            store.put_file(fetched)
        return store.blob(source.sha256)


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


def _download(source: Source, target: Path, *, store: Store, say: Say) -> None:
    import requests  # an eighth of what a build with nothing changed takes

    url = cast(str, source.url)
    name = f"download-{source.sha256[:12]}"
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() and len(length) < 20 else None
            with step(say, name, f"download {url}", total=total, unit=Unit.BYTES), target.open("wb") as stream:
                for chunk in answer.iter_content(CHUNK_BYTES):
                    stream.write(chunk)
                    say(Progress(name, stream.tell(), total))
                    if stream.tell() > MOST_BYTES:
                        raise SourceError(f"{url} has more than {MOST_BYTES >> 20} MiB, as no kernel's source has")
    except requests.RequestException as error:
        raise SourceError(f"{url} cannot be downloaded: {error}") from error
    except OSError as error:
        raise OutputError(f"the cache {store.root} cannot be written: {error.strerror}") from error
