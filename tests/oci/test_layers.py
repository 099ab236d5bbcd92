"""Layers over one another: what they add, replace, hide; what they are packed with; what is refused, in a sentence."""

import bz2
import gzip
import hashlib
import io
import struct
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder import tarball
from imagebuilder.errors import SourceError
from imagebuilder.oci import layers, overlaid
from imagebuilder.oci.layers import LayerFile
from imagebuilder.oci.overlaid import Overlaid
from imagebuilder.tree import MOST_FOLDERS, Kind, Tree

from .making import FILE, Member, applied, folder, hard, in_memory, link, shown, tar

LOWER = [folder("d"), Member("d/a", "a"), Member("d/b", "b"), folder("d/e"), Member("d/e/f", "f"), link("l", "d")]


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        ([Member("d/a", "A")], "d d/a=A d/b=b d/e d/e/f=f l=→ d"),
        ([Member("d/.wh.a")], "d d/b=b d/e d/e/f=f l=→ d"),
        ([Member(".wh.d")], "l=→ d"),
        ([Member(".wh.d"), Member("d/n", "n")], "d d/n=n l=→ d"),
        ([Member("d/n", "n"), Member(".wh.d")], "d d/n=n l=→ d"),
        ([Member("d/e/n", "n"), Member(".wh.d")], "d d/e d/e/n=n l=→ d"),
        ([Member("d/.wh..wh..opq"), Member("d/n", "n")], "d d/n=n l=→ d"),
        ([Member("d/n", "n"), Member("d/.wh..wh..opq")], "d d/n=n l=→ d"),
        ([Member("d/e/n", "n"), Member("d/.wh..wh..opq")], "d d/e d/e/n=n l=→ d"),
        ([Member("d/a", "A"), Member("d/.wh.a")], "d d/a=A d/b=b d/e d/e/f=f l=→ d"),
        ([Member("d/.wh.a"), Member("d/a", "A")], "d d/a=A d/b=b d/e d/e/f=f l=→ d"),
        ([Member("d", "no folder")], "d=no folder l=→ d"),
        ([Member("l/a", "A"), Member("l/.wh.b")], "d d/a=A d/e d/e/f=f l=→ d"),
        ([folder("l"), Member("l/a", "A")], "d d/a=a d/b=b d/e d/e/f=f l l/a=A"),
        ([Member(".wh.l")], "d d/a=a d/b=b d/e d/e/f=f"),
        ([Member(".wh.none"), Member("none/.wh.x"), Member("none/.wh..wh..opq")], "d d/a=a d/b=b d/e d/e/f=f l=→ d"),
        ([Member(".wh..wh..opq"), Member("x", "x")], "x=x"),
        ([hard("h", "d/a"), hard("i", "h")], "d d/a=a d/b=b d/e d/e/f=f h=a i=a l=→ d"),
        ([hard("h", "/l/a")], "d d/a=a d/b=b d/e d/e/f=f h=a l=→ d"),
        ([hard("h", "l")], "d d/a=a d/b=b d/e d/e/f=f h=→ d l=→ d"),
        ([Member("/abs/./x/../y", "y")], "abs abs/y=y d d/a=a d/b=b d/e d/e/f=f l=→ d"),
        (
            [link("up", "../../../d/e"), Member("up/g", "g")],
            "d d/a=a d/b=b d/e d/e/f=f d/e/g=g l=→ d up=→ ../../../d/e",
        ),
        (
            [link("to", "/new/x"), Member("to/g", "g")],
            "d d/a=a d/b=b d/e d/e/f=f l=→ d new new/x new/x/g=g to=→ /new/x",
        ),
        ([Member(".wh..wh.plnk/1"), Member(".wh..wh.aufs")], "d d/a=a d/b=b d/e d/e/f=f l=→ d"),
    ],
)
def test_an_upper_layer_over_a_lower(tmp_path: Path, upper: list[Member], expected: str) -> None:
    found = shown(applied(tmp_path, tar(LOWER), tar(upper)))
    assert " ".join(f"{path}={said}" if said != "<directory>" else path for path, said in found.items()) == expected


