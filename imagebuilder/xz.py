"""xz, unpacked piece by piece and with a limit on the decoder's own memory, which the standard library's stream lacks:
a file says itself how far its decoder has to remember, up to 4 GiB."""

import io
import lzma
from typing import IO, Any

MOST_DECODER_BYTES = 128 << 20  # what is packed with xz -9 needs 65 MiB
PIECE_BYTES = 1 << 16
MAGIC = b"\xfd7zXZ\0"


def stream(packed: IO[bytes]) -> io.BufferedReader:
    """What is in a packed stream, to be read. Reading raises LZMAError where it is damaged or its decoder would need
    too much memory, EOFError where it ends too early. What follows its end and is no xz is left alone."""
    return io.BufferedReader(_Unpacked(packed), PIECE_BYTES)


class _Unpacked(io.RawIOBase):
    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._rest = b""
        self._decoder = _decoder()

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes, at least one; none at the end."""
        data = b""
        while not data and not (self._decoder.eof and not self._begin_next()):
            data = self._decoder.decompress(self._more(), len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _more(self) -> bytes:
        if not self._decoder.needs_input:
            return b""
        piece, self._rest = self._rest or self._packed.read(PIECE_BYTES), b""
        if not piece:
            raise EOFError("it ends too early")
        return piece

    def _begin_next(self) -> bool:
        """Go on with the stream behind one that ended, where there is one; zeros may stand between."""
        rest = self._rest = (self._rest or self._decoder.unused_data).lstrip(b"\0")
        while len(rest) < len(MAGIC) and (piece := self._packed.read(PIECE_BYTES)):
            rest = self._rest = (rest + piece).lstrip(b"\0")
        if rest.startswith(MAGIC):
            self._decoder = _decoder()
        return rest.startswith(MAGIC)


def _decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MOST_DECODER_BYTES)
