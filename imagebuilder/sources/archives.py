"""The Debian archives that this machine is configured for, and the same archives for another release. Pure but for one
function that reads the configuration. Formats: sources.list(5), one-line and deb822.

Whether an archive is Debian's shows in its key; without one that says so, by what its Release file says (``apt``).
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imagebuilder.arch import TARGET
from imagebuilder.errors import SourceError

ETC_APT = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

COMPONENTS = frozenset({"main", "contrib", "non-free", "non-free-firmware"})
LINE = re.compile(r"\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)(\s.*)?")
SUITE = re.compile(r"[a-z]+(?P<branch>|-updates|-security|/updates)")
# Suites of a release, by what the machine's are called. Before Debian 11, security's was called "/updates".
BRANCHES: Mapping[str, str] = {"": "", "-updates": "-updates", "-security": "-security", "/updates": "-security"}
ROLLING = frozenset({"sid", "unstable"})  # have no branches
# What is taken over besides where the archive is; trust in unsigned archives is not.
OPTIONS = ("Signed-By", "Check-Valid-Until", "Check-Date")

NO_ARCHIVE = (
    "on a machine that is not Debian's: sudo apt-get install debian-archive-keyring, and set IMAGEBUILDER_APT to a "
    "folder with a sources.list for Debian (docs/recipe.md, 'On a machine that is not Debian')"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a sources list; options by their deb822 names, spelled like ``Signed-By``."""

    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def may_be_debian(self) -> bool:
        """Whether this may be an archive of Debian itself: by its key, or without a key file of its own by its address,
        which other archives have too (``/debian`` stands in many)."""
        named = self.options.get("Signed-By", "").startswith("/")
        by_name = self.has_debian_key if named else any("debian" in uri.lower() for uri in self.uris)
        wanted = self.options.get("Architectures", TARGET.debian).split()
        fits = TARGET.debian in wanted and not COMPONENTS.isdisjoint(self.components)
        return "deb" in self.types and by_name and fits

    @property
    def has_debian_key(self) -> bool:
        """Whether it is configured with a key file of Debian's, so that there is no doubt whose it is."""
        return Path(self.options.get("Signed-By", "")).name.startswith("debian-archive")


@dataclass(frozen=True, slots=True)
class Stanza:
    """An archive for one release, as apt reads it. One that is ``certain`` must work, another is looked at first."""

    text: str
    uris: tuple[str, ...]
    certain: bool

    def covers(self, uri: str) -> bool:
        """Whether an address that apt names is of this archive."""
        return any(uri.rstrip("/") == own.rstrip("/") for own in self.uris)


def configured() -> Path:
    """The folder of the configuration: the machine's, or one like it that ``$IMAGEBUILDER_APT`` names, for a machine
    whose own apt is not to know of Debian."""
    named = os.environ.get("IMAGEBUILDER_APT")
    return Path(named).absolute() if named else ETC_APT


def read(etc_apt: Path | None = None) -> list[Entry]:
    """What apt is configured for that may be Debian's. Raises SourceError when there is nothing."""
    folder = etc_apt or configured()
    parts = folder / "sources.list.d"
    files = [folder / "sources.list", *sorted((*parts.glob("*.list"), *parts.glob("*.sources")))]
    found = [entry for file in files if file.is_file() for entry in _parse_file(file)]
    debian = [entry for entry in found if entry.may_be_debian]
    if not debian:
        raise SourceError(f"no Debian archive is configured under {folder}", hint=NO_ARCHIVE)
    return debian


def stanzas_for(release: str, entries: Iterable[Entry], *, keyring: Path = KEYRING) -> tuple[Stanza, ...]:
    """The stanzas that have ``release`` where the entries have the machine's own."""
    made = (Stanza(_stanza(release, entry, keyring), entry.uris, entry.has_debian_key) for entry in entries)
    return tuple(dict.fromkeys(stanza for stanza in made if stanza.text))


def sources_list(stanzas: Iterable[Stanza]) -> str:
    """The deb822 sources list of these."""
    return "\n".join(stanza.text for stanza in stanzas)


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
    rows = {name: " ".join(each) for name, each in words.items()} | {"Architectures": TARGET.debian} | options
    return "".join(f"{name}: {value}\n" for name, value in rows.items())
