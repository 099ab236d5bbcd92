"""Every bound of a package at its edge: just as much is read, one more is refused, in a sentence. The control files."""

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from imagebuilder import tarball
from imagebuilder.errors import OutputError, SourceError
from imagebuilder.sources import deb
from imagebuilder.tree import Blob, Kind, Node

from .test_deb import GOOD, ar, package, read, tar

DEEP = "./a/b/c"


def pax(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """An archive of these members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **values: object) -> tarfile.TarInfo:
    """A member's header."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in values.items():
        setattr(info, key, value)
    return info


def refusal(data: bytes) -> str:
    """The sentence of a package that is refused."""
    with pytest.raises(SourceError) as refused:
        read(data)
    return str(refused.value)


def edge(monkeypatch: pytest.MonkeyPatch, bound: str, most: int, data: bytes, sentence: str) -> None:
    """Up to ``most`` it is read; with one less it is refused."""
    monkeypatch.setattr(tarball, bound, most)
    assert read(data)
    monkeypatch.setattr(tarball, bound, most - 1)
    assert refusal(data) == f"odd.deb is refused: {sentence}"


def test_members_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    edge(monkeypatch, "MOST_MEMBERS", 6, package(GOOD), "it has more files, or longer names, than are taken")


def test_names_are_counted_with_the_folders_above_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of 7 characters and 4 parts: 7 * 5 // 2; of 4 and 2: 4 * 3 // 2. Links and attributes as they are,
    with their names."""
    link = member("./l", tarfile.SYMTYPE, linkname="there")
    rich = member(DEEP, pax_headers={"SCHILY.xattr.user.a": "12345"})
    data = ar({"data.tar": pax((rich, b""), (link, b""))})
    most = 7 * 5 // 2 + len("SCHILY.xattr.user.a") + 5 + 3 * 3 // 2 + 5
    edge(monkeypatch, "MOST_NAMES_BYTES", most, data, "it has more files, or longer names, than are taken")


@pytest.mark.parametrize("long", [member("x" * 30), member("x", tarfile.SYMTYPE, linkname="y" * 30)])
def test_paths_have_a_length(monkeypatch: pytest.MonkeyPatch, long: tarfile.TarInfo) -> None:
    data = ar({"data.tar": pax((long, b""))})
    edge(monkeypatch, "LONGEST_PATH_BYTES", 30, data, "a path in it has more than 29 characters")


def test_what_it_unpacks_to_has_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tar([("./a", tarfile.REGTYPE, "x" * 40_000)])
    data = ar({"data.tar.gz": gzip.compress(plain, mtime=0)})
    sentence = f"it unpacks to more than {len(plain) - 1:,} bytes"
    edge(monkeypatch, "MOST_BYTES", len(plain), data, sentence)
    monkeypatch.setattr(tarball, "MOST_BYTES", 1 << 30)
    monkeypatch.setattr(tarball, "MOST_FOLD", 3)
    edge(monkeypatch, "MOST_BYTES_BESIDE", len(plain) - 3 * len(data), data, sentence)


def test_a_further_header_has_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = package([("./" + "x" * 198, tarfile.REGTYPE, "content" * 90)])
    monkeypatch.setattr(tarball, "MOST_HEADER_BYTES", 201)  # the name, and a NUL
    assert read(data)
    monkeypatch.setattr(tarball, "MOST_HEADER_BYTES", 200)
    assert refusal(data) == "odd.deb is no Debian package, or a damaged one: a header of 201 bytes"
    assert read(package([("./x", tarfile.REGTYPE, "content" * 90)])), "a file may be larger than that"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"odd", "it does not begin as one"),
        (ar({"debian-binary": b"2.0\n"}), "it has no data.tar"),
        (ar({"debian-binary": b"2.0\n"}).replace(b"`\n", b"!\n"), "a member's header is wrong"),
        (ar({"debian-binary": b"2.0\n"}).replace(b"4         `", b"-1        `"), "a member's header is wrong"),
        (ar({"data.tar.lzma": b""}), "it has no data.tar"),
        (ar({"old.data.tar": tar(GOOD)}), "it has no data.tar"),
    ],
)
def test_why_it_is_no_package(data: bytes, why: str) -> None:
    assert refusal(data) == f"odd.deb is no Debian package, or a damaged one: {why}"


@pytest.mark.parametrize("before", [{}, {"empty": b""}, {"one": b"1"}, {"odd": b"123", "even": b"1234"}])
@pytest.mark.parametrize("name", ["data.tar", "data.tar/"])
def test_members_before_are_passed_over(before: dict[str, bytes], name: str) -> None:
    assert read(ar({**before, name: tar(GOOD)})) == read(package(GOOD))


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
@pytest.mark.parametrize("length", range(4))
def test_what_follows_the_files_is_none_of_theirs(suffix: str, pack: Callable[[bytes], bytes], length: int) -> None:
    """Padding where the size is odd, a signature; also where the archive is not filled up to a record of tar's."""
    plain = tar([*GOOD, ("./usr/share", tarfile.REGTYPE, "." * length)])
    packed = pack(plain.rstrip(b"\0").ljust(len(plain) - len(plain) % 10240 - 10240 + 6144, b"\0"))
    alone, signed = {f"data.tar{suffix}": packed}, {f"data.tar{suffix}": packed, "_gpgorigin": b"signature"}
    assert read(ar(alone)) == read(ar(signed)) == read(ar({"data.tar": plain}))


@pytest.mark.parametrize(("inside", "cut"), [("a" * 700, 600), ("", 300)])
def test_a_member_that_is_cut_off(inside: str, cut: int) -> None:
    whole = tar([("./a", tarfile.REGTYPE, inside)])[: 512 + len(inside) // 512 * 512]
    assert "is no Debian package, or a damaged one" in refusal(ar({"data.tar": whole[:cut]}))


def test_nodes_have_all_that_the_member_says() -> None:
    headers = {"SCHILY.xattr.user.b": "\udcff", "comment": "no", "SCHILY.xattr.user.a": "SCHILY.xattr."}
    rich = member("./a b/f", uid=7, gid=8, mode=0o104755, mtime=9.5, pax_headers=headers)
    members = [
        (member("./a b", tarfile.DIRTYPE, mode=0o1777), b""),
        (rich, b"content"),
        (member("./a b/h", tarfile.LNKTYPE, linkname="./a b/f"), b""),
        (member("./l", tarfile.SYMTYPE, linkname="a b/f", mode=0o644), b""),
        (member("./c", tarfile.CHRTYPE, devmajor=5, devminor=1), b""),
        (member("./b", tarfile.BLKTYPE, devmajor=8, devminor=3), b""),
        (member("./z", tarfile.CHRTYPE, devmajor=0, devminor=0), b""),
        (member("./p", tarfile.FIFOTYPE, devmajor=8, devminor=3), b""),
    ]
    nodes = read(ar({"data.tar": pax(*members)}))
    kept = Node(
        *(Kind.FILE, 0o4755, 7, 8, 9),
        content=Blob.of(b"content"),
        xattrs=(("user.a", b"SCHILY.xattr."), ("user.b", b"\xff")),
    )
    assert nodes["/a b/f"] == nodes["/a b/h"] == kept
    assert nodes["/a b"].mode == 0o1777
    assert (nodes["/l"].mode, nodes["/l"].target) == (0o777, "a b/f")
    assert [nodes[path].device for path in ("/c", "/b", "/z", "/p")] == [(5, 1), (8, 3), (0, 0), Node(Kind.FIFO).device]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"uid": 2**32 - 1}, "'./a' has an owner or a time that no file can have"),
        ({"gid": 2**32 - 1}, "'./a' has an owner or a time that no file can have"),
        ({"mtime": 2**33}, "'./a' has an owner or a time that no file can have"),
        ({"type": tarfile.CONTTYPE}, "'./a' is of a kind that is not taken"),
    ],
)
def test_what_no_file_has(values: dict[str, object], sentence: str) -> None:
    assert refusal(ar({"data.tar": pax((member("./a", **values), b""))})) == f"odd.deb is refused: {sentence}"  # type: ignore[arg-type]
    assert read(ar({"data.tar": pax((member("./a", uid=2**32 - 2, gid=2**32 - 2, mtime=2**33 - 1), b""))}))


