"""The Debian archives that this machine is configured for, and the same archives for another release. Pure but for one
function that reads ``/etc/apt``. Formats: sources.list(5), one-line and deb822.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.errors import SourceError

ETC_APT = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ARCHITECTURE = "amd64"

COMPONENTS = frozenset({"main", "contrib", "non-free", "non-free-firmware"})
LINE = re.compile(r"\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)(\s.*)?")
SUITE = re.compile(r"[a-z]+(?P<branch>|-updates|-security|/updates)")
# Suites of a release, by what the machine's are called. Before Debian 11, security's was called "/updates".
BRANCHES: Mapping[str, str] = {"": "", "-updates": "-updates", "-security": "-security", "/updates": "-security"}
ROLLING = frozenset({"sid", "unstable"})  # have no branches
# What is taken over besides where the archive is; trust in unsigned archives is not.
OPTIONS = ("Signed-By", "Check-Valid-Until", "Check-Date")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a sources list; options by their deb822 names, spelled like ``Signed-By``."""

    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_debian(self) -> bool:
        """Whether this is an archive of Debian itself: by its key, or without one by its address."""
        key = self.options.get("Signed-By", "")
        by_key = Path(key).name.startswith("debian-archive") if key.startswith("/") else self._address_says_debian
        wanted = self.options.get("Architectures", ARCHITECTURE).split()
        return "deb" in self.types and by_key and ARCHITECTURE in wanted and not COMPONENTS.isdisjoint(self.components)

    @property
    def _address_says_debian(self) -> bool:
        return any("debian" in uri.lower() for uri in self.uris)


def read(etc_apt: Path | None = None) -> list[Entry]:
    """What the machine's apt is configured for. Raises SourceError when no Debian archive is among it."""
    folder = etc_apt or ETC_APT
    parts = folder / "sources.list.d"
    files = [folder / "sources.list", *sorted((*parts.glob("*.list"), *parts.glob("*.sources")))]
    found = [entry for file in files if file.is_file() for entry in _parse_file(file)]
    debian = [entry for entry in found if entry.is_debian]
    if not debian:
        hint = "a Debian source is taken from the archives that apt is configured for"
        raise SourceError(f"no Debian archive is configured under {folder}: add one", hint=hint)
    return debian


def sources_for(release: str, entries: Iterable[Entry], *, keyring: Path = KEYRING) -> str:
    """The deb822 sources list that has ``release`` where the entries have the machine's own."""
    stanzas = [stanza for entry in entries if (stanza := _stanza(release, entry, keyring))]
    return "\n".join(dict.fromkeys(stanzas))


def parse_lines(text: str) -> Iterator[Entry]:
    """The entries of a one-line-style list; lines that are none are left out."""
    for line in text.splitlines():
        if match := LINE.fullmatch(line.partition("#")[0]):
            kind, options, uri, suite, components = match.groups()
            yield Entry((kind,), (uri,), (suite,), tuple((components or "").split()), _options(options or ""))


def parse_stanzas(text: str) -> Iterator[Entry]:
    """The entries of a deb822-style list that are enabled; stanzas that are none are left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n[ \t]*\n", lines):
        fields = _fields(stanza)
        words = {name: tuple(value.split()) for name, value in fields.items()}
        if fields.get("Enabled", "yes").lower() in ("no", "false", "0", "off", "without", "disable"):
            continue
        if all(words.get(name) for name in ("Types", "Uris", "Suites")):
            yield Entry(words["Types"], words["Uris"], words["Suites"], words.get("Components", ()), fields)


def _parse_file(file: Path) -> list[Entry]:
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from error
    return list(parse_stanzas(text) if file.suffix == ".sources" else parse_lines(text))


def _options(text: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in text.replace('"', "").split())
    named = {"arch": "Architectures"}
    return {named.get(name.rstrip("+-"), name.title()): value.replace(",", " ") for name, _, value in pairs}


def _fields(stanza: str) -> dict[str, str]:
    """The fields of a stanza; a value's further lines keep their line breaks (a key may stand in it)."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')}\n{line}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().title()
            fields[name] = value.strip()
    return fields


def _stanza(release: str, entry: Entry, keyring: Path) -> str:
    branches = [match["branch"] for suite in entry.suites if (match := SUITE.fullmatch(suite))]
    suites = dict.fromkeys(release + BRANCHES[branch] for branch in branches if not (branch and release in ROLLING))
    if not suites:
        return ""
    options = {name: entry.options[name] for name in OPTIONS if entry.options.get(name)}
    if "Signed-By" not in options and keyring.is_file():
        options["Signed-By"] = str(keyring)
    components = [component for component in entry.components if component in COMPONENTS]
    words = {"Types": ["deb"], "URIs": entry.uris, "Suites": suites, "Components": components}
    rows = {name: " ".join(each) for name, each in words.items()} | {"Architectures": ARCHITECTURE} | options
    return "".join(f"{name}: {value}\n" for name, value in rows.items())
