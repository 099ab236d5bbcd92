"""Where wheels come from: the package indexes and folders that this machine's pip is configured for (pip's own files
and variables), by the simple repository API (PEP 503 in HTML, PEP 691 in JSON). pip itself is not run.

No address of an index is written into a lock, an image or a message.
"""

import configparser
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from imagebuilder.errors import SourceError
from imagebuilder.paths import home

if TYPE_CHECKING:
    from requests import Response

PYPI = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
MOST_BYTES = 64 << 20  # of one page: projects with the most files have a third
MOST_FILES = 200_000
TIMEOUT_S = 30
PAGE_S = 300
PIECE_BYTES = 1 << 16
VARIABLES: Mapping[str, str] = {
    "index-url": "PIP_INDEX_URL",
    "extra-index-url": "PIP_EXTRA_INDEX_URL",
    "find-links": "PIP_FIND_LINKS",
    "no-index": "PIP_NO_INDEX",
    "cert": "PIP_CERT",
    "trusted-host": "PIP_TRUSTED_HOST",
}
UNREACHABLE = "check the network, and what pip is configured for: pip config list"


@dataclass(frozen=True, slots=True)
class Offer:
    """A file that an index or a folder has: at a URL, or on this machine; its digest where that is known."""

    filename: str
    digest: str | None = None
    url: str | None = None
    path: Path | None = None


@dataclass(frozen=True)
class Settings:
    """What pip is configured for, as far as it counts here."""

    indexes: tuple[str, ...] = (PYPI,)
    find_links: tuple[str, ...] = ()
    cert: str | None = None
    trusted: frozenset[str] = frozenset()

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Those of this machine, user and environment, the later over the earlier, as pip has them."""
        found: dict[str, str] = {}
        for path in _files(environment):
            parser = configparser.RawConfigParser()
            try:
                parser.read(path, encoding="utf-8")
            except (configparser.Error, UnicodeDecodeError) as error:
                raise SourceError(f"pip's configuration {path} is damaged: {str(error).splitlines()[0]}") from error
            for section in ("global", "install", "download"):
                if parser.has_section(section):
                    found |= {key.replace("_", "-"): value for key, value in parser.items(section)}
        found |= {key: value for key, name in VARIABLES.items() if (value := environment.get(name))}
        no_index = found.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t")
        indexes = (*found.get("index-url", PYPI).split(), *found.get("extra-index-url", "").split())
        return cls(
            indexes=() if no_index else tuple(dict.fromkeys(indexes)),
            find_links=tuple(found.get("find-links", "").split()),
            cert=found.get("cert") or None,
            trusted=frozenset(word.partition(":")[0] for word in found.get("trusted-host", "").split()),
        )


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """pip's configuration files, in its order (https://pip.pypa.io/en/stable/topics/configuration/)."""
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    for folder in environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        yield Path(folder or "/etc/xdg") / "pip/pip.conf"
    yield Path("/etc/pip.conf")
    own = home()
    if own is not None:
        yield own / ".pip/pip.conf"
        yield Path(environment.get("XDG_CONFIG_HOME") or own / ".config") / "pip/pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if named:
        yield Path(named)


