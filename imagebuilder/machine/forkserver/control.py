"""How the library in a fork server is asked for copies (``src/forkserver.c`` is the other side of it)."""

import asyncio
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from imagebuilder.errors import MachineError
from imagebuilder.machine.forkserver.library import LIBRARY
from imagebuilder.machine.waiting import readable

NUMBER = struct.Struct("i")
ANSWER_S = 30.0


class Control:
    """Our end of the socket. One copy at a time is made; several may be asked for at once."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setblocking(False)
        self._lock = asyncio.Lock()

    @property
    def environment(self) -> Mapping[str, str]:
        """What QEMU is started with, besides the usual."""
        return {"LD_PRELOAD": str(LIBRARY.file), "IMAGEBUILDER_FORK_SERVER": str(self._theirs.fileno())}

    @property
    def fds(self) -> tuple[int, ...]:
        """What QEMU inherits."""
        return (self._theirs.fileno(),)

    async def greeted(self, pid: int) -> None:
        """QEMU has greeted: wait until the library in it says that it is there. Raises MachineError."""
        self._theirs.close()
        if str(LIBRARY.file) not in Path(f"/proc/{pid}/maps").read_text():
            raise MachineError("QEMU did not load what makes it one")
        await self._answer()

    async def copy(self, replaced: Mapping[int, int]) -> int:
        """Have a copy made, in which files with these numbers are replaced by those of ours; returns its process, a
        child of this one. Raises MachineError. It is not to be cancelled: the copy would be made all the same."""
        async with self._lock:
            numbers = b"".join(map(NUMBER.pack, replaced))
            try:
                socket.send_fds(self._ours, [numbers], list(replaced.values()))
            except OSError as error:
                raise MachineError(f"the fork server cannot be asked for a copy: {error.strerror}") from error
            found = await self._answer()
        if found < 0:
            raise MachineError(f"the fork server could not be copied: {os.strerror(-found)}")
        return found

    async def _answer(self) -> int:
        try:
            async with asyncio.timeout(ANSWER_S):
                await readable(self._ours)
            (answer,) = NUMBER.unpack(self._ours.recv(NUMBER.size))
        except TimeoutError as error:
            raise MachineError(f"the fork server does not answer within {ANSWER_S:g} s") from error
        except (OSError, struct.error) as error:
            raise MachineError("the fork server has ended") from error
        return int(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ours.close()
        self._theirs.close()