@pytest.mark.parametrize("last", [b"x", b"y" * 600, b""], ids=len)
def test_padding_behind_the_last_member_may_be_missing(tmp_path: Path, last: bytes) -> None:
    """As `umoci insert` writes layers; a content that is cut off is refused all the same."""
    archive = tar([Member("a", "a"), Member("b", last.decode())])
    end = 3 * tarfile.BLOCKSIZE + len(last)
    assert shown(applied(tmp_path, archive[:end])) == {"a": "a", "b": last.decode()}
    for cut in (end - 1, 2 * tarfile.BLOCKSIZE + 7):
        with pytest.raises(SourceError, match="layer 0 is damaged"):
            applied(tmp_path, archive[:cut])


def test_a_folder_that_is_hidden_and_made_again_by_what_is_in_it_is_as_one_makes_it(tmp_path: Path) -> None:
    lower = [Member("d", type=tarfile.DIRTYPE, mode=0o700, ids=(5, 6)), Member("d/a", "a")]
    opaque = applied(tmp_path, tar(lower), tar([Member("d/.wh..wh..opq")]))
    assert (opaque["/d"].mode, opaque["/d"].uid, set(opaque)) == (0o700, 5, {"/", "/d"})
    hidden = applied(tmp_path, tar(lower), tar([Member(".wh.d"), Member("d/n", "n")]))
    assert (hidden["/d"].mode, hidden["/d"].uid) == (0o755, 0)


def test_what_a_third_layer_hides_of_the_second_and_first(tmp_path: Path) -> None:
    second = [Member("d/.wh.a"), Member("d/c", "c"), folder("d/e", 0o700)]
    third = [Member("d/e/.wh.f"), Member("d/.wh.c"), Member("d/a", "again")]
    tree = applied(tmp_path, tar(LOWER), tar(second), tar(third))
    assert shown(tree) == {"d": "<directory>", "d/a": "again", "d/b": "b", "d/e": "<directory>", "l": "→ d"}
    assert tree["/d/e"].mode == 0o700


