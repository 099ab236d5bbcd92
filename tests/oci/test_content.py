"""Contents that are named by their digests: whole ones come through, nothing is left of others."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.errors import SourceError
from imagebuilder.oci import content
from imagebuilder.oci.content import Descriptor, Hash
from imagebuilder.store import Store

LAYER = "application/vnd.oci.image.layer.v1.tar"


def of(data: bytes, algorithm: str = "sha256", size_bytes: int | None = None) -> Descriptor:
    """The descriptor of some bytes."""
    return Descriptor(LAYER, content.digest_of(data, algorithm), len(data) if size_bytes is None else size_bytes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_whole_content_is_kept(store: Store, algorithm: str) -> None:
    path = content.keep([b"ab", b"", b"c"], of(b"abc", algorithm), store)
    assert path.read_bytes() == b"abc"
    assert content.in_store(of(b"abc"), store) == path


def test_a_size_that_is_not_known_is_not_checked(store: Store) -> None:
    assert content.keep([b"abc"], of(b"abc", size_bytes=-1), store).read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("chunks", "descriptor", "said"),
    [
        ([b"abc", b"d"], of(b"abc"), "is longer than the 3 bytes that it is to be"),
        ([b"ab"], of(b"abc"), "is cut off: 2 bytes instead of 3"),
        ([b"abd"], of(b"abc"), "is damaged: its content has the digest sha256:"),
        ([b"abc"], Descriptor(LAYER, "md5:900150983cd24fb0d6963f7d28e17f72", 3), "is no digest"),
    ],
)
def test_any_other_is_a_sentence_and_leaves_nothing(
    store: Store, chunks: list[bytes], descriptor: Descriptor, said: str
) -> None:
    with pytest.raises(SourceError, match=said):
        content.keep(chunks, descriptor, store)
    assert [path for path in (store.root / "blobs").rglob("*") if path.is_file()] == []
    assert list((store.root / "scratch").iterdir()) == []


def test_one_that_is_longer_is_not_read_to_its_end() -> None:
    def endless() -> Iterator[bytes]:
        for count in range(100):
            assert count < 2
            yield b"abc"

    with pytest.raises(SourceError, match="longer"):
        list(content.checking(endless(), of(b"abc")))


@pytest.mark.parametrize("text", ["", "abc", "sha256:", "sha256:" + "A" * 64, "sha256:" + "a" * 65, "sha1:" + "a" * 40])
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="is no digest"):
        content.check_digest(text)


@given(st.lists(st.binary(max_size=9)), st.integers(0, 9), st.sampled_from(["sha256", "sha512"]))
def test_a_download_that_was_cut_off_is_checked_as_one(chunks: list[bytes], cut: int, algorithm: str) -> None:
    whole = b"".join(chunks)
    seen = Hash(algorithm)
    for chunk in chunks[:cut]:
        seen.update(chunk)
    descriptor = of(whole, algorithm)
    assert b"".join(chunks[:cut]) + b"".join(content.checking(chunks[cut:], descriptor, seen=seen)) == whole
    assert seen.size_bytes == sum(map(len, chunks[:cut]))


def test_platforms_are_said_in_the_words_of_go() -> None:
    assert str(content.Platform("linux", "arm", "v7")) == "linux/arm/v7"
    assert str(content.Platform("linux", "amd64")) == "linux/amd64"
