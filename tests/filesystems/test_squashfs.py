"""The squashfs disk: the command, and what ``unsquashfs`` finds in it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from imagebuilder import process
from imagebuilder.errors import OutputError
from imagebuilder.filesystems import squashfs
from imagebuilder.filesystems.squashfs import Compressor
from imagebuilder.tree import Tree, directory, file
from tests.examples import examples

from .trees import AS_ROOT, EPOCH_S, expected, plain_tree, seen, trees

pytestmark = pytest.mark.tools


def test_the_exact_command() -> None:
    assert process.shell_line(squashfs.argv(Path("/d"), root_mode=0o755, compressor=Compressor.ZSTD)) == (
        "mksquashfs - /d -tar -noappend -comp zstd -Xcompression-level 19"
        " -no-xattrs -root-mode 755 -quiet -no-progress -exit-on-error"
    )


@pytest.mark.parametrize("compressor", Compressor)
def test_every_compressor(tmp_path: Path, compressor: Compressor) -> None:
    squashfs.write(plain_tree(), tmp_path / "disk", epoch_s=EPOCH_S, compressor=compressor)
    assert f"Compression {compressor}\n" in process.run(["unsquashfs", "-s", tmp_path / "disk"]).text
    listing = process.run(["unsquashfs", "-lln", tmp_path / "disk"]).text
    lines = {line.split(maxsplit=1)[0]: line for line in listing.splitlines()}
    assert "0/42" in lines["-rwsr-xr-x"] and "squashfs-root/bin/su" in lines["-rwsr-xr-x"]


@settings(deadline=None, max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees())
def test_unsquashfs_unpacks_what_was_packed(tmp_path_factory: pytest.TempPathFactory, tree: Tree) -> None:
    place = tmp_path_factory.mktemp("squashfs")
    rooted = tree.put("/", directory())
    squashfs.write(rooted, place / "disk", epoch_s=EPOCH_S)
    process.run(["unsquashfs", *([] if AS_ROOT else ["-no-exit-code"]), "-d", place / "folder", place / "disk"])
    assert seen(place / "folder") == expected(rooted)


def test_the_same_bytes_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squashfs.write(plain_tree(), tmp_path / "one", epoch_s=EPOCH_S)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "77")
    squashfs.write(plain_tree(), tmp_path / "two", epoch_s=EPOCH_S)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_refuses_a_root_folder_that_is_not_roots(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="choose another root format"):
        squashfs.write(Tree({"/": directory(uid=5), "/a": file(b"")}), tmp_path / "disk", epoch_s=EPOCH_S)
    assert list(tmp_path.iterdir()) == []
