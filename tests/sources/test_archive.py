"""Archives as a source: what tar, zip and unzip say is in them, and nothing of those that would write elsewhere."""

import bz2
import io
import os
import stat
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from imagebuilder import tarball
from imagebuilder.errors import SourceError
from imagebuilder.events import Event, Note
from imagebuilder.sources import Context, archive, zipped
from imagebuilder.sources.archive import ArchiveSource
from imagebuilder.store import sha256_file
from imagebuilder.tree import Blob, Kind, Node
from tests.examples import examples

from .provided import provided
from .test_deb import GOOD, tar

SEVERAL = [
    ("app-1.2/", tarfile.DIRTYPE, ""),
    ("app-1.2/README", tarfile.REGTYPE, "read me"),
    ("app-1.2/bin/app", tarfile.REGTYPE, "#!/bin/sh\n"),
    ("app-1.2/bin/other", tarfile.SYMTYPE, "app"),
    ("app-1.2/bin/same", tarfile.LNKTYPE, "app-1.2/bin/app"),
]


def source(**values: object) -> ArchiveSource:
    return ArchiveSource.model_validate({"type": "archive", "path": "app.tar", **values})


def zip_of(entries: Sequence[tuple[str, str, int]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Entries of name, content and st_mode."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, text, st_mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = st_mode << 16
            info.create_system = zipped.UNIX if st_mode else 0
            made.writestr(info, text, method)
    return stream.getvalue()


ZIPPED = zip_of(
    [
        ("app-1.2/", "", stat.S_IFDIR | 0o750),
        ("app-1.2/bin/app", "#!/bin/sh\n", stat.S_IFREG | 0o755),
        ("app-1.2/bin/other", "app", stat.S_IFLNK | 0o777),
        ("app-1.2/plain", "of no Unix", 0),
    ]
)


def read(data: bytes) -> dict[str, Node]:
    return archive.read(io.BytesIO(data), "odd.x", Blob.of_content)


def refusal(data: bytes) -> str:
    with pytest.raises(SourceError) as refused:
        read(data)
    assert "\n" not in refused.value.message
    return refused.value.message


# Accepts


@pytest.mark.tools
@pytest.mark.parametrize("options", ["--gzip", "--xz", "--zstd", "--bzip2", "--no-auto-compress", "--format=v7"])
def test_an_archive_of_tar_reads_as_it_was_packed(context: Context, options: str) -> None:
    made = context.folder / "made/app-1.2"
    (made / "bin").mkdir(parents=True)
    (made / "bin/app").write_text("#!/bin/sh\n")
    (made / "bin/app").chmod(0o751)
    (made / "bin/link").symlink_to("/etc/app.conf")
    os.link(made / "bin/app", made / "bin/same")
    (made / "empty").mkdir()
    words = ["tar", "--create", options, "--mtime=@1700000000", "--owner=1000", "--group=100"]
    subprocess.run([*words, "--file", context.folder / "app.tar", "app-1.2"], cwd=context.folder / "made", check=True)
    layer = provided(source(strip=1, target="/opt/app"), context)
    assert {*layer.origins} == {f"/opt/app/{name}" for name in ("bin", "bin/app", "bin/link", "bin/same", "empty")}
    app = layer.tree["/opt/app/bin/app"]
    assert (app.mode, app.uid, app.gid, app.mtime_s) == (0o751, 0, 0, 1_700_000_000)
    assert app.content.read() == b"#!/bin/sh\n"
    assert layer.tree["/opt/app/bin/same"] == app
    assert layer.tree["/opt/app/bin/link"].target == "/etc/app.conf"
    assert layer.tree["/opt/app/empty"].kind is Kind.DIRECTORY
    assert {*layer.origins.values()} == {"app.tar"}
    assert not layer.slim, "all of an archive is meant"


@pytest.mark.tools
def test_an_archive_of_zip_reads_as_it_was_packed(context: Context) -> None:
    made = context.folder / "made"
    (made / "bin").mkdir(parents=True)
    (made / "bin/app").write_bytes(b"\x7fELF" * 1000)
    (made / "bin/app").chmod(0o750)
    (made / "bin/link").symlink_to("app")
    subprocess.run(["zip", "-q", "-r", "-y", context.folder / "app.zip", "."], cwd=made, check=True)
    layer = provided(source(path="app.zip"), context)
    assert layer.tree["/bin/app"].mode == 0o750
    assert layer.tree["/bin/app"].content.read() == (made / "bin/app").read_bytes()
    assert layer.tree["/bin/link"].target == "app"
    assert {*layer.tree} == {"/", "/bin", "/bin/app", "/bin/link"}


def test_zip_and_its_modes() -> None:
    nodes = read(ZIPPED)
    assert (nodes["/app-1.2"].mode, nodes["/app-1.2/bin/app"].mode) == (0o750, 0o755)
    assert (nodes["/app-1.2/plain"].mode, nodes["/app-1.2/plain"].mtime_s) == (0o644, None)
    assert nodes["/app-1.2/bin/other"].target == "app"
    assert read(zip_of([])) == {}


def test_extended_attributes_are_kept_and_owners_are_not(context: Context, events: list[Event]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as made:
        info = tarfile.TarInfo("ping")
        info.uid, info.gid, info.mode = 1000, 100, 0o4755
        info.pax_headers = {"SCHILY.xattr.security.capability": "odd"}
        made.addfile(info)
    (context.folder / "app.tar").write_bytes(stream.getvalue())
    layer = provided(source(target="/bin", owner="33:33"), context)
    node = layer.tree["/bin/ping"]
    assert (node.uid, node.gid, node.mode, node.xattrs) == (0, 0, 0o4755, (("security.capability", b"odd"),))
    assert layer.owned((33, 33)).tree["/bin/ping"].uid == 33 and layer.owner == "33:33"
    told = [event.text for event in events if isinstance(event, Note)]
    assert told == ["app.tar: what is of 1 other owners in it is 33:33's in the image"]


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        ({}, ["/app-1.2", "/app-1.2/README", "/app-1.2/bin/app", "/app-1.2/bin/other", "/app-1.2/bin/same"]),
        ({"strip": 1}, ["/README", "/bin/app", "/bin/other", "/bin/same"]),
        ({"strip": 2}, ["/app", "/other", "/same"]),
        ({"folder": "app-1.2/bin"}, ["/app", "/other", "/same"]),
        ({"strip": 1, "folder": "./bin/", "target": "/usr/bin"}, [f"/usr/bin/{n}" for n in ("app", "other", "same")]),
    ],
)
def test_strip_folder_and_target(context: Context, words: dict[str, object], paths: list[str]) -> None:
    (context.folder / "app.tar").write_bytes(tar(SEVERAL))
    layer = provided(source(**words), context)
    assert [*layer.origins] == paths
    assert all(layer.tree[path] for path in paths)


def test_what_the_bill_of_materials_knows_of_it(context: Context) -> None:
    (context.folder / "app.tar").write_bytes(tar(SEVERAL))
    digest = sha256_file(context.folder / "app.tar")
    (material,) = provided(source(licence="MIT"), context).materials.values()
    assert (material.name, material.licences, material.sha256) == ("app.tar", ("MIT",), digest)
    assert material.purl == f"pkg:generic/app.tar?checksum=sha256:{digest}"


def test_the_key_is_what_is_in_it(context: Context) -> None:
    (context.folder / "app.tar").write_bytes(tar(SEVERAL))
    (context.folder / "b.tar").write_bytes(tar(SEVERAL))
    digest = sha256_file(context.folder / "app.tar")
    one = archive.resolve(source(), context).key
    assert one == archive.resolve(source(path="b.tar", sha256=digest), context).key
    assert one == {**one, "sha256": digest}
    assert one != archive.resolve(source(strip=1), context).key
    assert one != archive.resolve(source(owner="33"), context).key
    by_url = {"path": None, "url": "https://example.org/app.tar", "sha256": digest}
    assert one == archive.resolve(source(**by_url), context).key


# Refuses


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"path": None}, "expected exactly one of url, path, found none"),
        ({"url": "https://a.example/x", "sha256": "0" * 64}, "expected exactly one of url, path, found url and path"),
        ({"path": None, "url": "https://a.example/x.tar"}, "what is downloaded needs its sha256"),
        ({"path": None, "url": "http://a.example/x", "sha256": "0" * 64}, "plain HTTP is taken of 127.0.0.1"),
        ({"path": None, "url": "ftp://a.example/x", "sha256": "0" * 64}, "expected a URL of https"),
        ({"path": None, "url": "https://[", "sha256": "0" * 64}, "expected a URL of https"),
        ({"sha256": "0" * 63}, "String should match pattern"),
        ({"strip": -1}, "greater than or equal to 0"),
        ({"folder": "../x"}, "expected a path beside the recipe"),
    ],
)
def test_what_a_recipe_may_not_say(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        source(**values)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sha256": "0" * 64}, "^app.tar has the sha256 .*, and the recipe expects 0000"),
        ({"strip": 3}, r"^nothing is left of app\.tar with its folder and strip = 3$"),
        ({"strip": 1, "folder": "bim"}, r'^app\.tar has no folder "bim" \(did you mean "bin"\?\)$'),
        ({"strip": 1, "folder": "README"}, r"^nothing is left of app\.tar"),
    ],
)
def test_what_an_archive_lacks(context: Context, values: dict[str, object], said: str) -> None:
    (context.folder / "app.tar").write_bytes(tar(SEVERAL))
    with pytest.raises(SourceError, match=said):
        provided(source(**values), context)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("a/x", "1"), ("b/x", "2")], "odd.tar has two files that are x with strip = 1"),
        ([("a/x", "1"), ("b/x/y", "2")], "odd.tar has a file and a folder that are x with strip = 1"),
    ],
)
def test_two_that_stripping_puts_at_one_place(members: list[tuple[str, str]], said: str) -> None:
    nodes = read(tar([(name, tarfile.REGTYPE, text) for name, text in members]))
    with pytest.raises(SourceError, match=f"^{said}$"):
        archive.shaped(nodes, source(strip=1), "odd.tar")


