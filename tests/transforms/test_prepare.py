"""What a machine changed, read from the stream that it wrote: of a true one each change, of any other no harm."""

import io
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.closure.slimming import merge
from imagebuilder.errors import SourceError
from imagebuilder.platforms.linux.preparer import SKIPPED
from imagebuilder.sources.layer import Layer
from imagebuilder.transforms.prepare import Changes, changes, layer
from imagebuilder.tree import Blob, Kind, Tree, directory, file

BASE = Tree({"/a": directory(), "/a/b": file(b"b"), "/a/c": file(b"c"), "/d": file(b"d", mode=0o755)})
MOST_BYTES = 1 << 20


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **more: object) -> bytes:
    """One member of a stream."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(content), 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % 512)


def read(*members: bytes) -> Changes:
    """What a stream of these members says."""
    stream = io.BytesIO(b"".join(members) + bytes(1024))
    return changes(stream, BASE, name="prepare 1", most_bytes=MOST_BYTES, keep=_kept)


def _kept(content: object) -> Blob:
    assert isinstance(content, bytes)
    return Blob.of(content)


def merged(found: Changes) -> Tree:
    """The tree after the changes."""
    whole = dict.fromkeys(BASE, "source")
    return merge([Layer(BASE, whole), layer(found, title="prepare 1")]).tree


def test_added_changed_and_removed() -> None:
    removed = member("a/b", tarfile.CHRTYPE)
    found = read(member("a", tarfile.DIRTYPE), removed, member("a/c", content=b"new"), member("e", content=b"e"))
    assert found.removed == ("/a/b",)
    after = merged(found)
    assert "/a/b" not in after and after["/d"] == BASE["/d"]
    assert (after["/a/c"].content.read(), after["/e"].content.read()) == (b"new", b"e")


def test_what_was_only_touched_is_no_change() -> None:
    assert read(member("d", content=b"d", mode=0o755, mtime=99)) == Changes({}, ())


def test_a_folder_in_the_place_of_another_has_nothing_of_it() -> None:
    opaque = {"SCHILY.xattr.trusted.overlay.opaque": "y"}
    found = read(member("a", tarfile.DIRTYPE, pax_headers=opaque), member("a/new", content=b"n"))
    after = merged(found)
    assert {path for path in after if path.startswith("/a/")} == {"/a/new"}
    assert not after["/a"].xattrs


def test_a_package_s_bookkeeping_is_left_out() -> None:
    found = read(member("var/lib/dpkg/status", content=b"s"), member("var/lib/dpkg-cross", content=b"x"))
    left = layer(found, title="prepare 1", without=("/var/lib/dpkg",))
    assert {path for path in left.tree if left.tree[path].kind is Kind.FILE} == {"/var/lib/dpkg-cross"}


def test_what_a_guest_may_not_write_is_left_out_whoever_wrote_the_stream() -> None:
    base = Tree({**BASE, "/init": file(b"ours"), "/tmp": directory(mode=0o1777)})
    members = (member("init", content=b"theirs"), member("tmp", tarfile.CHRTYPE), member("dev/x", content=b"x"))
    found = changes(io.BytesIO(b"".join(members) + bytes(1024)), base, name="p", most_bytes=MOST_BYTES, keep=_kept)
    left = layer(found, title="prepare 1", without=SKIPPED)
    assert ([*left.tree], left.removed) == (["/"], ())


def test_a_folder_of_which_a_file_or_link_takes_the_place() -> None:
    after = merged(read(member("a", tarfile.SYMTYPE, linkname="d")))
    assert [path for path in after if path.startswith("/a")] == ["/a"] and after["/a"].target == "d"


def test_many_removals_take_as_long_as_they_are_many() -> None:
    """Each file was held against each path that had been removed: 30,000 of both took minutes."""

    def took_s(count: int) -> float:
        base = Tree({f"/{number}": file(b"") for number in range(count)})
        removed = b"".join(member(str(number), tarfile.CHRTYPE) for number in range(count))
        added = b"".join(member(f"new{number}") for number in range(count))
        stream, begun_s = io.BytesIO(removed + added + bytes(1024)), time.process_time()
        found = changes(stream, base, name="p", most_bytes=1 << 30, keep=_kept)
        after = merge([Layer(base, dict.fromkeys(base, "s")), layer(found, title="p")]).tree
        assert len(after) == count + 1
        return time.process_time() - begun_s

    assert took_s(6000) < 8 * took_s(1500)


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (member("../x", content=b"x"), "would be written outside"),
        (member("l", tarfile.SYMTYPE, linkname="/etc") + member("l/x", content=b"x"), "would be written outside"),
        (member("x", content=bytes(2 * MOST_BYTES)), "unpacks to more than"),
        (b"\1" * 512, "stream of changes is damaged"),
        (member("x", content=b"x" * 600)[:600], "stream of changes is damaged"),
    ],
    ids=["above", "behind a link", "too much", "no archive", "cut off"],
)
def test_one_that_would_harm_is_refused(stream: bytes, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        changes(io.BytesIO(stream), BASE, name="prepare 1", most_bytes=MOST_BYTES, keep=_kept)


STREAM = member("a", tarfile.DIRTYPE) + member("a/c", content=b"new") + member("a/b", tarfile.CHRTYPE) + bytes(1024)


@given(st.lists(st.tuples(st.integers(0, len(STREAM) - 1), st.binary(min_size=1, max_size=8)), max_size=6))
def test_a_damaged_one_is_refused_or_read(edits: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(STREAM)
    for place, data in edits:
        damaged[place : place + len(data)] = data
    try:
        found = changes(io.BytesIO(bytes(damaged)), BASE, name="prepare 1", most_bytes=MOST_BYTES, keep=_kept)
    except SourceError:
        return
    assert all(path.startswith("/") and ".." not in path.split("/") for path in found.nodes)
