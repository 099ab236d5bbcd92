"""apt with our own state, against a small archive of our own (signed, over HTTP on 127.0.0.1)."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder import process
from imagebuilder.errors import OutputError, SourceError, ToolFailed, ToolMissing
from imagebuilder.events import Begun, Event, Progress, Unit, Warned
from imagebuilder.sources import Context, apt, apt_says, archives
from imagebuilder.sources.apt import PackageRequest, fetch, resolve
from imagebuilder.sources.apt_state import AptState
from imagebuilder.sources.kind import Package

from .repository import RELEASE, Repository, served

pytestmark = pytest.mark.tools

Ran = list[tuple[str, ...]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """The programs that were run, for real, meanwhile."""
    calls: Ran = []
    real = process.run

    def run(argv: Sequence[Any], **options: Any) -> process.Completed:
        calls.append(tuple(str(word) for word in argv))
        return real(argv, **options)

    monkeypatch.setattr(process, "run", run)
    return calls


def request(*packages: str, release: str = RELEASE) -> PackageRequest:
    return PackageRequest(release, packages)


def resolved(context: Context, *packages: str, release: str = RELEASE, refresh: bool = False) -> tuple[Package, ...]:
    return resolve(request(*packages, release=release), store=context.store, say=context.say, refresh=refresh)


def fetched(context: Context, packages: Sequence[Package]) -> dict[str, Path]:
    return fetch(RELEASE, packages, store=context.store, say=context.say)


# The plan


def test_the_configuration_has_nothing_of_the_machine_but_what_is_carried() -> None:
    text = apt.configuration(Path("/state"), ['Acquire::http::Proxy "http://proxy.example:3128";'])
    assert text.splitlines() == [
        'APT::Architecture "amd64";',
        'APT::Architectures:: "amd64";',
        'APT::Install-Recommends "false";',
        'APT::Sandbox::User "";',
        'APT::Update::Error-Mode "any";',
        'Acquire::AllowReleaseInfoChange "true";',
        'Acquire::ForceHash "SHA256";',
        'Acquire::GzipIndexes "true";',
        'Acquire::Languages "none";',
        'Dir::Cache "/state/cache";',
        'Dir::Cache::srcpkgcache "";',
        'Dir::Etc::main "/dev/null";',
        'Dir::Etc::parts "/dev/null";',
        'Dir::Etc::preferences "/dev/null";',
        'Dir::Etc::preferencesparts "/dev/null";',
        'Dir::Etc::sourcelist "/dev/null";',
        'Dir::Etc::sourceparts "/state/sources.list.d";',
        'Dir::Log "/state";',
        'Dir::State "/state";',
        'Dir::State::status "/state/status";',
        'Acquire::http::Proxy "http://proxy.example:3128";',
    ]


@pytest.mark.parametrize(
    ("line", "carried"),
    [
        ('Acquire::http::Proxy "http://proxy.example";', True),
        ('Acquire::https::Verify-Peer "true";', True),
        ('Acquire::Retries "3";', True),
        ('Acquire::Check-Date "false";', True),
        ('Acquire::AllowInsecureRepositories "1";', False),
        ('Acquire::IndexTargets::deb::DEP-11::MetaKey "x";', False),
        ('APT::Update::Post-Invoke:: "rm -rf /";', False),
    ],
)
def test_only_how_archives_are_reached_is_carried(line: str, carried: bool) -> None:
    assert bool(apt.CARRIED.match(line)) is carried


def test_apt_is_called_like_this(repository: Repository, context: Context, ran: Ran) -> None:
    fetched(context, resolved(context, "greeter"))
    assert ran == [
        ("apt-config", "dump"),
        ("apt-get", "-oAPT::Status-Fd=1", "update", "-q"),
        ("apt-cache", "-oAPT::Cache::AllNames=true", "pkgnames"),
        ("apt-get", "-qq", "install", "--print-uris", "--", "greeter"),
        ("apt-config", "dump"),
        ("apt-get", "-oAPT::Status-Fd=1", "download", "-q", "--", "greeter=1.5", "libgreet2=2:3.1-4+b1"),
    ]


# What comes of it


def test_packages_come_with_what_they_depend_on_and_as_they_were_published(
    repository: Repository, context: Context, events: list[Event]
) -> None:
    packages = resolved(context, "greeter")
    assert [(package.name, package.version) for package in packages] == [
        ("greeter", "1.5"),
        ("libgreet2", "2:3.1-4+b1"),
    ]
    files = fetched(context, packages)
    for package in packages:
        published = next((repository.folder / "pool").glob(f"{package.name}_*.deb"))
        assert files[package.name].read_bytes() == published.read_bytes()
        assert package.bytes == published.stat().st_size
    total = sum(package.bytes for package in packages)
    assert Progress(f"apt-download-{RELEASE}", total, total) in events
    assert [event for event in events if isinstance(event, Begun)] == [
        Begun(f"apt-update-{RELEASE}", f"package lists of Debian {RELEASE}", 100, Unit.ITEMS),
        Begun(f"apt-download-{RELEASE}", f"2 packages of Debian {RELEASE}", total, Unit.BYTES),
    ]
    told = {(event.step, event.total) for event in events if isinstance(event, Progress)}
    assert told == {(f"apt-update-{RELEASE}", 100), (f"apt-download-{RELEASE}", total)}


def test_one_package_alone(repository: Repository, context: Context) -> None:
    alone = resolve(PackageRequest(RELEASE, ("greeter",), dependencies=False), store=context.store, say=context.say)
    assert [package.name for package in alone] == ["greeter"]


def test_a_second_time_nothing_runs(repository: Repository, context: Context, ran: Ran) -> None:
    first = resolved(context, "greeter")
    files = fetched(context, first)
    ran.clear()
    assert resolved(context, "greeter") == first
    assert fetched(context, first) == files
    assert ran == []


def test_refresh_asks_anew(repository: Repository, context: Context, ran: Ran) -> None:
    resolved(context, "greeter")
    ran.clear()
    resolved(context, "greeter", refresh=True)
    assert ("apt-get", "-oAPT::Status-Fd=1", "update", "-q") in ran


def test_a_key_within_the_configuration_counts(repository: Repository, context: Context) -> None:
    lines = [f" {line or '.'}" for line in repository.armored_key().splitlines()]
    lists = repository.etc_apt / "sources.list.d/debian.sources"
    lists.write_text(lists.read_text().partition("Signed-By")[0] + "Signed-By:\n" + "\n".join(lines) + "\n")
    assert len(resolved(context, "greeter")) == 2


def test_the_machines_own_apt_stays_as_it_is(repository: Repository, context: Context) -> None:
    watched = [
        path for path in (Path("/var/lib/apt/lists"), Path("/var/cache/apt"), Path("/var/lib/dpkg")) if path.is_dir()
    ]
    before = [(path.stat().st_mtime_ns, sorted(path.iterdir())) for path in watched]
    fetched(context, resolved(context, "greeter"))
    assert before == [(path.stat().st_mtime_ns, sorted(path.iterdir())) for path in watched]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter and write to."""
    folder = Path(tempfile.mkdtemp(prefix="ib"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


SCRIPT = """
import sys
from pathlib import Path
from imagebuilder.sources import apt, archives
from imagebuilder.sources.apt_state import AptState
from imagebuilder.store import Store
archives.ETC_APT = Path(sys.argv[1])
store = Store(Path(sys.argv[2]) / "store")
packages = apt.resolve(apt.PackageRequest("bookworm", ("greeter",)), store=store, say=lambda event: None)
print(sorted(apt.fetch("bookworm", packages, store=store, say=lambda event: None)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="this is an ordinary user already")
def test_an_ordinary_user_can(repository: Repository, open_folder: Path) -> None:
    archive = repository.folder.parent
    archive.chmod(0o755)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    code = Path(apt.__file__).parents[2]
    try:
        process.run([*nobody, sys.executable, "-c", "import pydantic"], env={"HOME": str(open_folder)})
    except ToolFailed:
        pytest.skip("another user cannot read the Python environment")
    words = [*nobody, sys.executable, "-c", SCRIPT, str(repository.etc_apt), str(open_folder)]
    done = process.run(words, env={"HOME": str(open_folder), "PYTHONPATH": str(code)})
    assert done.text.strip() == "['greeter', 'libgreet2']"
    assert {path.stat().st_uid for path in (open_folder / "store").rglob("*")} == {65534}


# What is refused


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        (["greter"], 'source.packages: Debian bookworm has no package "greter" .did you mean "greeter"'),
        (["greeter", "zzz"], 'has no package "zzz"$'),
        (["greeter=9"], 'does not have "greeter" in version 9 .*ask for that, or for none'),
        (["grumbler"], "cannot be installed together"),
        (["nowhere-to-be-found"], 'knows "nowhere-to-be-found" only by name'),
        (["--help"], '"--help" is no name of a package'),
        (["Greeter"], "is no name of a package"),
        (["greeter-"], 'has no package "greeter-"'),
        (["greet.*"], "is no name of a package"),
    ],
)
def test_packages_that_are_refused(repository: Repository, context: Context, packages: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        resolved(context, *packages)
    assert context.store.record(request(*packages).key) is None


@pytest.mark.parametrize(
    ("release", "message"),
    [("wormbook", 'source.release: .* no Debian release "wormbook"'), ("../x", "is no name of a Debian release")],
)
def test_a_release_that_is_not_there(repository: Repository, context: Context, release: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        resolved(context, "greeter", release=release)


def test_an_archive_that_is_not_reached(repository: Repository, context: Context, unused_tcp_port: int) -> None:
    lists = repository.etc_apt / "sources.list.d/debian.sources"
    lists.write_text(lists.read_text().replace(f":{repository.port}/", f":{unused_tcp_port}/"))
    with pytest.raises(SourceError, match=r"the archive of Debian bookworm cannot be reached: .*check the network"):
        resolved(context, "greeter")


def test_an_archive_that_another_key_signed(repository: Repository, context: Context, tmp_path: Path) -> None:
    if not archives.KEYRING.is_file():
        pytest.skip("no other key here")
    other = tmp_path / "debian-archive-other.gpg"
    other.write_bytes(archives.KEYRING.read_bytes())
    repository.configure(signed_by=other)
    with pytest.raises(SourceError, match=r"signature of Debian bookworm cannot be verified"):
        resolved(context, "greeter")


# Archives of others


@pytest.fixture(scope="module")
def tools() -> Iterator[Repository]:
    """The archive of some tool, for Debian's release, with "debian" in its address and a key that nobody has."""
    short = Path(tempfile.mkdtemp(prefix="ib"))
    (short / "archive").mkdir()
    try:
        with served(short / "archive", short / "keys", origin="Tools Inc") as other:
            other.add("greeter", "99")
            other.publish()
            yield other
    finally:
        shutil.rmtree(short)


def warned(events: Sequence[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Warned)]


def add_source(repository: Repository, text: str) -> None:
    (repository.etc_apt / "sources.list.d/tools.sources").write_text(text)


@pytest.fixture
def with_tools(repository: Repository, tools: Repository) -> Iterator[Repository]:
    yield tools
    (repository.etc_apt / "sources.list.d/tools.sources").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("has_key", "suite", "why"),
    [
        (False, RELEASE, "is not signed"),  # with a key that Debian's keyring lacks
        (True, RELEASE, "is of Tools Inc, not of Debian"),  # with a key of its own in the stanza
        (True, "trixie", "does not have a Release file"),
    ],
)
def test_an_archive_of_others_is_skipped_and_named(
    repository: Repository,
    with_tools: Repository,
    context: Context,
    events: list[Event],
    has_key: bool,
    suite: str,
    why: str,
) -> None:
    stanza = with_tools.stanza()
    if has_key:
        key = "".join(f" {line or '.'}\n" for line in with_tools.armored_key().splitlines())
        stanza += f"Signed-By:\n{key}"
    if suite != RELEASE:
        with_tools.publish("nowhere")
        (with_tools.folder / "dists" / RELEASE).rename(with_tools.folder / "dists" / "away")
    add_source(repository, stanza)
    try:
        packages = resolved(context, "greeter")
        assert [package.version for package in packages] == ["1.5", "2:3.1-4+b1"]
        (text,) = warned(events)
        assert text.startswith(f"the apt source http://127.0.0.1:{with_tools.port}/debian {why}")
        assert "it is skipped" in text
        events.clear()
        assert fetched(context, packages).keys() == {"greeter", "libgreet2"}  # with the lists that are there
        assert not warned(events)
    finally:
        if suite != RELEASE:
            (with_tools.folder / "dists" / "away").rename(with_tools.folder / "dists" / RELEASE)


def test_a_wrong_signature_is_no_reason_to_skip(
    repository: Repository, with_tools: Repository, context: Context, events: list[Event]
) -> None:
    key = "".join(f" {line or '.'}\n" for line in with_tools.armored_key().splitlines())
    add_source(repository, f"{with_tools.stanza()}Signed-By:\n{key}")
    release = with_tools.folder / "dists" / RELEASE / "InRelease"
    good = release.read_bytes()
    release.write_bytes(good.replace(b"Origin: Tools Inc", b"Origin: Debian"))
    try:
        with pytest.raises(SourceError, match="signature of Debian bookworm cannot be verified"):
            resolved(context, "greeter")
    finally:
        release.write_bytes(good)


def test_only_archives_of_others(repository: Repository, with_tools: Repository, context: Context) -> None:
    (repository.etc_apt / "sources.list.d/debian.sources").unlink()
    key = "".join(f" {line or '.'}\n" for line in with_tools.armored_key().splitlines())
    add_source(repository, f"{with_tools.stanza()}Signed-By:\n{key}")
    with pytest.raises(SourceError, match=r"none of the archives .* is Debian's .*debian-archive-keyring"):
        resolved(context, "greeter")


def test_a_configuration_of_its_own_for_a_machine_of_another_distribution(
    repository: Repository, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ubuntu = tmp_path / "ubuntu"
    ubuntu.mkdir()
    (ubuntu / "sources.list").write_text("deb http://127.0.0.1/ubuntu noble main\n")
    monkeypatch.setattr(archives, "ETC_APT", ubuntu)
    with pytest.raises(SourceError, match=r"no Debian archive .*debian-archive-keyring.* IMAGEBUILDER_APT"):
        resolved(context, "greeter")
    own = tmp_path / "apt-of-debian"  # as docs/recipe.md says
    own.mkdir()
    line = f"deb [signed-by={repository.keyring}] http://127.0.0.1:{repository.port}/debian {RELEASE} main\n"
    (own / "sources.list").write_text(line)
    monkeypatch.setenv("IMAGEBUILDER_APT", str(own))
    assert len(fetched(context, resolved(context, "greeter"))) == 2


def test_a_download_that_is_damaged_is_named_and_not_kept(repository: Repository, context: Context) -> None:
    packages = resolved(context, "greeter")
    deb = next((repository.folder / "pool").glob("greeter_*.deb"))
    good = deb.read_bytes()
    deb.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    try:
        with pytest.raises(SourceError, match=r"is damaged: .*greeter_1\.5_amd64\.deb"):
            fetched(context, packages)
    finally:
        deb.write_bytes(good)
    assert not any(context.store.has(package.sha256) for package in packages)
    assert not list((context.store.root / "scratch").iterdir())
    assert len(fetched(context, packages)) == 2


def test_a_version_that_the_archive_no_longer_has(repository: Repository, context: Context) -> None:
    packages = resolved(context, "greeter")
    deb = next((repository.folder / "pool").glob("greeter_*.deb"))
    away = deb.rename(repository.folder / "away")
    try:
        with pytest.raises(SourceError, match=r"no longer has .*greeter.*--refresh"):
            fetched(context, packages)
    finally:
        away.rename(deb)


def test_a_damaged_cache_entry_is_said_and_downloaded_again(
    repository: Repository, context: Context, events: list[Event]
) -> None:
    packages = resolved(context, "greeter")
    path = fetched(context, packages)["greeter"]
    path.write_bytes(b"damaged")
    events.clear()
    assert fetched(context, packages)["greeter"].read_bytes() != b"damaged"
    assert [event.text for event in events if isinstance(event, Warned) and "greeter is downloaded again" in event.text]
    assert not [event for event in events if isinstance(event, Warned) and "libgreet2" in event.text]


@pytest.mark.parametrize("damage", [b"", b"garbage" * 99, None], ids=["emptied", "overwritten", "a folder"])
def test_damaged_lists_are_said_and_fetched_anew(
    repository: Repository, context: Context, events: list[Event], damage: bytes | None
) -> None:
    packages = resolved(context, "greeter")
    (lists,) = (context.store.root / "apt").glob("*/lists")
    for path in [path for path in lists.iterdir() if path.is_file() and path.name != "lock"]:
        path.unlink()
        path.mkdir() if damage is None else path.write_bytes(damage)
    events.clear()
    assert len(fetched(context, packages)) == 2
    assert resolved(context, "greeter", refresh=True) == packages
    warned = [event.text for event in events if isinstance(event, Warned)]
    assert len(warned) == 1 and "they are fetched again" in warned[0]


def test_without_apt(repository: Repository, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "find", lambda tool: None)
    with pytest.raises(ToolMissing, match=r"apt-get is needed .*sudo apt-get install apt"):
        resolved(context, "greeter")


SAID = st.sampled_from(
    ["E: ", "\n", "404  Not Found", "Failed to fetch ", "Version '", "' for '", "' was not found", "x {y}"]
)


@given(st.one_of(st.text(), st.lists(SAID).map("".join)))
def test_whatever_apt_says_becomes_a_sentence(said: str) -> None:
    assert str(apt_says.explain(ToolFailed("apt-get failed", status=100, stderr=said), "bookworm"))


def test_lists_that_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    state = AptState(tmp_path / "cache" / "apt")
    for write in (partial(state.prepare, {}), partial(state.write, "updated", "")):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            write()
        assert caught.value.hint == "set IMAGEBUILDER_CACHE to another folder"
