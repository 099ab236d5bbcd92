"""Reading packages: the same as dpkg-deb does, and nothing for those that would write elsewhere or are damaged."""

import gzip
import io
import itertools
import lzma
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder import process
from imagebuilder.errors import SourceError
from imagebuilder.sources import deb
from imagebuilder.tree import Blob, Kind, Node
from tests.examples import examples

Member = tuple[str, bytes, str]  # name, type, link target or content


def tar(members: list[Member]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, text in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, 0o755, 1_700_000_000
            content = text.encode() if kind == tarfile.REGTYPE else b""
            info.linkname = text if not content and kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def ar(members: Mapping[str, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, data in members.items():
        parts += [f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode(), data, b"\n" * (len(data) % 2)]
    return b"".join(parts)


def package(members: list[Member]) -> bytes:
    return ar({"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar": tar(members)})


def read(data: bytes) -> dict[str, Node]:
    return deb.read(io.BytesIO(data), "odd.deb", Blob.of_content)


GOOD: list[Member] = [
    ("./", tarfile.DIRTYPE, ""),
    ("./usr/", tarfile.DIRTYPE, ""),
    ("./usr/bin/", tarfile.DIRTYPE, ""),
    ("./usr/bin/tool", tarfile.REGTYPE, "content"),
    ("./usr/bin/same", tarfile.LNKTYPE, "./usr/bin/tool"),
    ("./usr/bin/link", tarfile.SYMTYPE, "../../../../etc/passwd"),
]


# Accepts


def test_files_links_and_hard_links() -> None:
    nodes = read(package(GOOD))
    assert list(nodes) == ["/usr", "/usr/bin", "/usr/bin/tool", "/usr/bin/same", "/usr/bin/link"]
    assert nodes["/usr/bin/tool"] == nodes["/usr/bin/same"]
    assert nodes["/usr/bin/tool"].content.read() == b"content"
    assert nodes["/usr/bin/tool"].mtime_s == 1_700_000_000
    assert nodes["/usr/bin/link"].target == "../../../../etc/passwd"  # it is followed inside the image only


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress), (".zst", zstandard.ZstdCompressor().compress)],
)
def test_every_compression(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    assert read(ar({"debian-binary": b"2.0\n", f"data.tar{suffix}": pack(tar(GOOD))})) == read(package(GOOD))


@pytest.mark.tools
@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd"])
def test_a_package_of_dpkg_deb_reads_as_dpkg_deb_says(tmp_path: Path, compression: str) -> None:
    if process.find("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    fields = "Package: odd\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.example>\nDescription: d\n"
    (root / "DEBIAN/control").write_text(fields)
    (root / "usr/share/a b").mkdir(parents=True)
    (root / "usr/share/a b/ünïcode").write_text("x" * 3000)
    (root / "usr/share" / ("long" * 40)).write_text("long")
    (root / "usr/sbin").mkdir()
    (root / "usr/sbin/su").write_bytes(b"su")
    (root / "usr/sbin/su").chmod(0o4755)
    (root / "usr/sbin/hard").hardlink_to(root / "usr/sbin/su")
    (root / "usr/sbin/soft").symlink_to("su")
    os.mkfifo(root / "usr/sbin/fifo")
    path = tmp_path / "odd.deb"
    process.run(["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--build", root, path])
    with tarfile.open(fileobj=io.BytesIO(process.run(["dpkg-deb", "--fsys-tarfile", path]).stdout)) as archive:
        listed = archive.getmembers()
    nodes = deb.unpack(path, Blob.of_content)
    assert sorted(nodes) == sorted(f"/{member.name.removeprefix('./')}" for member in listed if member.name != ".")
    shown = process.run(["dpkg-deb", "--contents", path]).text
    for where, node in nodes.items():
        line = next(
            line for line in shown.splitlines() if f" .{where}" in line and line.split(f" .{where}")[1][:1] in "/ "
        )
        if not line.startswith("h"):
            assert line.split()[:2] == [stat.filemode(node.st_mode), "root/root"]
        if node.kind is Kind.FILE:
            assert node.content.read() == (root / where[1:]).read_bytes()


# Refuses


@pytest.mark.parametrize(
    "members",
    [
        [("../etc/passwd", tarfile.REGTYPE, "x")],
        [("./usr/../../etc/passwd", tarfile.REGTYPE, "x")],
        [("/etc/passwd", tarfile.REGTYPE, "x")],
        [("./usr", tarfile.SYMTYPE, "/etc"), ("./usr/passwd", tarfile.REGTYPE, "x")],
        [("./a", tarfile.SYMTYPE, "b"), ("./a/b/c", tarfile.REGTYPE, "x")],
        [("./file", tarfile.REGTYPE, "x"), ("./file/inside", tarfile.REGTYPE, "x")],
        [("./file/inside", tarfile.REGTYPE, "x"), ("./file", tarfile.SYMTYPE, "/etc")],
    ],
)
def test_members_that_would_be_written_elsewhere(members: list[Member]) -> None:
    with pytest.raises(SourceError, match=r"odd\.deb is refused: its member .* outside"):
        read(package(members))


@pytest.mark.parametrize("target", ["../../etc/shadow", "/etc/shadow", "./nothing", "./usr"])
def test_a_hard_link_to_what_is_no_file_of_the_package(target: str) -> None:
    with pytest.raises(SourceError, match="is a hard link to"):
        read(package([("./usr/", tarfile.DIRTYPE, ""), ("./link", tarfile.LNKTYPE, target)]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"!<arch>\n",
        b"<html>not found</html>",
        ar({"debian-binary": b"2.0\n"}),
        ar({"data.tar.xz": b"no xz"}),
        ar({"data.tar.gz": gzip.compress(tar(GOOD))[:-40]}),
        ar({"data.tar": b"x" * 600}),
        package(GOOD)[:-9800],
    ],
)
def test_a_damaged_package(data: bytes) -> None:
    with pytest.raises(SourceError, match=r"odd\.deb is no Debian package, or a damaged one"):
        read(data)


# Never a traceback

WHOLE = [
    ar({"data.tar": tar(GOOD)}),
    ar({"data.tar.xz": lzma.compress(tar(GOOD))}),
    ar({"data.tar.gz": gzip.compress(tar(GOOD))}),
]


def inside(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/") and "\0" not in path


@settings(max_examples=examples(300), deadline=None)  # the machine may be busy
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8),
    st.integers(0, 4000),
)
def test_a_package_with_wrong_bytes_gives_nodes_inside_or_a_sentence(
    whole: bytes, wrong: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(whole)
    for offset, byte in wrong:
        data[offset % len(data)] = byte
    try:
        nodes = read(bytes(data[: len(data) - cut]))
    except SourceError:
        return
    assert all(map(inside, nodes))


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "usr", "\n", "é"]), min_size=1).map("/".join)
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, b"S", b"V"]
)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, KINDS, NAMES), max_size=6))
def test_any_members_give_nodes_inside_or_a_sentence(members: list[Member]) -> None:
    try:
        nodes = read(package(members))
    except SourceError:
        return
    assert all(map(inside, nodes))
    for path in nodes:
        above = [path[:end] for end in range(1, len(path)) if path[end] == "/"]
        assert all(nodes[parent].kind is Kind.DIRECTORY for parent in above if parent in nodes)


