"""What every row of FILESYSTEMS has to keep."""

import errno
import os
from pathlib import Path

import pytest

from imagebuilder.errors import OutputError, ToolMissing
from imagebuilder.filesystems import FILESYSTEMS, FileSystem
from imagebuilder.filesystems import ROWS as FILESYSTEM_ROWS
from imagebuilder.filesystems.common import replacing
from imagebuilder.tree import Blob, Tree, file

from .trees import EPOCH_S, plain_tree

ROWS = pytest.mark.parametrize("row", FILESYSTEMS.values(), ids=FILESYSTEMS)


def test_names_and_suffixes_are_their_own() -> None:
    assert len({row.name for row in FILESYSTEM_ROWS}) == len(FILESYSTEM_ROWS)
    assert len({row.suffix for row in FILESYSTEMS.values()}) == len(FILESYSTEMS)


@pytest.mark.tools
@ROWS
def test_the_same_tree_gives_the_same_bytes(row: FileSystem, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        row.write(plain_tree(), tmp_path / name / f"root{row.suffix}", epoch_s=EPOCH_S)
    assert (tmp_path / "one" / f"root{row.suffix}").read_bytes() == (
        tmp_path / "two" / f"root{row.suffix}"
    ).read_bytes()


@ROWS
def test_an_error_leaves_what_stood_there(row: FileSystem, tmp_path: Path) -> None:
    path = tmp_path / "root"
    path.write_bytes(b"old")
    broken = Tree({"/a": file(Blob("0" * 64, 5000, path=tmp_path / "gone"))})
    with pytest.raises(OutputError):
        row.write(broken, path, epoch_s=EPOCH_S)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("row", [row for row in FILESYSTEMS.values() if row.tools], ids=lambda row: row.name)
def test_a_missing_tool_is_named(row: FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagebuilder.process.find", lambda tool: None)
    with pytest.raises(ToolMissing, match=f"{row.tools[0]} is needed"):
        row.write(plain_tree(), tmp_path / "root", epoch_s=EPOCH_S)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="free some disk space"), replacing(tmp_path / "root"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []
