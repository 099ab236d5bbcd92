"""Extended attributes and names of any bytes: what writers do with them, seen by other tools."""

import io
import re
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder import process
from imagebuilder.errors import OutputError
from imagebuilder.filesystems import FILESYSTEMS, cpio, erofs, squashfs, tar
from imagebuilder.store import Store
from imagebuilder.tree import Node, Tree, Xattrs, file, symlink
from tests.examples import examples

from .trees import AS_ROOT, EPOCH_S, attributes, contents

pytestmark = pytest.mark.tools

CAPABILITY: Xattrs = (("security.capability", bytes.fromhex("0100000200200000000000000000000000000000")),)


def capable(data: bytes = b"ping") -> Node:
    return replace(file(data, mode=0o755), xattrs=CAPABILITY)


@settings(deadline=None, max_examples=examples(25))
@given(st.lists(st.tuples(contents, attributes), max_size=6))
def test_fsck_finds_nothing_wrong_with_attributes(given: list[tuple[bytes, Xattrs]]) -> None:
    nodes = {f"/{number}": replace(file(data), xattrs=xattrs) for number, (data, xattrs) in enumerate(given)}
    with tempfile.TemporaryDirectory() as name:
        disk, folder = Path(name, "disk"), Path(name, "folder")
        FILESYSTEMS["erofs"].write(Tree(nodes), disk, epoch_s=EPOCH_S)
        assert process.run(["fsck.erofs", f"--extract={folder}", disk]).stderr == b""
        assert {path: (folder / path[1:]).read_bytes() for path in nodes} == {
            path: node.content.read() for path, node in nodes.items()
        }


def test_dump_tells_the_bytes_of_attributes(tmp_path: Path) -> None:
    """A head of 12 bytes, and 4 with the name (``capability``) and the value (20), to whole units of 4."""
    FILESYSTEMS["erofs"].write(Tree({"/ping": capable()}), tmp_path / "disk", epoch_s=EPOCH_S)
    assert re.search(r"Xattr size: 48\b", process.run(["dump.erofs", "--path=/ping", tmp_path / "disk"]).text)


@pytest.mark.parametrize("name", ["odd", "system.x", "user.", "user." + "n" * 256])
def test_erofs_refuses_what_it_cannot_hold(name: str) -> None:
    with pytest.raises(OutputError, match="cannot stand in EROFS"):
        erofs.write(Tree({"/a": replace(file(b""), xattrs=((name, b"v"),))}), io.BytesIO(), epoch_s=0)
    with pytest.raises(OutputError, match="too large"):
        erofs.write(Tree({"/a": replace(file(b""), xattrs=(("user.a", b"v" * 4096),))}), io.BytesIO(), epoch_s=0)


def test_tar_holds_attributes_as_gnu_tar_does(tmp_path: Path) -> None:
    stream = io.BytesIO()
    odd = replace(file(b""), xattrs=(("user.odd", b"\xff\0\n"),))
    tar.write(Tree({"/ping": capable(), "/odd": odd}), stream, epoch_s=EPOCH_S)
    shown = process.run(["tar", "tv", "--xattrs", "--xattrs-include=*", "--full-time", "-v"], stdin=stream.getvalue())
    assert "x: 20 security.capability" in shown.text
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as archive:
        assert (
            archive.getmember("odd").pax_headers["SCHILY.xattr.user.odd"].encode(errors="surrogateescape")
            == b"\xff\0\n"
        )


@pytest.mark.skipif(not AS_ROOT, reason="only root can give capabilities")
def test_squashfs_holds_attributes(tmp_path: Path) -> None:
    squashfs.write(Tree({"/ping": capable(), "/a": file(b"")}), tmp_path / "disk", epoch_s=EPOCH_S)
    process.run(["unsquashfs", "-d", tmp_path / "folder", tmp_path / "disk"])
    assert process.run(["getcap", tmp_path / "folder" / "ping"]).text.strip().endswith("cap_net_raw=ep")


ODD = b"\xff\xfe odd \n\x80".decode(errors="surrogateescape")


def test_names_of_any_bytes_go_through_the_store_and_every_writer(tmp_path: Path) -> None:
    tree = Tree({f"/{ODD}/{ODD}": file(b"x"), "/link": symlink(ODD), "/é": file(b"")})
    store = Store(tmp_path / "store")
    document = tree.save(store)
    store.keep("key", {"tree": document})
    record = store.record("key")
    assert record is not None and Tree.load(record["tree"], store) == tree
    name = ODD.encode(errors="surrogateescape")
    for row in FILESYSTEMS.values():
        row.write(tree, tmp_path / row.name, epoch_s=EPOCH_S)
    for row in (FILESYSTEMS["cpio"], FILESYSTEMS["erofs"], FILESYSTEMS["tar"]):
        assert name in (tmp_path / row.name).read_bytes()
    process.run(["unsquashfs", "-no-xattrs", "-d", tmp_path / "folder", tmp_path / "squashfs"])
    process.run(["fsck.erofs", f"--extract={tmp_path / 'other'}", tmp_path / "erofs"])
    for folder in (tmp_path / "folder", tmp_path / "other"):
        assert (folder / ODD / ODD).read_bytes() == b"x"
        assert str((folder / "link").readlink()) == ODD


def test_an_archive_without_attributes_is_the_same_as_ever() -> None:
    plain, other = io.BytesIO(), io.BytesIO()
    cpio.write(Tree({"/ping": file(b"ping", mode=0o755)}), plain, epoch_s=EPOCH_S)
    cpio.write(Tree({"/ping": capable()}), other, epoch_s=EPOCH_S)
    assert plain.getvalue() == other.getvalue()
