"""xz in pieces: the same bytes as the standard library's, and no more memory than is allowed."""

import io
import lzma
import random

import pytest

from imagebuilder import xz

CONTENT = random.Random(1).randbytes(300_000) + bytes(3_000_000)
PACKED = lzma.compress(CONTENT, preset=1)


@pytest.mark.parametrize("between", [b"", bytes(4), bytes(200_000)], ids=["at once", "zeros", "many zeros"])
@pytest.mark.parametrize("behind", [b"", b"\n", b"another file", bytes(3)])
def test_as_the_standard_library(between: bytes, behind: bytes) -> None:
    packed = PACKED + between + lzma.compress(b"more") + behind
    assert xz.stream(io.BytesIO(packed)).read() == CONTENT + b"more"


def test_nothing_is_nothing() -> None:
    assert xz.stream(io.BytesIO(lzma.compress(b""))).read() == b""
    with pytest.raises(EOFError):
        xz.stream(io.BytesIO(b"")).read()


def test_no_more_than_is_asked_for() -> None:
    stream = io.BytesIO(PACKED)
    assert xz.stream(stream).read(1000) == CONTENT[:1000]
    assert stream.tell() < len(PACKED)


@pytest.mark.parametrize("count", range(0, len(PACKED), len(PACKED) // 7))
def test_truncated(count: int) -> None:
    with pytest.raises(EOFError):
        xz.stream(io.BytesIO(PACKED[:count])).read()


def test_damaged() -> None:
    spoilt = bytearray(PACKED)
    spoilt[len(PACKED) // 2] ^= 1
    with pytest.raises(lzma.LZMAError):
        xz.stream(io.BytesIO(spoilt)).read()


def test_what_its_decoder_has_to_remember_is_limited() -> None:
    wide = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    packed = lzma.compress(b"little", filters=wide)
    assert lzma.decompress(packed) == b"little"
    with pytest.raises(lzma.LZMAError, match="limit"):
        xz.stream(io.BytesIO(packed)).read()