@pytest.mark.parametrize(
    "data",
    [
        tar([("../up", tarfile.REGTYPE, "x")]),
        tar([("/etc/passwd", tarfile.REGTYPE, "x")]),
        tar([("a", tarfile.SYMTYPE, "/etc"), ("a/passwd", tarfile.REGTYPE, "x")]),
        zip_of([("../up", "x", 0)]),
        zip_of([("a/../../up", "x", 0)]),
        zip_of([("/etc/passwd", "x", 0)]),
        zip_of([("a", "/etc", stat.S_IFLNK | 0o777), ("a/passwd", "x", 0)]),
        zip_of([("a/b", "x", 0), ("a", "x", 0)]),
    ],
)
def test_what_would_be_written_elsewhere(data: bytes) -> None:
    assert "would be written outside its place in the image" in refusal(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "odd.x is no tar or zip archive, or a damaged one: empty file"),
        (b"hello, world" * 100, "odd.x is no tar or zip archive, or a damaged one: "),
        (b"\x1f\x8bodd", "odd.x is no tar or zip archive, or a damaged one: "),
        (ZIPPED[:-4], "odd.x is no zip archive, or a damaged one: "),
        (
            zip_of([("a", "content", 0)], zipfile.ZIP_STORED).replace(b"content", b"c0ntent"),
            "odd.x is no zip archive, or a damaged one: Bad CRC-32 for file 'a'",
        ),
        (zip_of([("a", "", stat.S_IFCHR | 0o600)]), "odd.x is refused: 'a' is of a kind that is not taken"),
        (zip_of([("a", "", stat.S_IFLNK | 0o777)]), "odd.x is refused: 'a' is a link to nothing that there can be"),
        (zip_of([("a", "x\0y", stat.S_IFLNK | 0o777)]), "odd.x is refused: 'a' is a link to nothing that there can be"),
        (zip_of([("a", "x", 0)], zipfile.ZIP_BZIP2), "odd.x is refused: 'a' is packed by a method that is not taken"),
        (zip_of([("a/./b", "1", 0), ("a/b", "2", 0)]), "odd.x is refused: it has 'a/b' twice"),
        (zip_of([("x" * 4097, "", 0)]), "odd.x is refused: a path in it has more than 4,096 characters"),
    ],
)
def test_what_is_no_archive_or_one_that_is_not_taken(data: bytes, said: str) -> None:
    assert refusal(data).startswith(said)


