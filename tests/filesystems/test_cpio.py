"""The initramfs: read back by GNU cpio, and byte by byte where that is the contract."""

import io
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from imagebuilder import process
from imagebuilder.errors import OutputError
from imagebuilder.filesystems import cpio
from imagebuilder.tree import Blob, Kind, Node, Tree, file
from tests.examples import examples

from .trees import EPOCH_S, Seen, expected, plain_tree, seen, trees


def packed(tree: Tree, *, epoch_s: int = EPOCH_S) -> bytes:
    stream = io.BytesIO()
    cpio.write(tree, stream, epoch_s=epoch_s)
    return stream.getvalue()


def as_cpio_unpacks(nodes: dict[str, Seen]) -> dict[str, Seen]:
    """GNU cpio leaves alone the folder in which it stands, and loses the times of folders and links."""
    below = {path: node for path, node in nodes.items() if path != "/"}
    return {path: n if n.kind is Kind.FILE else replace(n, mtime_s=None) for path, n in below.items()}


def test_header_is_what_the_specification_says() -> None:
    archive = packed(Tree({"/null": Node(Kind.CHARACTER, 0o666, uid=1, gid=2, mtime_s=3, device=(5, 70_000))}))
    second = archive[archive.index(b"070701", 6) :]
    fields = [int(second[at : at + 8], 16) for at in range(6, 110, 8)]
    assert fields == [2, 0o020666, 1, 2, 1, 3, 0, 0, 0, 5, 70_000, len("null\0"), 0]
    assert second[110:116] == b"null\0\0"


def test_ends_with_the_trailer_and_is_aligned() -> None:
    archive = packed(plain_tree())
    assert archive.rstrip(b"\0").endswith(b"TRAILER!!!")
    assert len(archive) % 4 == 0


@pytest.mark.tools
def test_listing_by_gnu_cpio() -> None:
    listing = process.run(["cpio", "-itvn", "--quiet"], stdin=packed(plain_tree())).text.splitlines()
    lines = {line.split()[-1]: line.split() for line in listing}
    assert lines["bin/su"][:5] == ["-rwsr-xr-x", "1", "0", "42", "2"]
    assert lines["dev/nvme9n1"][4:6] == ["259,", "70000"]
    assert lines["tmp"][0] == "drwxrwxrwt"
    assert lines["."][0] == "drwxr-xr-x"


@pytest.mark.tools
@settings(deadline=None, max_examples=examples(40))
@given(trees())
def test_gnu_cpio_unpacks_what_was_packed(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as name:
        process.run(["cpio", "-idm", "--quiet"], cwd=Path(name), stdin=packed(tree))
        assert as_cpio_unpacks(seen(Path(name))) == as_cpio_unpacks(expected(tree))


def test_times_after_the_epoch_do_not_count() -> None:
    one, other = (packed(Tree({"/a": file(b"a", mtime_s=EPOCH_S + late)})) for late in (0, 1))
    assert one == other == packed(Tree({"/a": file(b"a")}))
    assert one != packed(Tree({"/a": file(b"a", mtime_s=EPOCH_S - 1)}))


def test_refuses_what_it_cannot_hold() -> None:
    huge = Tree({"/huge": file(Blob("0" * 64, 1 << 32, data=b""))})
    with pytest.raises(OutputError, match=r"/huge is too large .* choose another root format"):
        packed(huge)


def test_a_file_that_changed_meanwhile_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"one")
    tree = Tree({"/growing": file(Blob.at(path))})
    path.write_bytes(b"longer")
    with pytest.raises(OutputError, match="changed while the image was written"):
        packed(tree)
