"""An instance as ordinary tests use it: every call waits for its result."""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from imagebuilder.bundle import Bundle
from imagebuilder.errors import MachineError, NotReady
from imagebuilder.machine import artefacts
from imagebuilder.machine.answers import MOST_BYTES, Unanswered, fetch
from imagebuilder.machine.cloner import Cloner
from imagebuilder.machine.ending import Exit
from imagebuilder.machine.excerpt import quoted
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.messages import GuestMemory
from imagebuilder.machine.qmp import QmpEvent
from imagebuilder.machine.spec import LOOPBACK, MachineSpec
from imagebuilder.machine.usage import HostMemory
from imagebuilder.measure.startup import start_of
from imagebuilder.pytest_plugin.background import Background
from imagebuilder.recipe.model import Ready

NS_PER_MS = 1e6
ANSWER_S = 30.0
CHUNK_BYTES = 1 << 16
MOST_CHARACTERS = 10_000  # of a console that people look at


class Running:
    """A machine that was started from an image. Times are in ms since QEMU was spawned."""

    def __init__(
        self,
        background: Background,
        image: Bundle,
        *,
        spec: MachineSpec,
        on_console: Callable[[bytes], None] | None = None,
        cloner: Cloner | None = None,
    ) -> None:
        self.image = image
        """What it was started from."""
        self.ready = image.ready
        """What counts as an answer."""
        self._ready_ns: int | None = None
        self._background = background
        self._context = (
            Instance.start(spec, on_console=on_console) if cloner is None else cloner.clone(on_console=on_console)
        )
        self._instance = background.run(self._context.__aenter__())

    # What it is

    @property
    def spec(self) -> MachineSpec:
        """The machine, with the host ports that were chosen."""
        return self._instance.spec

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._instance.pid

    def host_port(self, guest_port: int) -> int:
        """The port of 127.0.0.1 at which a port of the guest is reached. Raises MachineError when there is none."""
        return self._instance.host_port(guest_port)

    # What was seen of it

    @property
    def console(self) -> str:
        """What the guest has printed; of much, the beginning and the end."""
        return self._background.call(lambda: self._instance.console)

    @property
    def events(self) -> tuple[QmpEvent, ...]:
        """The last events of QEMU."""
        return self._background.call(lambda: self._instance.events)

    @property
    def qemu_output(self) -> str:
        """What QEMU itself said."""
        return self._background.call(lambda: self._instance.qemu_output)

    @property
    def ready_ms(self) -> float | None:
        """When it gave its first real answer; None as long as it was not waited for."""
        return None if self._ready_ns is None else self._ms(self._ready_ns)

    @property
    def phases_ms(self) -> dict[str, float | None]:
        """How long each phase of the start took (``docs/phases.md``); they add up to ``ready_ms``. None where its begin
        or its end is not known, or was not reached so far."""
        return self._background.call(self._phases_ms)

    def _phases_ms(self) -> dict[str, float | None]:
        if self._ready_ns is not None:
            return start_of(self._instance, self._ready_ns).phases_ms
        start = start_of(self._instance, time.monotonic_ns())
        going_on = "answer" if "listening" in start.marks_ns else "application"
        return {**start.phases_ms, going_on: None}

    def host_memory(self) -> HostMemory:
        """The memory of QEMU's process, the guest's included. Raises MachineError when it has ended."""
        return self._background.call(self._instance.host_memory)

    def guest_memory(self) -> GuestMemory:
        """The guest's memory as its kernel counts it. Raises MachineError when init does not answer."""
        return self._background.run(self._instance.guest_memory())

    # What one waits for

    def wait_started(self, timeout_s: float | None = None) -> None:
        """Wait until init has started the application. Raises NotReady after ``timeout_s`` (the recipe's when not
        given), GuestFailed when the machine ends without."""
        __tracebackhide__ = True
        self._background.run(self._instance.wait_started(self.ready.timeout_s if timeout_s is None else timeout_s))

    def wait_ready(self, ready: Ready | None = None, timeout_s: float | None = None) -> float:
        """Wait for the first real answer, or a further one; returns its time in ms. Raises NotReady, GuestFailed."""
        __tracebackhide__ = True
        at_ns = self._background.run(self._instance.wait_ready(ready or self.ready, timeout_s))
        self._ready_ns = at_ns if self._ready_ns is None else self._ready_ns
        return self._ms(at_ns)

    def ask(self) -> tuple[str, str]:
        """Ask once more as ``[ready]`` says, and no longer than until that suffices: what was asked, and what was
        answered. Without a port to ask it is what the console shows. Raises NotReady, GuestFailed."""
        __tracebackhide__ = True
        self._background.run(self._instance.wait_ready(self.ready, curious=True))
        answer, port, http, tcp = self._instance.answer, self.ready.port, self.ready.http, self.ready.tcp
        if port is None:
            return f"the console of {self.spec.name}", self.console.strip()[-MOST_CHARACTERS:]
        where = f"{LOOPBACK}:{self.host_port(port)}"
        text = answer.content.decode(errors="replace") if answer else ""
        if http is not None:
            return f"GET http://{where}{http.path} → {answer.status if answer else http.status}", text
        sent = f", sent {quoted(tcp.send)}" if tcp and tcp.send else ""
        return f"TCP {where}{sent}", text or "(the connection was accepted; [ready] expects no more)"

    def wait_exit(self, timeout_s: float | None = None) -> Exit:
        """Wait until the machine has ended; returns how. Raises NotReady when it has not after ``timeout_s``."""
        __tracebackhide__ = True
        try:
            return self._background.run(asyncio.wait_for(self._instance.wait_exit(), timeout_s))
        except TimeoutError as error:
            raise NotReady(f"{self.spec.name} had not ended after {timeout_s:g} s") from error

    # What one does to it

    def write_console(self, data: bytes) -> None:
        """Type into the guest's console."""
        self._background.call(lambda: self._instance.terminal.write(data))

    def terminate(self) -> Exit:
        """Ask the application to end, then power off, then end QEMU; each only when the one before did not help."""
        return self._background.run(self._instance.terminate())

    def kill(self) -> None:
        """End QEMU at once."""
        self._background.call(self._instance.kill)

    def write_artefacts(self, folder: Path) -> None:
        """Write down what there is to see of it, and the command line that repeats the boot by hand."""
        self._background.call(lambda: artefacts.write(self._instance, folder))

    def close(self) -> None:
        """End it, and let go of everything."""
        self._background.run(self._context.__aexit__(None, None, None))

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ms(self, at_ns: int) -> float:
        return (at_ns - self._instance.spawned_ns) / NS_PER_MS


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What an HTTP server answered."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")