@pytest.mark.tools
def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("secret" * 10)
    subprocess.run(["zip", "-q", "-P", "word", "a.zip", "a"], cwd=tmp_path, check=True)
    assert refusal((tmp_path / "a.zip").read_bytes()) == "odd.x is refused: 'a' is encrypted"


# Bombs


def test_a_bomb_of_tar() -> None:
    big = io.BytesIO()
    with bz2.open(big, "wb") as stream:
        info = tarfile.TarInfo("a")
        info.size = 100 << 20
        stream.write(info.tobuf())
        for _ in range(100):
            stream.write(bytes(1 << 20))
    assert refusal(big.getvalue()).startswith("odd.x is refused: it unpacks to more than ")


def test_a_bomb_of_zip_is_refused_for_what_it_declares_and_cut_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zip_of([("a", "x" * 1_000_000, 0), ("b", "y" * 1_000_000, 0)])
    monkeypatch.setattr(tarball, "MOST_BYTES", 1_999_999)
    assert refusal(data) == "odd.x is refused: it unpacks to more than 1,999,999 bytes"
    liar = data.replace(struct.pack("<L", 1_000_000), struct.pack("<L", 10))
    said = refusal(liar)  # the content is longer than it says: its checksum does not match
    assert said.startswith("odd.x is no zip archive, or a damaged one: ")


