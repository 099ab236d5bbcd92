"""What is ours around apt, without apt: names, keys, lines that are read, what is kept of a download."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from imagebuilder.errors import SourceError
from imagebuilder.events import Damaged, Event, Progress, Warned
from imagebuilder.sources import Context, apt
from imagebuilder.sources.apt import Apt, PackageRequest
from imagebuilder.sources.apt_says import UnknownFailure
from imagebuilder.sources.apt_state import SOURCES
from imagebuilder.sources.archives import NO_ARCHIVE, Stanza, sources_list
from imagebuilder.sources.kind import Package
from imagebuilder.store import sha256

CONTENTS = {"one": b"first", "two": b"second"}
REST = ("http://c/x", "http://d/x", "http://e/x")
PACKAGES = [Package(name, "1.0", sha256(content), len(content)) for name, content in CONTENTS.items()]


def of(context: Context) -> Apt:
    """apt with nothing in its folder."""
    return Apt("bookworm", context.store.root / "apt/x", (), context.store, context.say)


def test_all_of_a_download_is_kept_or_nothing(context: Context, tmp_path: Path) -> None:
    for name in CONTENTS:
        (tmp_path / f"{name}_1.0_amd64.deb").write_bytes(CONTENTS[name])
    (tmp_path / "two_1.0_amd64.deb").write_bytes(b"damaged")
    with pytest.raises(SourceError) as refused:
        of(context)._keep(PACKAGES, tmp_path)
    assert str(refused.value) == "the download of two 1.0 is damaged (try again, or check the mirror)"
    assert not any(context.store.has(package.sha256) for package in PACKAGES)
    (tmp_path / "two_1.0_amd64.deb").write_bytes(CONTENTS["two"])
    of(context)._keep(PACKAGES, tmp_path)
    assert [context.store.read(package.sha256) for package in PACKAGES] == [*CONTENTS.values()]


def test_a_wish_is_remembered_by_all_that_is_in_it() -> None:
    request = PackageRequest("bookworm", ("a", "b"))
    others = [
        replace(request, release="trixie"),
        replace(request, packages=("b", "a")),
        replace(request, packages=("a",)),
        replace(request, dependencies=False),
    ]
    assert (
        len({each.key for each in (request, *others)}) == 5
        and request.key == PackageRequest("bookworm", ("a", "b")).key
    )


@pytest.mark.parametrize(
    ("release", "package", "sentence"),
    [
        ("Bookworm", "a1", 'source.release: "Bookworm" is no name of a Debian release (such as bookworm)'),
        ("bookworm", "-oDir=/x", 'source.packages: "-oDir=/x" is no name of a package (name, or name=version)'),
        ("bookworm", "a1=1 2", 'source.packages: "a1=1 2" is no name of a package (name, or name=version)'),
    ],
)
def test_what_apt_would_take_for_something_else(context: Context, release: str, package: str, sentence: str) -> None:
    with pytest.raises(SourceError) as refused:
        apt.resolve(PackageRequest(release, (package,)), store=context.store, say=context.say)
    assert str(refused.value) == sentence
    apt._check(PackageRequest("bookworm", ("libstdc++6", "a1=2:1.0~rc1-1+b2")))


def test_what_apt_prints_of_a_package() -> None:
    lines = (
        "'http://a/pool/x.deb' libgreet2_2%3a3.1-4+b1_amd64.deb 1234 SHA256:" + "a" * 64,
        "'http://a/pool/y.deb' y_1_all.deb 5 SHA256:" + "b" * 64,
        "'http://a/pool/z.deb' z_1_all.deb 5 MD5Sum:" + "b" * 32,
        "Reading package lists...",
    )
    found = [apt._package(match) for match in apt.PRINTED.finditer("\n".join(lines))]
    assert found == [Package("libgreet2", "2:3.1-4+b1", "a" * 64, 1234), Package("y", "1", "b" * 64, 5)]


def test_percents_come_to_parts_of_the_whole(context: Context, events: list[Event]) -> None:
    say = of(context)._progress("name", 250)
    for percent in (0.0, 50.3, 100.0):
        say(percent)
    assert events == [Progress("name", done, 250) for done in (0, 125, 250)]
    assert (match := apt.STATUS.match("dlstatus:1:50.3000:Retrieving")) and match["percent"] == "50.3000"


class Told(Apt):
    """Whose apt says so of its archives."""

    def _run(self, argv: Sequence[str], **_more: object) -> str:
        assert list(argv) == ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(ORIGIN)", "Created-By: Packages"]
        return "http://a/debian/|Debian\nhttp://b/debian|Debian Backports\nhttp://c/x|Tools | Inc\nhttp://d/x|\n"


def test_whose_an_archive_is_says_its_release_file(context: Context, events: list[Event]) -> None:
    a, b, c, d, unknown = (Stanza("", (uri,), False) for uri in ("http://a/debian", "http://b/debian/", *REST))
    certain = Stanza("", ("http://c/x",), True)
    told = Told("bookworm", context.folder, (), context.store, context.say)
    assert told._debian_of([certain]) == [certain], "nothing is asked"
    assert list(told._debian_of([a, b, c, d, unknown, certain])) == [a, b, unknown, certain]
    assert [event.text for event in events if isinstance(event, Warned)] == [
        "the apt source http://c/x is of Tools | Inc, not of Debian: it is skipped",
        "the apt source http://d/x is of unknown origin (its Release file has no Origin), not of Debian: it is skipped",
    ]
    with pytest.raises(SourceError, match="none of the archives that apt is configured for is Debian's") as refused:
        Told("bookworm", context.folder, (), context.store, context.say)._debian_of([c, d])
    assert refused.value.hint == NO_ARCHIVE


def test_what_fails_for_no_known_reason_is_tried_once_more_with_new_lists(
    context: Context, events: list[Event]
) -> None:
    stanza = Stanza("deb http://a/debian bookworm main", ("http://a/debian",), True)
    apt = Apt("bookworm", context.store.root / "apt/x", (stanza,), context.store, context.say)
    apt.state.prepare({"status": ""})
    old = apt.folder / "lists/a_Packages"
    old.write_bytes(b"damaged")

    def work(*, fails: int) -> str:
        listed = apt.folder / SOURCES
        tried.append((old.exists(), listed.read_text() if listed.exists() else ""))
        if len(tried) <= fails:
            raise UnknownFailure("apt-get failed: odd")
        return "done"

    tried: list[tuple[bool, str]] = []
    assert apt.whole(partial(work, fails=0)) == "done" and not events
    tried.clear()
    assert apt.whole(partial(work, fails=1)) == "done"
    assert [exists for exists, _ in tried] == [True, False] and tried[1][1] == sources_list([stanza])
    assert events == [Damaged("apt-get failed: odd: its package lists are fetched again")]
    tried.clear()
    with pytest.raises(UnknownFailure):
        apt.whole(partial(work, fails=2))
    assert len(tried) == 2
