"""Packages through the machine's own apt, which resolves, downloads and verifies, with state folders of our own.

::

    <store>/apt/<key>/apt.conf  sources.list.d/  status  lists/  cache/     one folder a release and configuration

Nothing of the machine's dpkg or apt is changed, no root is needed. Of the machine's configuration only the archives
(``archives.py``) and how they are reached (proxies, ``CARRIED``) count: no hooks, no pins, no recommended packages.
What was resolved is remembered in the store, so that the same request needs no network a second time.
"""

import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from imagebuilder import cache, process
from imagebuilder.arch import TARGET
from imagebuilder.errors import CacheError, SourceError, ToolFailed
from imagebuilder.events import Damaged, Progress, Say, Unit, Warned, step
from imagebuilder.sources import archives
from imagebuilder.sources.apt_says import UnknownFailure, explain, unusable
from imagebuilder.sources.apt_stalls import Stalls
from imagebuilder.sources.apt_state import SOURCES, AptState
from imagebuilder.sources.archives import Stanza, sources_list
from imagebuilder.sources.hints import did_you_mean
from imagebuilder.sources.kind import Package
from imagebuilder.store import Store, as_read, key_of, sha256_file
from imagebuilder.words import counted

REVISION, STATE_REVISION = 1, 2
T = TypeVar("T")
WANTED = re.compile(r"[a-z0-9][a-z0-9+.-]+(=[A-Za-z0-9.+~:-]+)?")
RELEASE = re.compile(r"[a-z][a-z0-9-]*")
# 'URI' FILE BYTES SHA256:DIGEST, with FILE as NAME_VERSION_ARCHITECTURE.deb (apt-get(8), --print-uris)
PRINTED = re.compile(
    r"'[^']*' (?P<name>[^_ ]+)_(?P<version>[^_ ]+)_[^_ ]+\.deb (?P<bytes>[0-9]{1,15}) SHA256:(?P<sha256>[0-9a-f]{64})"
)
STATUS = re.compile(r"dlstatus:\d+:(?P<percent>[0-9]{1,3}(\.[0-9]{1,9})?):")  # APT::Status-Fd
# How archives are reached, of the machine's own configuration: proxies, credentials, retries, clocks.
CARRIED = re.compile(r"Acquire::(http|https|ftp|tor|mirror|Retries|ForceIPv[46]|Check-(Valid-Until|Date))(::\S+)? ")
# A caller that asks for one package without what it depends on has apt print the download of just that.
PLANS: Mapping[bool, tuple[str, ...]] = {True: ("install", "--print-uris"), False: ("download", "--print-uris")}


@dataclass(frozen=True, slots=True)
class PackageRequest:
    """What is asked for: packages (``name`` or ``name=version``) of a release, with or without dependencies."""

    release: str
    packages: tuple[str, ...]
    dependencies: bool = True

    @property
    def key(self) -> str:
        """Under which the store remembers how it was resolved."""
        return key_of(["apt", REVISION, TARGET.debian, self.release, self.packages, self.dependencies])


def resolve(
    request: PackageRequest, *, store: Store, say: Say, refresh: bool = False, remember: bool = True
) -> tuple[Package, ...]:
    """The packages that meet the request, by name: from the store; ``refresh``, or the first time, from the archives.
    What they have is remembered for the next time, unless one only wants to know.

    Raises SourceError for an unknown release or package, for packages that exclude each other, and when the archives
    cannot be reached or their signatures do not hold.
    """
    record = None if refresh else store.choice(request.key)
    if record is None:
        _check(request)
        with _apt(request.release, store, say) as apt:
            chosen = {"packages": [package.describe() for package in apt.whole(lambda: apt.chosen(request))]}
        record = store.choose(request.key, chosen) if remember else as_read(chosen)
    return tuple(Package(**package) for package in record["packages"])


def names(release: str, *, store: Store, say: Say) -> frozenset[str]:
    """The packages that a release has, by the lists that are at hand; none without such lists."""
    with _apt(release, store, say) as apt:
        return apt.names() if apt.state.sources else frozenset()


def missing(release: str, packages: Sequence[Package], *, store: Store, say: Say) -> list[Package]:
    """Those of the packages that the archives have in no such version, by their newest lists."""
    with _apt(release, store, say) as apt:
        apt.update()
        known = apt.versions([package.name for package in packages])
    return [package for package in packages if (package.name, package.version) not in known]


def fetch(release: str, packages: Sequence[Package], *, store: Store, say: Say) -> dict[str, Path]:
    """The files of packages, by package name: from the store, or downloaded; each has the digest that was resolved."""
    missing = [package for package in packages if not _at_hand(package, store, say)]
    if missing:
        with _apt(release, store, say) as apt:
            apt.whole(lambda: apt.download(missing))
    return {package.name: store.blob(package.sha256) for package in packages}


