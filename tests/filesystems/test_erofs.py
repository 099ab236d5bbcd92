"""The EROFS disk: checked and unpacked by the tools of erofs-utils."""

import io
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from imagebuilder import process
from imagebuilder.errors import OutputError
from imagebuilder.filesystems import FILESYSTEMS, erofs
from imagebuilder.tree import Blob, Kind, Node, Tree, directory, file
from tests.examples import examples

from .trees import AS_ROOT, EPOCH_S, SIZES, Seen, expected, plain_tree, seen, trees

HOW = "--preserve" if AS_ROOT else "--preserve-perms"
BLOCK_BYTES = erofs.BLOCK_BYTES


def packed(tree: Tree) -> bytes:
    stream = io.BytesIO()
    erofs.write(tree, stream, epoch_s=EPOCH_S)
    return stream.getvalue()


def unpacked(tree: Tree) -> dict[str, Seen]:
    """The tree after the way through a disk and ``fsck.erofs``."""
    with tempfile.TemporaryDirectory() as name:
        disk, folder = Path(name, "disk"), Path(name, "folder")
        disk.write_bytes(packed(tree))
        assert process.run(["fsck.erofs", f"--extract={folder}", HOW, disk]).stderr == b""
        return seen(folder)


def without_special_bits(wanted: dict[str, Seen]) -> dict[str, Seen]:
    """``fsck.erofs`` sets the mode before the owner, and so loses set-user-ID."""
    return {path: replace(node, mode=node.mode & 0o1777) for path, node in wanted.items()}


@pytest.mark.tools
@settings(deadline=None, max_examples=examples(40))
@given(trees())
def test_fsck_unpacks_what_was_packed(tree: Tree) -> None:
    assert unpacked(tree) == expected(tree)


@pytest.mark.tools
@pytest.mark.skipif(not AS_ROOT, reason="only root can make the devices that fsck.erofs unpacks")
def test_every_kind_of_node() -> None:
    assert unpacked(plain_tree()) == without_special_bits(expected(plain_tree()))


@pytest.mark.tools
def test_folders_of_many_blocks_and_contents_at_every_edge() -> None:
    sizes = [*SIZES, 100_000]
    nodes = {
        f"/{folder}/{number:0200d}": file(bytes([number % 251]) * sizes[number % len(sizes)], mtime_s=number or None)
        for folder in ("a", "b/c")
        for number in range(300)
    }
    target = f"{'t' * 99}/" * 40 + "t" * 90  # 4090 bytes of names that a file system would take
    tree = Tree({**nodes, "/long": Node(Kind.SYMLINK, 0o777, target=target)})
    assert unpacked(tree) == expected(tree)


@pytest.mark.tools
def test_information_by_dump(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    FILESYSTEMS["erofs"].write(plain_tree(), disk, epoch_s=EPOCH_S)
    head = process.run(["dump.erofs", "-s", disk]).text
    assert "sb_csum mtime" in head
    assert f"inode count:                       {len(plain_tree())}\n" in head
    su = process.run(["dump.erofs", "--path=/bin/su", disk]).text
    assert "Uid: 0   Gid: 42  Access: 0755" in su
    assert "1970-01-01 00:00:05" in su


def test_large_numbers_need_the_extended_inode() -> None:
    small, large = (len(packed(Tree({f"/{n:03}": file(b"x", uid=uid) for n in range(900)}))) for uid in (1, 70_000))
    assert small < large


def test_equal_contents_stand_once() -> None:
    content = b"\1" * 100_000
    once, twice = (packed(Tree(dict.fromkeys(paths, file(content)))) for paths in (["/a"], ["/a", "/b"]))
    assert len(once) == len(twice)


def test_whole_blocks_and_small_things_beside_their_inodes() -> None:
    assert len(packed(Tree())) == BLOCK_BYTES
    assert (
        len(packed(Tree({"/etc/hostname": file(b"localhost\n"), "/lib": Node(Kind.SYMLINK, target="usr")})))
        == BLOCK_BYTES
    )
    assert len(packed(Tree({"/a": file(b"x" * 4097)}))) == 3 * BLOCK_BYTES


def test_bytes_depend_on_what_is_written_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 5000)
    times = [None, EPOCH_S, EPOCH_S + 7]
    disks = {
        packed(Tree({"/a": file(blob, mtime_s=at)}))
        for at in times
        for blob in (Blob.at(tmp_path / "a"), Blob.of(b"a" * 5000))
    }
    assert len(disks) == 1
    assert packed(Tree({"/a": file(b"a" * 5000, mode=0o600)})) not in disks


@pytest.mark.tools
@pytest.mark.parametrize("at", [1024 + 4, 1024 + 60, 3000])
def test_fsck_sees_a_damaged_superblock(tmp_path: Path, at: int) -> None:
    disk = bytearray(packed(plain_tree()))
    disk[at] ^= 1
    (tmp_path / "disk").write_bytes(disk)
    assert b"chksum doesn't match" in process.run(["fsck.erofs", tmp_path / "disk"]).stderr


@pytest.mark.tools
def test_a_sparse_file_of_more_than_4_gib(tmp_path: Path) -> None:
    """The layout counts in blocks of 32 bits; the content is not written here, only its place and size."""
    volume = erofs.Volume(Tree({"/huge": file(Blob("0" * 64, 5 << 30, data=b"")), "/z": file(b"z" * 5000)}), EPOCH_S)
    assert volume.blocks == 1 + (5 << 30) // BLOCK_BYTES + 2
    disk = tmp_path / "disk"
    with disk.open("wb") as stream:
        stream.write(volume.metadata())
        stream.truncate(volume.blocks * BLOCK_BYTES)
    assert "Size: 5368709120" in process.run(["dump.erofs", "--path=/huge", disk]).text


def test_refuses_a_name_that_is_too_long() -> None:
    with pytest.raises(OutputError, match="longer than 255 bytes"):
        packed(Tree({"/" + "λ" * 128: directory()}))


def test_checksum_of_the_specification() -> None:
    """The check value of CRC-32C (RFC 3720, B.4: 32 bytes of zeros), which is inverted at the end there."""
    assert erofs.crc32c(bytes(32)) ^ 0xFFFF_FFFF == 0x8A91_36AA


@pytest.mark.tools
@pytest.mark.skipif(shutil.which("mkfs.erofs") is None, reason="mkfs.erofs is not installed")
def test_hardly_larger_than_by_mkfs(tmp_path: Path) -> None:
    nodes = {f"/usr/lib/{n}/file": file(bytes([n]) * (n * 977)) for n in range(200)}
    for path, node in nodes.items():
        (tmp_path / "folder" / path[1:]).parent.mkdir(parents=True)
        (tmp_path / "folder" / path[1:]).write_bytes(node.content.read())
    process.run(["mkfs.erofs", "-T1", tmp_path / "disk", tmp_path / "folder"])
    assert len(packed(Tree(nodes))) <= 1.03 * (tmp_path / "disk").stat().st_size