def test_entries_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zip_of([(f"f{number}", "", 0) for number in range(10)])
    monkeypatch.setattr(tarball, "MOST_MEMBERS", 10)
    assert len(read(data)) == 10
    monkeypatch.setattr(tarball, "MOST_MEMBERS", 9)
    assert refusal(data) == "odd.x is refused: it has more files, or longer names, than are taken"
    monkeypatch.setattr(zipped, "MOST_DIRECTORY_BYTES", 100)
    assert "its list of entries has " in refusal(data)


def test_large_entries_go_over_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes | Path] = []

    def keep(content: bytes | Path) -> Blob:
        given.append(content)
        return Blob.of_content(content)

    monkeypatch.setattr(tarball, "LARGE_BYTES", 5)
    nodes = archive.read(io.BytesIO(zip_of([("small", "12345", 0), ("large", "123456", 0)])), "odd.x", keep)
    assert given[0] == b"12345" and isinstance(given[1], Path) and not given[1].exists()
    assert nodes["/large"].content.read() == b"123456"


# Anything


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from((ZIPPED, tar(GOOD), tar(SEVERAL))),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=6),
)
def test_whatever_is_damaged_is_read_or_refused(data: bytes, damage: list[tuple[int, int]]) -> None:
    changed = bytearray(data)
    for place, value in damage:
        changed[place % len(changed)] = value
    try:
        nodes = read(bytes(changed))
    except SourceError as error:
        assert "\n" not in error.message
    else:
        assert all(path.startswith("/") and ".." not in path.split("/") for path in nodes)