class Probe:
    """Asks a running instance, outside of any stopwatch. Without ``port`` the one that says when it is ready, else the
    first that is forwarded. Raises MachineError when no answer comes."""

    def __init__(self, running: Running, background: Background) -> None:
        self._running = running
        self._background = background

    def get(self, path: str = "/", *, port: int | None = None) -> ProbeAnswer:
        """One HTTP GET."""
        __tracebackhide__ = True
        asked = asyncio.wait_for(fetch(self._running.host_port(self._port(port)), path), ANSWER_S)
        try:
            return ProbeAnswer(*self._background.run(asked))
        except (Unanswered, TimeoutError) as error:
            why = str(error) or f"has not given a whole answer within {ANSWER_S:g} s"
            raise MachineError(f"{self._running.spec.name}: port {self._port(port)} {why}") from error

    def tcp(self, send: bytes = b"", *, until: bytes | None = None, port: int | None = None) -> bytes:
        """Send some bytes over TCP; returns what comes back, up to and with ``until``, or to the end."""
        __tracebackhide__ = True
        address = (LOOPBACK, self._running.host_port(self._port(port)))
        try:
            with socket.create_connection(address, ANSWER_S) as connection:
                connection.sendall(send)
                return _received(connection, until, time.monotonic() + ANSWER_S)
        except OSError as error:
            why = error.strerror or f"has not answered within {ANSWER_S:g} s"
            raise MachineError(f"{self._running.spec.name}: port {self._port(port)}: {why}") from error

    def _port(self, port: int | None) -> int:
        known = [port, self._running.ready.port, *(forward.guest_port for forward in self._running.spec.forwards)]
        found = next((each for each in known if each is not None), None)
        if found is None:
            raise MachineError(f"{self._running.spec.name} has no port to ask: add one to machine.ports of the recipe")
        return found


def _received(connection: socket.socket, until: bytes | None, end_s: float) -> bytes:
    """What comes until then, at most ``MOST_BYTES``. Raises OSError."""
    data = bytearray()
    while len(data) <= MOST_BYTES:
        connection.settimeout(max(0.001, end_s - time.monotonic()))
        part = connection.recv(CHUNK_BYTES)
        looked_at = max(0, len(data) - len(until or b""))
        data += part
        found = data.find(until, looked_at) if until else -1
        if until and found >= 0:
            return bytes(data[: found + len(until)])
        if not part:
            return bytes(data)
    raise OSError(0, f"it has sent more than {MOST_BYTES >> 20} MiB")