def test_a_name_with_a_nul_is_none() -> None:
    data = ar({"data.tar": pax((member("./a", pax_headers={"path": "./a\0b"}), b""))})
    assert "'./a\\x00b' would be written outside its place" in refusal(data)


def test_only_what_stands_in_the_way_of_a_file_is_refused() -> None:
    """A folder may come again, and after its files; a name may have a NUL's neighbours."""
    nodes = read(
        package([("./a/b", tarfile.REGTYPE, "x"), ("./a", tarfile.DIRTYPE, ""), ("./00", tarfile.REGTYPE, "")])
    )
    assert set(nodes) == {"/a", "/a/b", "/00"}
    assert "outside its place" in refusal(package([("./a/b/c", tarfile.REGTYPE, "x"), ("./a/b", tarfile.REGTYPE, "")]))


def test_a_large_file_is_given_as_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[bytes | Path] = []

    def keep(content: bytes | Path) -> Blob:
        given.append(content)
        assert isinstance(content, bytes) or content.read_bytes() == b"123456", "whole"
        return Blob.of_content(content)

    monkeypatch.setattr(tarball, "LARGE_BYTES", 5)
    data = package([("./small", tarfile.REGTYPE, "12345"), ("./large", tarfile.REGTYPE, "123456")])
    deb.read(io.BytesIO(data), "odd.deb", keep)
    small, large = given
    assert small == b"12345" and isinstance(large, Path) and large.name.startswith("imagebuilder-")
    assert not large.exists()
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(tarball, "NamedTemporaryFile", lambda **_: full)
        with pytest.raises(OutputError, match=r"^/dev/full cannot be written: No space left on device"):
            read(data)