def test_a_file_has_what_its_header_says(tmp_path: Path) -> None:
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)
    given = Member(
        "f", "x", mode=0o4750, ids=(1000, 70000), pax={"SCHILY.xattr.security.capability": capability.decode()}
    )
    others = [
        Member("c", type=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
        Member("b", type=tarfile.BLKTYPE, device=(8, 1)),
        Member("p", type=tarfile.FIFOTYPE),
        Member("./", type=tarfile.DIRTYPE, mode=0o711, ids=(7, 8)),
        Member("t", "t", type=tarfile.CONTTYPE),
        Member("n" * 300, "long"),
        link("k", "t" * 300),
    ]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        tree = applied(tmp_path, tar([given, *others] if form == tarfile.PAX_FORMAT else others, form))
        assert (tree["/c"].kind, tree["/c"].device, tree["/c"].mode) == (Kind.CHARACTER, (1, 3), 0o666)
        assert (tree["/b"].kind, tree["/b"].device, tree["/p"].kind) == (Kind.BLOCK, (8, 1), Kind.FIFO)
        assert (tree["/"].mode, tree["/"].uid, tree["/"].gid) == (0o711, 7, 8)
        assert tree["/t"].content.read() == b"t"
        assert tree[f"/{'n' * 300}"].content.read() == b"long"
        assert tree["/k"].target == "t" * 300
    tree = applied(tmp_path, tar([given]))
    file = tree["/f"]
    assert (file.mode, file.uid, file.gid, file.mtime_s) == (0o4750, 1000, 70000, 1_000_000_000)
    assert file.xattrs == (("security.capability", capability),)


@pytest.mark.parametrize("version", ["0.1", "1.0"])
def test_a_sparse_file_has_its_holes(tmp_path: Path, version: str) -> None:
    data = b"begin" + b"end"
    pax = {"GNU.sparse.major": version[0], "GNU.sparse.minor": version[2], "GNU.sparse.name": "s"}
    if version == "1.0":
        pax |= {"GNU.sparse.realsize": "10003"}
        data = b"2\n0\n5\n10000\n3\n".ljust(512, b"\0") + data
    else:
        pax |= {"GNU.sparse.size": "10003", "GNU.sparse.map": "0,5,10000,3"}
    sparse, whole = Member("GNUSparseFile.0/s", data.decode(), pax=pax), b"begin".ljust(10000, b"\0") + b"end"
    tree = applied(tmp_path, tar([sparse, Member("after", "x")]))
    assert tree["/s"].content.read() == whole and tree["/after"].content.read() == b"x"
    without_padding = tar([sparse]).rstrip(b"\0")
    assert applied(tmp_path, without_padding)["/s"].content.read() == whole
    with pytest.raises(SourceError, match="layer 0 is damaged"):
        applied(tmp_path, without_padding[:-1])


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "gzip in parts": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]) + b"\0\0\0",
    "zstd": zstandard.compress,
    "zstd in frames": lambda data: (
        zstandard.compress(data[:700]) + b"\x50\x2a\x4d\x18\x01\0\0\0x" + zstandard.compress(data[700:])
    ),
    "zstd, skipped first": lambda data: b"\x50\x2a\x4d\x18\x01\0\0\0x" + zstandard.compress(data),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_what_layers_are_packed_with(tmp_path: Path, packing: str) -> None:
    archive = tar([Member("f", "x" * 5_000_000), Member("g", "y")])
    tree = applied(tmp_path, archive, packed=[PACKINGS[packing](archive)])
    assert {path: node.size_bytes for path, node in tree.items()} == {"/": 0, "/f": 5_000_000, "/g": 1}


def test_a_layer_without_files(tmp_path: Path) -> None:
    assert list(applied(tmp_path, tar([]), b"", packed=[tar([]), b""])) == ["/"]
    assert list(applied(tmp_path, b"", packed=[gzip.compress(b"")])) == ["/"]
    assert list(applied(tmp_path)) == ["/"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([Member("../x")], r"its member '../x' would be written outside of the image"),
        ([Member("a/../../x")], "would be written outside"),
        ([Member("a"), Member("a/b")], "'/a/b' would stand in 'a', which is a file"),
        ([link("a", "b"), link("b", "a"), Member("a/x")], "leads through symbolic links that lead to one another"),
        ([Member(".wh.")], r"its whiteout '.wh.' names no file"),
        ([Member("x/.wh...")], r"its whiteout 'x/.wh...' names no file"),
        ([Member(".wh.a/b")], "'.wh.a/b' stands in a whiteout"),
        ([hard("h", "none")], "'h' is a hard link to 'none', no file of it"),
        ([folder("d"), hard("h", "d")], "'h' is a hard link to 'd', no file of it"),
        ([hard("h", "../../etc/passwd")], "would be written outside of the image"),
        ([Member("x", type=b"V")], "'x' is of a kind that is not taken"),
        ([Member("x", ids=(2**32 - 1, 0))], "has an owner or a time that no file can have"),
        ([Member(".", type=tarfile.FIFOTYPE)], "the root of the image is a fifo in it"),
    ],
)
def test_layers_that_are_refused(tmp_path: Path, members: list[Member], said: str) -> None:
    with pytest.raises(SourceError, match=said) as refused:
        applied(tmp_path, tar(members))
    assert refused.value.message.startswith("layer 0 is refused: ")
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "damaged",
    [
        gzip.compress(tar(LOWER))[:-9],
        gzip.compress(tar(LOWER))[:-8] + b"12345678",
        gzip.compress(tar(LOWER)) + b"more",
        zstandard.compress(tar(LOWER))[:-3],
        tar(LOWER)[:700],
        tar(LOWER)[:512] + b"x" * 512 + tar(LOWER)[1024:],
        bz2.compress(tar(LOWER)),
        b"\x1f\x8b",
        b"no archive",
    ],
)
def test_layers_that_are_damaged(tmp_path: Path, damaged: bytes) -> None:
    with pytest.raises(SourceError, match="layer 0 is damaged: ") as refused:
        applied(tmp_path, tar(LOWER), packed=[damaged])
    assert "\n" not in refused.value.message