@dataclass(frozen=True)
class Apt:
    """apt with its state in one folder, which no other process uses meanwhile."""

    release: str
    folder: Path
    stanzas: tuple[Stanza, ...]
    store: Store
    say: Say

    def update(self) -> None:
        """Bring the lists of packages up to date; archives that are not Debian's, or cannot be used, are left out."""
        self.state.forget()
        with step(self.say, f"apt-update-{self.release}", f"package lists of Debian {self.release}", total=100):
            usable = self._debian_of(self._updated(self.stanzas))
        self.state.write(SOURCES, sources_list(usable))
        self.state.note(sources_list(usable))

    def _updated(self, stanzas: Sequence[Stanza]) -> Sequence[Stanza]:
        """Those of the archives of which apt has the lists."""
        self.state.write(SOURCES, sources_list(stanzas))
        try:
            self._run(["apt-get", "update", "-q"], on_percent=self._progress(f"apt-update-{self.release}", 100))
        except SourceError as error:
            said = error.__cause__.stderr if isinstance(error.__cause__, ToolFailed) else ""
            reasons = {stanza: why for stanza in stanzas if (why := _why_unusable(stanza, said))}
            left = [stanza for stanza in stanzas if stanza not in reasons]
            if not reasons or not left:
                raise
            for stanza, why in reasons.items():
                self.say(Warned(f"the apt source {stanza.uris[0]} {why} for Debian {self.release}: it is skipped"))
            return self._updated(left)
        return stanzas

    def _debian_of(self, stanzas: Sequence[Stanza]) -> Sequence[Stanza]:
        """Those with Debian's own key, and those whose Release file says that they are Debian's."""
        if all(stanza.certain for stanza in stanzas):
            return stanzas
        rows = self._run(["apt-get", "indextargets", "--format", "$(REPO_URI)|$(ORIGIN)", "Created-By: Packages"])
        origins = [row.partition("|")[::2] for row in rows.splitlines()]
        own: list[Stanza] = []
        for stanza in stanzas:
            strange = next((who for uri, who in origins if stanza.covers(uri) and not who.startswith("Debian")), None)
            if stanza.certain or strange is None:
                own.append(stanza)
            else:
                whose = f"of {strange}" if strange else "of unknown origin (its Release file has no Origin)"
                self.say(Warned(f"the apt source {stanza.uris[0]} is {whose}, not of Debian: it is skipped"))
        if not own:
            raise SourceError("none of the archives that apt is configured for is Debian's", hint=archives.NO_ARCHIVE)
        return own

    def whole(self, work: Callable[[], T]) -> T:
        """Do something with the lists; once more with new ones when apt fails for a reason that we know nothing of:
        they are damaged then, mostly, and apt does not mend them."""
        try:
            return work()
        except UnknownFailure as error:
            self.say(Damaged(f"{error.message}: its package lists are fetched again"))
            self.state.clear()
            self.state.write(SOURCES, self.usable)
            return work()

    def chosen(self, request: PackageRequest) -> list[Package]:
        """The packages that the newest lists have for a request."""
        self.update()
        return self.plan(request)

    def plan(self, request: PackageRequest) -> list[Package]:
        """The packages that would be installed on an empty system, sorted by name."""
        self._know(request.packages)
        printed = self._run(["apt-get", "-qq", *PLANS[request.dependencies], "--", *request.packages])
        found = (_package(match) for match in PRINTED.finditer(printed))
        return sorted(found, key=lambda package: package.name)

    def download(self, packages: Sequence[Package]) -> None:
        """Download these very versions into the store."""
        if not self.state.sources:
            self.update()
        total = sum(package.bytes for package in packages)
        name = f"apt-download-{self.release}"
        title = f"{counted(len(packages), 'package')} of Debian {self.release}"
        words = [f"{package.name}={package.version}" for package in packages]
        with self.store.scratch() as scratch, step(self.say, name, title, total=total, unit=Unit.BYTES):
            command = ["apt-get", "download", "-q", "--", *words]
            self._run(command, cwd=scratch, on_percent=self._progress(name, total))
            self._keep(packages, scratch)

    @cached_property
    def state(self) -> AptState:
        """What apt keeps."""
        return AptState(self.folder)

    @property
    def usable(self) -> str:
        """The list of the archives: those that were found to be Debian's, before that all."""
        return self.state.sources or sources_list(self.stanzas)

    def names(self) -> frozenset[str]:
        """The packages that can be had."""
        return frozenset(self._run(["apt-cache", "pkgnames"]).split())

    def versions(self, names: Sequence[str]) -> frozenset[tuple[str, str]]:
        """Those of these packages that can be had, each with its version."""
        rows = (row.split("|")[:2] for row in self._run(["apt-cache", "madison", "--", *names]).splitlines())
        return frozenset((row[0].strip(), row[1].strip()) for row in rows if len(row) == 2)

    def _know(self, wanted: Sequence[str]) -> None:
        """Raise SourceError for packages that the release lacks; apt would take their names for patterns."""
        known = set(self._run(["apt-cache", "-oAPT::Cache::AllNames=true", "pkgnames"]).split())
        for word in wanted:
            name = word.partition("=")[0]
            if name not in known:
                hint = did_you_mean(name, (each for each in self.names() if each[:1] == name[:1]))
                raise SourceError(f'source.packages: Debian {self.release} has no package "{name}"', hint=hint)

    def _keep(self, packages: Sequence[Package], folder: Path) -> None:
        """Put what was downloaded into the store: all of it, when all of it is what was resolved."""
        found = {sha256_file(path): path for path in folder.glob("*.deb")}
        for package in packages:
            if package.sha256 not in found:
                hint = "try again, or check the mirror"
                raise SourceError(f"the download of {package.name} {package.version} is damaged", hint=hint)
        for package in packages:
            self.store.put_file(found[package.sha256])

    def _progress(self, name: str, total: int) -> Callable[[float], None]:
        return lambda percent: self.say(Progress(name, int(total * percent / 100), total))

    def _run(
        self, argv: Sequence[str], *, cwd: Path | None = None, on_percent: Callable[[float], None] | None = None
    ) -> str:
        stalls = Stalls(self.store.root, self.release)

        def on_line(line: str) -> None:
            if on_percent and (match := STATUS.match(line)):
                stalls.look(line, time.monotonic())
                on_percent(float(match["percent"]))

        env = {**process.ours(process.PROXIES), "APT_CONFIG": str(self.folder / "apt.conf")}
        words = [argv[0], *(["-oAPT::Status-Fd=1"] if on_percent else []), *argv[1:]]
        try:
            return process.run(words, cwd=cwd, env=env, on_line=on_line if on_percent else None).text
        except ToolFailed as error:
            raise explain(error, self.release) from error


