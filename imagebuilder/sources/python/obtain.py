"""Wheels by their hashes: chosen for the image's Python, and brought into the store from where the lock says they are,
or from where pip is configured to take them from."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from imagebuilder.errors import CacheError, SourceError
from imagebuilder.events import Progress, step
from imagebuilder.sources import download
from imagebuilder.sources.kind import Context, Package
from imagebuilder.sources.python.index import Index, Offer, Settings
from imagebuilder.sources.python.locks import Pin
from imagebuilder.sources.python.target import Python
from imagebuilder.store import sha256_file
from imagebuilder.words import counted

MOST_BYTES = 4 << 30  # the largest wheels have a quarter
SHOWN = 3


def chosen(pins: Sequence[Pin], lock: str, python: Python, context: Context) -> tuple[Package, ...]:
    """A wheel for each pin, now in the store. Raises SourceError for one that there is not."""
    place = _Sources(context, lock)
    packages: list[Package] = []
    name = f"wheels-{lock}"
    with step(context.say, name, f"{counted(len(pins), 'wheel')} of {lock}", total=len(pins)):
        for number, pin in enumerate(pins, 1):
            path, digest = place.named(pin) if pin.filename else place.best(pin, python)
            packages.append(Package(pin.name, pin.version, digest, path.stat().st_size))
            context.say(Progress(name, number, len(pins)))
    return tuple(packages)


def wheels(packages: Iterable[Package], pins: Mapping[str, Pin], lock: str, context: Context) -> dict[str, Path]:
    """The files of wheels that were chosen, by package. Raises SourceError."""
    place = _Sources(context, lock)
    return {package.name: place.by_digest(pins[package.name], package.sha256) for package in packages}


class _Sources:
    """Where wheels come from, asked one after the other."""

    def __init__(self, context: Context, lock: str) -> None:
        self.context, self.lock = context, lock
        self.index = context.asked.setdefault("package indexes", None) or Index(Settings.read())
        context.asked["package indexes"] = self.index
        self.unreachable: set[str] = context.asked.setdefault("unreachable hosts", set())

    def named(self, pin: Pin) -> tuple[Path, str]:
        """The one wheel that a lock names."""
        (digest,) = pin.hashes
        return self.by_digest(pin, digest), digest

    def best(self, pin: Pin, python: Python) -> tuple[Path, str]:
        """The wheel of the index that fits best and has one of the hashes."""
        offers = self.index.offers(pin.name)
        own = [offer for offer in offers if _version(offer.filename) == pin.version or _same(offer, pin)]
        ranked = [(rank, offer) for offer in own if (rank := python.rank(offer.filename)) is not None]
        for _, offer in sorted(ranked, key=lambda each: (each[0], each[1].filename)):
            digest = offer.digest or (sha256_file(offer.path) if offer.path else None)
            if digest in pin.hashes:
                return self._taken(offer, digest), digest
            for each in sorted(pin.hashes) if digest is None else ():
                with suppress(SourceError):
                    return self._taken(offer, each), each
        raise _none(pin, self.lock, own, [offer for _, offer in ranked], python)

    def by_digest(self, pin: Pin, digest: str) -> Path:
        """The wheel with this hash: from the store, from the place that the lock names, from an index."""
        store = self.context.store
        if store.has(digest):
            with suppress(CacheError):
                return store.blob(digest)
        if pin.path:
            path = (self.context.folder / self.lock).parent / pin.path
            if path.is_file():
                return self._taken(Offer(path.name, path=path), digest)
        failure: SourceError | None = None
        host = urlsplit(pin.url or "").hostname
        if pin.url and host not in self.unreachable:
            try:
                title = pin.filename or pin.name
                return download.blob(
                    pin.url, digest, store=store, say=self.context.say, most_bytes=MOST_BYTES, title=title, tries=1
                )
            except SourceError as error:
                failure = error
                self.unreachable.add(host or "")
        for offer in self.index.offers(pin.name):
            if offer.digest == digest or (offer.path and not offer.digest and sha256_file(offer.path) == digest):
                return self._taken(offer, digest)
        reason = f" ({failure.message})" if failure else ""
        what = f"{pin.name} {pin.version}"
        raise SourceError(f"no file of {what} that can be had has the hash that {self.lock} has{reason}")

    def _taken(self, offer: Offer, digest: str) -> Path:
        """A file of an index, in the store now. Raises SourceError where it is another."""
        store = self.context.store
        if offer.path is not None:
            if not offer.path.is_file() or sha256_file(offer.path) != digest:
                raise SourceError(f"{offer.filename} has another hash than {self.lock} has")
            store.put_file(offer.path)
            return store.blob(digest)
        settings = self.index.settings
        return download.blob(
            str(offer.url),
            digest,
            store=store,
            say=self.context.say,
            most_bytes=MOST_BYTES,
            title=offer.filename,
            trusted=settings.trusted,
            cert=settings.cert,
        )


def _version(filename: str) -> str:
    parts = filename.split("-")
    return parts[1] if len(parts) > 1 else ""


def _same(offer: Offer, pin: Pin) -> bool:
    """Whether it is of the pin's version, however that is written, or has one of its hashes."""
    from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    try:
        if offer.filename.endswith(".whl"):
            return bool(parse_wheel_filename(offer.filename)[1] == Version(pin.version))
        return bool(parse_sdist_filename(offer.filename)[1] == Version(pin.version))
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return False


def _none(pin: Pin, lock: str, own: Sequence[Offer], fitting: Sequence[Offer], python: Python) -> SourceError:
    """Why there is no wheel for a pin."""
    what = f"{pin.name} {pin.version}"
    names = sorted(offer.filename for offer in own if offer.filename.endswith(".whl"))
    if fitting:
        return SourceError(f"no wheel of {what} has a hash that {lock} has: it may be another file of the same name")
    if names:
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if names[SHOWN:] else "")
        return SourceError(f"{what} has no wheel for {python.title}: there are {shown}")
    if own:
        hint = "build a wheel of it (pip wheel), and lock that"
        return SourceError(f"{what} is there as a source distribution only, {own[0].filename}, and no wheel", hint=hint)
    return SourceError(f"no package index that pip is configured for has {what}")
