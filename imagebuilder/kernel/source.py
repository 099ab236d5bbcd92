"""The kernel's source tarball: out of a distribution's package or from a URL, into the store, by its digest."""

from pathlib import Path
from typing import cast

import requests

from imagebuilder import process
from imagebuilder.errors import CacheError, KernelError, OutputError, SourceError
from imagebuilder.events import Progress, Say, Unit, step
from imagebuilder.kernel.definition import FILE, KernelDefinition, Source
from imagebuilder.sources import apt
from imagebuilder.store import CHUNK_BYTES, Store, sha256_file

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
    wish = apt.Wish(cast(str, source.release), (cast(str, source.package),), dependencies=False)
    return apt.resolve(wish, store=store, say=say, refresh=True)[0].version


def _from_package(source: Source, target: Path, *, store: Store, say: Say) -> None:
    release = cast(str, source.release)
    wish = apt.Wish(release, (f"{source.package}={source.version}",), dependencies=False)
    try:
        packages = apt.resolve(wish, store=store, say=say)
        path = apt.fetch(release, packages, store=store, say=say)[cast(str, source.package)]
    except SourceError as error:
        there = newest(source, store=store, say=say)
        if there == source.version:
            raise
        gone = f"{source.package} {source.version} is gone from the archives, which have {there} now"
        raise SourceError(gone) from error
    folder = target.parent / "package"
    process.run(["dpkg-deb", "--extract", path, folder])
    inside = folder / cast(str, source.file).lstrip("/")
    if not inside.is_file():
        raise SourceError(f"{source.package} {source.version} has no {source.file}")
    inside.rename(target)


def _download(source: Source, target: Path, *, store: Store, say: Say) -> None:
    url = cast(str, source.url)
    name = f"download-{source.sha256[:12]}"
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            total = int(answer.headers.get("Content-Length", 0)) or None
            with step(say, name, f"download {url}", total=total, unit=Unit.BYTES), target.open("wb") as stream:
                for chunk in answer.iter_content(CHUNK_BYTES):
                    stream.write(chunk)
                    say(Progress(name, stream.tell(), total))
    except requests.RequestException as error:
        raise SourceError(f"{url} cannot be downloaded: {error}") from error
    except OSError as error:
        raise OutputError(f"the cache {store.root} cannot be written: {error.strerror}") from error