@pytest.mark.parametrize("bound", [1, 1 << 20])
def test_a_file_that_is_cut_off_is_not_kept(monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    monkeypatch.setattr(tarball, "LARGE_BYTES", bound)
    whole = tar([("./a", tarfile.REGTYPE, "x" * 700)])[: 512 + 600]
    assert "odd.deb is no Debian package, or a damaged one: " in refusal(ar({"data.tar": whole}))


CONTROL: list[tuple[str, bytes, str]] = [
    ("./", tarfile.DIRTYPE, ""),
    ("./control", tarfile.REGTYPE, "Package: odd"),
    ("./postinst", tarfile.REGTYPE, "#!/bin/sh\n"),
    ("templates", tarfile.REGTYPE, "Template: odd"),
]


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress)])
def test_the_control_files_that_count(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "odd.deb"
    path.write_bytes(ar({"debian-binary": b"2.0\n", f"control.tar{suffix}": pack(tar(CONTROL)), "data.tar": b""}))
    assert deb.control(path) == {"postinst": "#!/bin/sh\n", "templates": "Template: odd"}


def test_control_files_that_do_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "odd.deb"
    no_files = [("./postinst", tarfile.SYMTYPE, "/etc/passwd"), ("./sub/postinst", tarfile.REGTYPE, "x")]
    path.write_bytes(ar({"control.tar": tar(no_files)}))
    assert deb.control(path) == {}
    monkeypatch.setattr(deb, "LONGEST_CONTROL_BYTES", 10)
    path.write_bytes(ar({"control.tar": tar(CONTROL)}))
    assert deb.control(path) == {"postinst": "#!/bin/sh\n"}
    latin = pax((member("postinst"), b"caf\xe9"))
    assert deb.read_control(io.BytesIO(ar({"control.tar": latin})), "odd.deb") == {"postinst": "caf\udce9"}
    path.write_bytes(ar({"data.tar": tar(GOOD)}))
    with pytest.raises(SourceError, match=r"^odd\.deb is no Debian package, or a damaged one: it has no control\.tar$"):
        deb.control(path)
    monkeypatch.setattr(tarball, "MOST_MEMBERS", 3)
    path.write_bytes(ar({"control.tar": tar(CONTROL)}))
    with pytest.raises(SourceError, match=r"^odd\.deb is refused: "):
        deb.control(path)


def test_errors_of_a_file_name_it(tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(b"")
    with pytest.raises(SourceError, match=r"^a\.deb is no Debian package"):
        deb.unpack(tmp_path / "a.deb", Blob.of_content)
    (tmp_path / "a.deb").write_bytes(package(GOOD))
    assert deb.unpack(tmp_path / "a.deb", Blob.of_content) == read(package(GOOD))


# One file of a package


def test_one_file_is_written(tmp_path: Path) -> None:
    data = pax((member("./usr/src"), b"x"), (member("./usr/src/linux.tar"), b"content"), (member("./usr/z"), b"z"))
    (tmp_path / "odd.deb").write_bytes(ar({"data.tar": data}))
    deb.extract(tmp_path / "odd.deb", "/usr/src/linux.tar", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"content"
    with pytest.raises(SourceError, match=r"odd\.deb has no /usr/src/other\.tar"):
        deb.extract(tmp_path / "odd.deb", "/usr/src/other.tar", tmp_path / "target")


def test_one_file_is_bounded_as_all_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarball, "MOST_BYTES_BESIDE", 1 << 20)
    packed = lzma.compress(pax((member("./linux.tar"), bytes(256 << 20))))
    (tmp_path / "odd.deb").write_bytes(ar({"data.tar.xz": packed}))
    with pytest.raises(SourceError, match=r"odd\.deb is refused: it unpacks to more than"):
        deb.extract(tmp_path / "odd.deb", "/linux.tar", tmp_path / "target")
    assert (tmp_path / "target").stat().st_size <= (1 << 20) + 100 * len(packed)
    (tmp_path / "odd.deb").write_bytes(ar({"data.tar.xz": packed[:-200]}))
    with pytest.raises(SourceError, match=r"odd\.deb is (refused|no Debian package, or a damaged one)"):
        deb.extract(tmp_path / "odd.deb", "/linux.tar", tmp_path / "target")


LINK, DEVICE = tarfile.SYMTYPE, tarfile.CHRTYPE


@pytest.mark.parametrize(
    ("fits", "odd", "sentence"),
    [
        ({"kind": LINK, "linkname": "a" * 4095}, {"kind": LINK, "linkname": "é" * 2048}, "is a link to nothing that"),
        ({"kind": LINK, "linkname": "a"}, {"kind": LINK}, "is a link to nothing that a path can be"),
        ({}, {"kind": LINK, "pax_headers": {"linkpath": "a\0b"}}, "is a link to nothing that a path can be"),
        (
            {"kind": DEVICE, "devmajor": 2**12 - 1, "devminor": 2**20 - 1},
            {"kind": DEVICE, "devmajor": 2**12},
            "is a device of a number that none has",
        ),
        ({}, {"kind": tarfile.BLKTYPE, "devminor": 2**20}, "is a device of a number that none has"),
        (
            {"pax_headers": {f"SCHILY.xattr.user.{'n' * 250}": "v" * 65536}},
            {"pax_headers": {f"SCHILY.xattr.user.{'n' * 251}": "v"}},
            "has an extended attribute that no file can have",
        ),
        ({}, {"pax_headers": {"SCHILY.xattr.user.n": "v" * 65537}}, "has an extended attribute that no file can have"),
        ({}, {"pax_headers": {"SCHILY.xattr.": "v"}}, "has an extended attribute that no file can have"),
        ({}, {"pax_headers": {"SCHILY.xattr.user.a\0b": "v"}}, "has an extended attribute that no file can have"),
    ],
)
def test_what_no_file_system_holds(fits: dict[str, Any], odd: dict[str, Any], sentence: str) -> None:
    """It was a traceback where the image was written."""
    read(ar({"data.tar": pax((member("./x", **fits), b""))}))
    assert sentence in refusal(ar({"data.tar": pax((member("./x", **odd), b""))}))


@pytest.mark.parametrize("major", [2**50, -1])
def test_a_device_in_binary_numbers(major: int) -> None:
    header = bytearray(member("./x", DEVICE).tobuf(tarfile.GNU_FORMAT))
    header[329:337] = (major % 2**64 | 1 << 63).to_bytes(8, "big")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))
    assert "is a device of a number" in refusal(ar({"data.tar": bytes(header) + bytes(1024)}))


def test_names_of_attributes_are_counted_too() -> None:
    """Of a thousand members with 900 kB of them each, a gigabyte was kept."""
    names = {f"SCHILY.xattr.user.{number}.{'n' * 200}": "" for number in range(3000)}
    info = member("./x", pax_headers=names)
    assert refusal(ar({"data.tar": pax(*[(info, b"")] * 60)})).endswith("than are taken")


def test_a_path_of_very_many_folders() -> None:
    sentence = "odd.deb is refused: a path in it leads through more than 256 folders"
    assert refusal(ar({"data.tar": pax((member("a/" * 257 + "f"), b""))})) == sentence
