"""Which archives the machine is configured for, and the list made from them for another release."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.errors import SourceError
from imagebuilder.sources import archives
from imagebuilder.sources.archives import Entry, parse_lines, parse_stanzas, read, sources_list, stanzas_for

NO_KEYRING = Path("/nonexistent")


def sources_for(release: str, entries: Iterable[Entry], *, keyring: Path) -> str:
    return sources_list(stanzas_for(release, entries, keyring=keyring))


ONE_LINE = """\
# a comment
deb http://mirror.example/debian bookworm main contrib  # and another
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64,i386 signed-by=/keys/debian-archive-keyring.gpg] http://mirror.example/sec bookworm-security main
deb [ trusted=yes ] http://mirror.example/debian bookworm-updates main
deb cdrom:[Debian GNU/Linux 12] bookworm main
deb https://tools.example/linux bookworm stable
deb [signed-by=/usr/share/keyrings/tools.gpg] https://tools.example/debian bookworm main
"""

DEB822 = """\
Types: deb deb-src
# a comment within
URIs: mirror+file:///etc/apt/mirrors/debian.list
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free-firmware
Check-Valid-Until: no
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEZ
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Enabled: no

Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
Architectures: arm64
"""


def test_a_list_in_lines_becomes_one_for_another_release() -> None:
    debian = [entry for entry in parse_lines(ONE_LINE) if entry.may_be_debian]
    assert sources_for("trixie", debian, keyring=NO_KEYRING) == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main contrib\n"
        "Architectures: amd64\n"
        "\n"
        "Types: deb\nURIs: http://mirror.example/sec\nSuites: trixie-security\nComponents: main\nArchitectures: amd64\n"
        "Signed-By: /keys/debian-archive-keyring.gpg\n"
        "\n"
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie-updates\nComponents: main\n"
        "Architectures: amd64\n"
    )


def test_a_list_in_stanzas_keeps_its_key_and_leaves_out_what_is_off() -> None:
    debian = [entry for entry in parse_stanzas(DEB822) if entry.may_be_debian]
    assert sources_for("bullseye", debian, keyring=NO_KEYRING) == (
        "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: bullseye bullseye-updates\n"
        "Components: main non-free-firmware\nArchitectures: amd64\n"
        "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEZ\n -----END PGP PUBLIC KEY BLOCK-----\n"
        "Check-Valid-Until: no\n"
    )


def test_a_rolling_release_has_no_branches() -> None:
    line = "deb http://mirror.example/debian bookworm-security main\ndeb http://mirror.example/debian bookworm main\n"
    text = sources_for("sid", parse_lines(line), keyring=NO_KEYRING)
    assert [row for row in text.splitlines() if row.startswith("Suites")] == ["Suites: sid"]


def test_without_a_key_of_its_own_the_keyring_of_the_machine_counts(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    text = sources_for("bookworm", parse_lines("deb http://mirror.example/debian bookworm main"), keyring=keyring)
    assert f"Signed-By: {keyring}\n" in text


def test_both_kinds_of_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example/debian bookworm main\n")
    (tmp_path / "sources.list.d/two.list").write_text("deb http://two.example/debian bookworm main\n")
    stanza = "Types: deb\nURIs: http://three.example/debian\nSuites: bookworm\nComponents: main\n"
    (tmp_path / "sources.list.d/three.sources").write_text(stanza)
    (tmp_path / "sources.list.d/four.sources.off").write_text(stanza)
    hosts = [uri.split("/")[2] for entry in read(tmp_path) for uri in entry.uris]
    assert sorted(hosts) == ["one.example", "three.example", "two.example"]


@pytest.mark.parametrize("text", ["", "deb https://tools.example/linux bookworm stable\n", "nonsense\n"])
def test_no_debian_archive_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "sources.list").write_text(text)
    with pytest.raises(SourceError, match="no Debian archive is configured"):
        read(tmp_path)


PIECES = st.sampled_from(
    [
        *[
            "deb",
            "deb-src",
            "[",
            "]",
            "arch=amd64",
            "http://a/debian",
            "bookworm",
            "bookworm-security",
            "main",
            "#",
            "=",
            "é",
            ".",
        ],
        *["Types:", "URIs:", "Suites:", "Components:", "Signed-By:", "Enabled:"],
        *("#", "=", "é", ".", " ", "\n", "\n\n", "\t", "\x00"),
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join)))
def test_any_text_is_read_without_complaint_and_gives_a_list_that_reads_as_itself(text: str) -> None:
    for entries in (list(parse_lines(text)), list(parse_stanzas(text))):
        made = sources_for("trixie", [entry for entry in entries if entry.may_be_debian], keyring=NO_KEYRING)
        again = list(parse_stanzas(made))
        assert len(again) == made.count("Types: deb\n")
        assert all(suite.startswith("trixie") for entry in again for suite in entry.suites)


def test_this_machine_has_a_configuration() -> None:
    if not archives.ETC_APT.is_dir():
        pytest.skip("no apt here")
    assert all(entry.uris for entry in read())