def test_a_layer_that_is_another_than_the_configuration_says(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"layer 0 is damaged: it unpacks to sha256:.*, and sha256:.* is wanted"):
        applied(tmp_path, tar(LOWER), packed=[gzip.compress(tar([]))])


# What is too much


def test_a_layer_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar([Member("f", "x" * 3_000_000)])
    monkeypatch.setattr(tarball, "MOST_BYTES", len(archive))
    applied(tmp_path, archive)
    monkeypatch.setattr(tarball, "MOST_BYTES", len(archive) - 1)
    with pytest.raises(SourceError, match=r"layer 0 is refused: it unpacks to more than 3,\d\d\d,\d\d\d bytes"):
        applied(tmp_path, archive)


def test_zeros_without_an_end_after_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarball, "MOST_BYTES_BESIDE", 1 << 20)
    archive = tar([]) + bytes(500_000_000)
    with pytest.raises(SourceError, match="layer 0 is refused: it unpacks to more than"):
        applied(tmp_path, archive, packed=[zstandard.compress(archive)])


def test_a_sparse_file_of_holes(tmp_path: Path) -> None:
    pax = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,1"}
    with pytest.raises(SourceError, match="layer 0 is refused: it unpacks to more than"):
        applied(tmp_path, tar([Member("s", "x", pax=pax)]))


def test_a_sparse_file_in_a_million_parts(tmp_path: Path) -> None:
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9", "GNU.sparse.name": "s"}
    data = "1000000\n" + "0\n" * 2_000_000
    with pytest.raises(SourceError, match="layer 0 is damaged: a member's headers are too long"):
        applied(tmp_path, tar([Member("s", data, pax=pax)]))


@pytest.mark.parametrize(("bound", "of"), [("MOST_FILES", layers), ("MOST_MEMBERS", tarball)])
def test_more_files_than_any_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, of: object) -> None:
    monkeypatch.setattr(of, bound, 6)
    applied(tmp_path, tar(LOWER))
    monkeypatch.setattr(of, bound, 5)
    with pytest.raises(SourceError, match=r"refused: it.*more( than 5)? files"):
        applied(tmp_path, tar(LOWER))


def test_links_that_are_long_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlaid, "MOST_STEPS", 500)
    around = [folder("d"), link("l", "d/../" * 60), *(Member(f"l/{number}") for number in range(9))]
    with pytest.raises(SourceError, match="its paths lead through more symbolic links than are followed"):
        applied(tmp_path, tar(around))


def test_folders_that_are_as_deep_as_is_taken(tmp_path: Path) -> None:
    deep = "d/" * (MOST_FOLDERS - 1) + "f"
    assert list(applied(tmp_path, tar([Member(deep, "x")]), tar([Member(".wh.d")]))) == ["/"]
    with pytest.raises(SourceError, match="a path in it leads through more than 256 folders"):
        applied(tmp_path, tar([Member("d/d/" + deep, "x")]))
    through = [link("l", "d/" * 200), *(Member(f"l/{'d/' * count}f") for count in (1, 100))]
    with pytest.raises(SourceError, match="layer 0 is refused: a path in it leads through more than 256 folders"):
        applied(tmp_path, tar(through))


def test_folders_that_no_layer_has_as_such_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tar([Member("a/b/f")]), tar([Member("c/d/f")])
    monkeypatch.setattr(overlaid, "MOST_PLACES", 6)
    applied(tmp_path, one, other)
    monkeypatch.setattr(overlaid, "MOST_PLACES", 5)
    with pytest.raises(SourceError, match="layer 1 is refused: its paths make more than 5 folders and files"):
        applied(tmp_path, one, other)