# Bounds: whatever a package makes us read and keep


MOST_MIB = 150  # less than any of them unpacks to
SMALL_PROGRAM = """
import re, sys
from pathlib import Path
from imagebuilder.errors import SourceError
from imagebuilder.sources import deb
from imagebuilder.sources.layer import kept
from imagebuilder.store import Store
store = Store(Path(sys.argv[2]))
try:
    nodes = deb.unpack(Path(sys.argv[1]), lambda content: kept(content, store))
    print(sum(node.size_bytes for node in nodes.values()))
except SourceError as error:
    print(error)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10)
"""


def unpacked_alone(data: bytes, tmp_path: Path) -> tuple[str, int]:
    """What a process of its own says of a package, and its largest memory in MiB."""
    (tmp_path / "bomb.deb").write_bytes(data)
    argv = [sys.executable, "-c", SMALL_PROGRAM, str(tmp_path / "bomb.deb"), str(tmp_path / "store")]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    said, most_mib = ran.stdout.splitlines()
    return said, int(most_mib)


def zeros(header: tarfile.TarInfo, count_bytes: int, pack: Callable[[Iterator[bytes]], bytes]) -> bytes:
    header.size = count_bytes
    block = bytes(1 << 20)
    return pack(itertools.chain([header.tobuf(tarfile.GNU_FORMAT)], itertools.repeat(block, (count_bytes >> 20) + 1)))


def xz(parts: Iterator[bytes]) -> bytes:
    packer = lzma.LZMACompressor(preset=0)
    return b"".join(map(packer.compress, parts)) + packer.flush()


def zst(parts: Iterator[bytes]) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join(map(packer.compress, parts)) + packer.flush()


@pytest.mark.tools
@pytest.mark.parametrize("suffix, pack", [(".xz", xz), (".zst", zst)])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_what_unpacks_to_far_more_than_it_is(
    suffix: str, pack: Callable[[Iterator[bytes]], bytes], kind: bytes, tmp_path: Path
) -> None:
    header = tarfile.TarInfo("./big")
    header.type = kind
    data = ar({"debian-binary": b"2.0\n", f"data.tar{suffix}": zeros(header, 200 << 20, pack)})
    said, most_mib = unpacked_alone(data, tmp_path)
    assert "unpacks to more than" in said if kind == tarfile.REGTYPE else "a header of 209,715,200 bytes" in said
    assert most_mib < MOST_MIB


@pytest.mark.tools
def test_a_large_file_goes_over_the_disk(tmp_path: Path) -> None:
    header = tarfile.TarInfo("./big")
    header.size = 200 << 20
    data = ar({"padding": os.urandom(2 << 20), "data.tar.gz": gzip.compress(header.tobuf() + bytes(header.size), 1)})
    said, most_mib = unpacked_alone(data, tmp_path)
    assert said == str(200 << 20)
    assert most_mib < MOST_MIB


@pytest.mark.tools
def test_a_path_of_very_many_parts(tmp_path: Path) -> None:
    data = ar({"data.tar.xz": lzma.compress(tar([("d/" * 100_000 + "x", tarfile.REGTYPE, "")]))})
    said, most_mib = unpacked_alone(data, tmp_path)
    assert "a path in it has more than 4,096 characters" in said
    assert most_mib < MOST_MIB


@pytest.mark.tools
def test_very_many_deep_paths(tmp_path: Path) -> None:
    members = [(f"{number}/" + "d/" * 250 + "x", tarfile.REGTYPE, "") for number in range(3000)]
    said, most_mib = unpacked_alone(ar({"data.tar.xz": lzma.compress(tar(members), preset=0)}), tmp_path)
    assert "longer names, than are taken" in said
    assert most_mib < MOST_MIB


def test_a_sparse_file_of_a_tebibyte() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("./sparse")
        keys = {"major": "1", "minor": "0", "name": "./sparse", "realsize": str(1 << 40)}
        info.pax_headers = {f"GNU.sparse.{key}": value for key, value in keys.items()}
        content = b"1\n0\n0\n".ljust(512, b"\0")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    with pytest.raises(SourceError, match="is sparse, which is not taken"):
        read(ar({"data.tar": stream.getvalue()}))
