"""The tar archive: read back by GNU tar."""

import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from imagebuilder import process
from imagebuilder.filesystems import tar
from imagebuilder.tree import Tree, file
from tests.examples import examples

from .trees import EPOCH_S, expected, plain_tree, seen, trees

pytestmark = pytest.mark.tools


def packed(tree: Tree) -> bytes:
    stream = io.BytesIO()
    tar.write(tree, stream, epoch_s=EPOCH_S)
    return stream.getvalue()


def test_listing_by_gnu_tar() -> None:
    listing = process.run(["tar", "tv", "--numeric-owner", "--full-time"], stdin=packed(plain_tree())).text.splitlines()
    lines = {line.split()[5]: line.split() for line in listing}
    assert lines["bin/su"][:5] == ["-rwsr-xr-x", "0/42", "2", "1970-01-01", "00:00:05"]
    assert lines["dev/nvme9n1"][2] == "259,70000"
    assert lines["late"][3:5] == ["2023-11-14", "22:13:20"]
    assert lines["./"][0] == "drwxr-xr-x"


@settings(deadline=None, max_examples=examples(40))
@given(trees())
def test_gnu_tar_unpacks_what_was_packed(tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as name:
        process.run(["tar", "xp", "-C", name], stdin=packed(tree))
        assert seen(Path(name)) == expected(tree)


def test_long_names_and_other_alphabets() -> None:
    name = "/" + "/".join(["λ" * 100] * 5)
    listing = process.run(["tar", "t", "--quoting-style=literal"], stdin=packed(Tree({name: file(b"x")}))).text
    assert listing.splitlines()[-1] == name[1:]