def test_one_layer_many_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was downloaded once: a thousand times it would be a thousand times as much to read."""
    archive = tar([Member("f", "x" * 40_000)])
    path = tmp_path / "one"
    path.write_bytes(archive)
    layer = LayerFile(path, f"sha256:{hashlib.sha256(archive).hexdigest()}", "layer")
    monkeypatch.setattr(tarball, "MOST_BYTES", 3 * len(archive))
    assert list(layers.applied([layer] * 3, in_memory)) == ["/", "/f"]
    with pytest.raises(SourceError, match="layer is refused: with those below it unpacks to more than"):
        layers.applied([layer] * 4, in_memory)


def test_whiteouts_of_many_files_take_no_longer_than_the_files(tmp_path: Path) -> None:
    """Each of them looks at what is of older layers once: two thousand of a folder of two thousand are quick."""
    lower = tar([Member(f"d/{number}") for number in range(2000)])
    hidden = tar([Member("d/.wh..wh..opq") for _ in range(2000)] + [Member(".wh.d") for _ in range(2000)])
    files = Overlaid()
    for number, archive in enumerate((lower, hidden), start=1):
        files.layer = number
        digest = f"sha256:{hashlib.sha256(archive).hexdigest()}"
        layers.apply(io.BytesIO(archive), LayerFile(tmp_path, digest, "x"), files, in_memory, packed_bytes=len(archive))
    assert list(files.tree()) == ["/"]


# Whatever there is

names = st.lists(
    st.sampled_from(["a", "b", "l", "..", ".", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh."]), min_size=1, max_size=4
)
members = st.builds(
    lambda name, kind, target: Member("/".join(name), "/".join(target) if kind in (b"1", b"2") else "x", kind),
    names,
    st.sampled_from([FILE, FILE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]),
    names,
)


@given(st.lists(st.lists(members, max_size=6), max_size=4))
@settings(deadline=None)
def test_whatever_layers_say_there_is_a_tree_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, given: Sequence[Sequence[Member]]
) -> None:
    work = tmp_path_factory.mktemp("layers")
    try:
        tree = applied(work, *map(tar, given))
    except SourceError as error:
        assert error.message.isprintable()
    else:
        assert Tree(dict(tree)).digest == tree.digest
        assert not any(part.startswith(".wh.") for path in tree for part in path.split("/"))
    assert {path.name.removeprefix("layer") for path in work.iterdir()} <= {"0", "1", "2", "3"}


@given(st.binary(max_size=200), st.integers(0, 3000))
@settings(deadline=None)
def test_whatever_is_in_a_layer_it_is_a_tree_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, where: int
) -> None:
    good = tar(LOWER)
    odd = good[:where] + noise + good[where + len(noise) :]
    work = tmp_path_factory.mktemp("layers")
    try:
        applied(work, odd, packed=[odd])
    except SourceError as error:
        assert error.message.isprintable()


def test_numbers_of_a_header_may_be_binary(tmp_path: Path) -> None:
    archive = bytearray(tar([Member("f", "x")], tarfile.GNU_FORMAT))
    archive[108:116] = struct.pack(">Q", 70_000 | 1 << 63)
    archive[148:156] = b"%06o\0 " % (sum(archive[:148]) + 8 * 32 + sum(archive[156:512]))
    assert applied(tmp_path, bytes(archive))["/f"].uid == 70_000


def test_further_headers_one_after_another(tmp_path: Path) -> None:
    """tarfile reads each within the one before."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 10
    chain = (header.tobuf(tarfile.USTAR_FORMAT) + b"10 path=a\n".ljust(512, b"\0")) * 900
    with pytest.raises(SourceError, match="layer 0 is damaged: a member has too many headers"):
        applied(tmp_path, chain + tar([Member("a")]))