def configuration(folder: Path, carried: Sequence[str] = ()) -> str:
    """apt.conf for an apt that lives in ``folder``; ``carried`` are lines of the machine's configuration."""
    options = {
        "APT::Architecture": TARGET.debian,
        "APT::Architectures::": TARGET.debian,
        "APT::Install-Recommends": "false",
        # Folders below a private home cannot be read by another user; the signatures are what is relied on.
        "APT::Sandbox::User": "",
        "APT::Update::Error-Mode": "any",
        "Acquire::AllowReleaseInfoChange": "true",
        "Acquire::ForceHash": "SHA256",
        "Acquire::GzipIndexes": "true",
        "Acquire::Languages": "none",
        "Dir::Cache": f"{folder}/cache",
        "Dir::Cache::srcpkgcache": "",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{folder}/sources.list.d",
        "Dir::Log": str(folder),
        "Dir::State": str(folder),
        "Dir::State::status": f"{folder}/status",
    }
    return "".join([*(f'{name} "{value}";\n' for name, value in options.items()), *(f"{line}\n" for line in carried)])


@contextmanager
def _apt(release: str, store: Store, say: Say) -> Iterator[Apt]:
    """apt for a release, with the machine's present configuration, alone in its folder."""
    for tool in ("apt-get", "apt-cache"):
        process.require(tool)
    stanzas = archives.stanzas_for(release, archives.read())
    if not stanzas:
        raise SourceError("the Debian archives that apt is configured for follow no release: add one that does")
    carried = [line for line in process.run(["apt-config", "dump"]).text.splitlines() if CARRIED.match(line)]
    key = key_of(["apt", STATE_REVISION, sources_list(stanzas), carried])
    folder = store.root / "apt" / key[:16]
    with store.lock(key):
        apt = Apt(release, folder, stanzas, store, say)
        apt.state.prepare({"status": "", "apt.conf": configuration(folder, carried)})
        if apt.state.damaged:
            say(Damaged(f"the package lists {folder} were damaged: they are fetched again"))
            apt.state.clear()
        apt.state.write(SOURCES, apt.usable)
        with cache.held(folder, fcntl.LOCK_SH) as used:
            with suppress(OSError):  # a cache that can only be read
                os.utime(used)
            yield apt


def _why_unusable(stanza: Stanza, said: str) -> str | None:
    """Why apt cannot use an archive that may not be Debian's. One with Debian's own key must work."""
    if stanza.certain:
        return None
    return next((why for uri, why in unusable(said).items() if stanza.covers(uri)), None)


def _check(request: PackageRequest) -> None:
    if not RELEASE.fullmatch(request.release):
        raise SourceError(
            f'source.release: "{request.release}" is no name of a Debian release', hint="such as bookworm"
        )
    for word in request.packages:
        if not WANTED.fullmatch(word):
            raise SourceError(f'source.packages: "{word}" is no name of a package', hint="name, or name=version")


def _package(match: re.Match[str]) -> Package:
    return Package(match["name"], unquote(match["version"]), match["sha256"], int(match["bytes"]))


def _at_hand(package: Package, store: Store, say: Say) -> bool:
    there = store.has(package.sha256)
    try:
        store.blob(package.sha256)
    except CacheError as error:
        if there:
            say(Damaged(f"{error.message}: {package.name} is downloaded again"))
        return False
    return True
