"""What connects us with one QEMU: pairs of sockets and unlinked files, none of which has a name to leave behind."""

import fcntl
import os
import socket
import tempfile
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Self

from imagebuilder.errors import MachineError
from imagebuilder.machine.command_line import Wiring
from imagebuilder.machine.firewall import guarded
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.network import subnet
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.recipe.values import Egress

PIPE_BYTES = 1 << 16


class Transport:
    """Our ends are ``qmp``, ``console`` and ``channel``; QEMU inherits the others, the scratch disks, a pipe that
    holds the device ``state`` of a template, and both ends of the wire to the network of a guest with a way out."""

    def __init__(self, spec: MachineSpec, launch: Launch = COLD, state: bytes | None = None) -> None:
        with ExitStack() as theirs, ExitStack() as ours:
            pairs = []
            for _ in range(3):  # each in its stack before the next, for which there may be no descriptor left
                own, other = socket.socketpair()
                pairs.append((ours.enter_context(own), theirs.enter_context(other)))
                own.setblocking(False)
            (self.qmp, qmp), (self.console, console), (self.channel, channel) = pairs
            scratch = tuple(theirs.enter_context(_scratch(disk.size_bytes)).fileno() for disk in spec.scratch)
            state_fd = None if state is None else theirs.enter_context(_filled_pipe(state)).fileno()
            wire: tuple[int, ...] = ()
            if spec.network and spec.egress is Egress.FULL:
                wire = tuple(theirs.enter_context(each).fileno() for each in guarded(subnet(launch)))
            self.wiring = Wiring(qmp.fileno(), console.fileno(), channel.fileno(), scratch, state_fd, *wire)
            self._theirs, self._ours = theirs.pop_all(), ours.pop_all()

    @property
    def fds(self) -> tuple[int, ...]:
        """What QEMU inherits."""
        wiring = self.wiring
        more = (wiring.state_fd, wiring.guest_fd, wiring.network_fd)
        given = tuple(each for each in more if each is not None)
        return (wiring.qmp_fd, wiring.console_fd, wiring.channel_fd, *wiring.scratch_fds, *given)

    def hand_over(self) -> None:
        """QEMU has its ends now: with them closed here, its end is ours to notice."""
        self._theirs.close()

    def close(self) -> None:
        """Let go of everything."""
        self._theirs.close()
        self._ours.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _filled_pipe(content: bytes) -> IO[bytes]:
    """The end of a pipe from which the content can be read: QEMU takes a state from pipes, and no longer from files."""
    read_fd, write_fd = os.pipe()
    stream = os.fdopen(read_fd, "rb", buffering=0)
    with os.fdopen(write_fd, "wb", buffering=0) as writer:
        try:
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, max(len(content), PIPE_BYTES))
        except OSError as error:
            stream.close()
            raise MachineError(
                f"a template's state of {len(content) >> 10} KiB does not fit into a pipe here",
                hint="sudo sysctl fs.pipe-max-size=4194304",
            ) from error
        writer.write(content)
    return stream


def _scratch(size_bytes: int) -> IO[bytes]:
    """An empty file without a name, which takes space only as it is written."""
    try:
        stream = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's stack closes it
        stream.truncate(size_bytes)
    except OSError as error:
        raise MachineError(
            f"a scratch disk of {size_bytes >> 20} MiB cannot be made in {tempfile.gettempdir()}: {error.strerror}",
            hint="set TMPDIR to a folder with room",
        ) from error
    return stream