class _Refused(Exception):
    """An index shows a page to those whom it knows only, by its HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class Index:
    """The indexes and folders; each is asked once for a package."""

    settings: Settings
    reached: bool = False
    """Whether one of the indexes answered."""
    _asked: dict[str, tuple[Offer, ...]] = field(default_factory=dict)

    def offers(self, name: str) -> tuple[Offer, ...]:
        """The files of a package, of folders first. Raises SourceError where nothing can be asked."""
        if name not in self._asked:
            folders = [each for each in self._folders if is_of(each.filename, name)]
            self._asked[name] = (*folders, *self._of_indexes(name, anything=bool(folders)))
        return self._asked[name]

    @cached_property
    def _folders(self) -> tuple[Offer, ...]:
        """The wheels of the folders of ``find-links``."""
        places = [_local(link) for link in self.settings.find_links]
        return tuple(Offer(path.name, path=path) for place in places if place for path in _wheels(place))

    def _of_indexes(self, name: str, *, anything: bool) -> Iterator[Offer]:
        failed: list[str] = []
        refused = 0
        pages = [f"{index.rstrip('/')}/{name}/" for index in self.settings.indexes]
        pages += [link for link in self.settings.find_links if link.startswith(("http://", "https://"))]
        for url in pages:
            try:
                for each in self._page(url):
                    if is_of(each.filename, name):
                        anything = True
                        yield each
            except _Refused as error:
                refused = error.status
            except SourceError as error:
                failed.append(error.message)
        if refused and not anything:
            raise SourceError(
                f"a package index refuses what it has of {name} (HTTP {refused}): it wants a name and a password, in "
                "its URL where pip is configured for it, or in ~/.netrc"
            )
        if failed and len(failed) == len(pages) and not anything:
            raise SourceError(
                f"no package index that pip is configured for can be asked: {failed[0]}", hint=UNREACHABLE
            )

    def _page(self, url: str) -> tuple[Offer, ...]:
        """The files on a page of an index; none where it has no such page."""
        local = _local(url)
        if local is not None:
            page = local / "index.html" if local.is_dir() else local
            return parsed(page.read_bytes(), "text/html", f"{local.as_uri()}/") if page.is_file() else ()
        import requests
        import urllib3

        try:
            verify: Any = self.settings.cert or True
            headers = {"Accept": ACCEPT}
            with requests.get(url, headers=headers, timeout=TIMEOUT_S, stream=True, verify=verify) as answer:
                if answer.status_code in (404, 410):
                    return ()
                if answer.status_code in (401, 403):
                    raise _Refused(answer.status_code)
                answer.raise_for_status()
                return parsed(_whole(answer), answer.headers.get("Content-Type", ""), answer.url)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise SourceError(type(error).__name__) from error


def _whole(answer: "Response") -> bytes:
    """All of a page, which comes within some minutes. Raises SourceError, and what urllib3 raises of a broken one."""
    data, until_s = bytearray(), time.monotonic() + PAGE_S
    read = partial(getattr(answer.raw, "read1", answer.raw.read), PIECE_BYTES, decode_content=True)
    while piece := read():
        data += piece
        if len(data) > MOST_BYTES:
            raise SourceError("a page of it has too many bytes")
        if time.monotonic() > until_s:
            raise SourceError(f"a page of it does not come within {PAGE_S} s")
    return bytes(data)


def parsed(data: bytes, kind: str, url: str) -> tuple[Offer, ...]:
    """The files on a page of an index, in JSON or HTML. Raises SourceError for a damaged one."""
    if "json" in kind:
        try:
            files = json.loads(data)["files"]
            offers = [
                _offer(each["filename"], each["url"], each.get("hashes", {}).get("sha256"), url) for each in files
            ]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise SourceError("a page of it is damaged") from error
    else:
        links = _Links()
        try:
            links.feed(data.decode(errors="replace"))
        except AssertionError as error:  # of html.parser, for a declaration that is none
            raise SourceError("a page of it is damaged") from error
        offers = [_of_link(link, url) for link in links.found]
    return tuple(offer for offer in offers[:MOST_FILES] if offer is not None)


class _Links(HTMLParser):
    """The addresses of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A link's."""
        address = dict(attrs).get("href") if tag == "a" else None
        if address:
            self.found.append(address)


def _of_link(link: str, page: str) -> Offer | None:
    try:
        address, fragment = urldefrag(link)
        name, _, digest = fragment.partition("=")
        filename = unquote(urlsplit(address).path.rpartition("/")[2])
    except ValueError:
        return None
    return _offer(filename, address, digest if name == "sha256" else None, page)


def _offer(filename: Any, address: Any, digest: Any, page: str) -> Offer | None:
    if not isinstance(filename, str) or not isinstance(address, str) or not isinstance(digest, str | None):
        raise TypeError("name, URL and digest of a file are strings")
    try:
        url = urljoin(page, address)
        local = _local(url) if page.startswith("file:") else None
    except ValueError:
        return None
    if page.startswith("file:") or "://" not in url:
        return Offer(filename, digest, path=local) if local else None
    return Offer(filename, digest, url=url) if url.startswith(("http://", "https://")) else None


def is_of(filename: str, name: str) -> bool:
    """Whether it is a file of this package: of its wheels for certain, of source distributions by how they begin."""
    try:
        return bool(parse_wheel_filename(filename)[0] == name)
    except InvalidWheelFilename:
        stem = canonicalize_name(filename)
        return filename.endswith((".tar.gz", ".zip", ".tar.bz2")) and stem.startswith(f"{name}-")


def _local(link: str) -> Path | None:
    """The place on this machine that a path or a ``file:`` URL means."""
    if link.startswith("file:"):
        path = Path(unquote(urlsplit(link).path))
    elif "://" in link:
        return None
    else:
        path = Path(link).expanduser()
    return path if path.is_absolute() else None


def _wheels(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(path for path in place.iterdir() if path.suffix == ".whl")
    elif place.suffix == ".whl" and place.is_file():
        yield place
