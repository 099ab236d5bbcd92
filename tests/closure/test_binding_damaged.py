"""A library whose name stands beyond its file."""

from pathlib import Path

import pytest

from imagebuilder.closure.binding import DT_SONAME, TAG, _read, bound
from imagebuilder.tree import Tree, file

LIBRARY = Path("/lib/x86_64-linux-gnu/libm.so.6")


@pytest.mark.skipif(not LIBRARY.is_file(), reason="this machine has no such library")
def test_a_name_beyond_the_file_leaves_the_library_as_it_is() -> None:
    data = bytearray(LIBRARY.read_bytes())
    shared = _read(bytes(data))
    assert shared is not None
    number = [tag for tag, _ in shared.dynamic].index(DT_SONAME)
    TAG.pack_into(data, shared.dynamic_at + TAG.size * number, DT_SONAME, 1 << 40)
    tree = Tree({"/lib/libm.so.6": file(bytes(data), mode=0o755)})
    assert bound(tree, {}) == tree
