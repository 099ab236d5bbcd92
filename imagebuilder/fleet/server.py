"""A server on the loopback interface: every request is answered by a machine of its own, thrown away afterwards."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from imagebuilder.errors import ImagebuilderError, InputError
from imagebuilder.fleet.http import (
    HEAD_BYTES,
    Request,
    Response,
    TooLarge,
    Unreadable,
    plain,
    read_answer,
    read_request,
)
from imagebuilder.fleet.pool import Pool
from imagebuilder.fleet.spare import Spare
from imagebuilder.machine.failures import PortTaken
from imagebuilder.machine.spec import LOOPBACK
from imagebuilder.machine.waiting import all_of
from imagebuilder.recipe.model import Ready

MACHINE_HEADER = "X-Machine"
ADDRESS_IN_USE = 98  # Linux


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may take."""

    body_bytes: int = 8 << 20
    answer_bytes: int = 32 << 20
    ask_s: float = 30.0
    """For the client to send its request."""
    machine_s: float = 30.0
    """For a machine to stand ready."""
    answer_s: float = 60.0
    """For the machine to answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """A request that was answered. ``took_ms`` is from its last byte to the whole answer, ``machine`` the name of the
    one that was asked (None: it did not come to that), ``trouble`` what we said in its place."""

    method: str
    target: str
    status: int
    took_ms: float
    sent_bytes: int
    machine: str | None = None
    trouble: str | None = None


class Front:
    """Answers requests at ``port`` with machines of a pool. Raises InputError for a template that speaks no HTTP."""

    def __init__(self, pool: Pool, *, on_served: Callable[[Served], None], limits: Limits | None = None) -> None:
        self._pool = pool
        self._guest_port = http_port(pool.template.name, pool.template.ready)
        self._on_served = on_served
        self._limits = limits or Limits()
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def listen(self, port: int) -> int:
        """Begin; 0 is any free port. Returns the port. Raises PortTaken, OSError."""
        try:
            self._server = await asyncio.start_server(self._talk, LOOPBACK, port, limit=HEAD_BYTES)
        except OSError as error:
            if error.errno == ADDRESS_IN_USE:
                raise PortTaken(port) from error
            raise
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self, patience_s: float) -> None:
        """Take no further requests; those under way get so long to end."""
        if self._server is not None:
            self._server.close()
        await all_of(*self._talks, timeout_s=patience_s)
        for talk in self._talks:
            talk.cancel()
        await all_of(*self._talks)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            with suppress(OSError, EOFError):  # the client has left
                await self._one(reader, writer)
        finally:
            self._talks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, machine = Request(method="-", target="-"), None
        begin_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(self._limits.ask_s):
                request = await read_request(reader, writer, self._limits.body_bytes)
        except TooLarge as error:
            answer = plain(413, "Content Too Large", f"The request {error}.")
        except Unreadable as error:
            answer = plain(400, "Bad Request", f"The request cannot be passed on: it {error}.")
        except TimeoutError:
            answer = plain(408, "Request Timeout", f"The request did not come within {self._limits.ask_s:g} s.")
        else:
            begin_ns = time.monotonic_ns()
            answer, machine = await self._answered(request)
        data = answer.to_bytes({MACHINE_HEADER: machine} if machine else None)
        took_ms = (time.monotonic_ns() - begin_ns) / 1e6
        trouble = answer.body.decode().strip() if answer.ours else None
        self._on_served(Served(request.method, request.target, answer.status, took_ms, len(data), machine, trouble))
        writer.write(data)
        await writer.drain()

    async def _answered(self, request: Request) -> tuple[Response, str | None]:
        """The answer of a machine of its own, with the machine's name; or ours in its place."""
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._limits.machine_s):
                    spare = await stack.enter_async_context(self._pool.spare())
            except TimeoutError:
                return plain(503, "Service Unavailable", "No machine was ready in time: try again."), None
            except (ImagebuilderError, OSError) as error:
                return plain(503, "Service Unavailable", f"No machine can be made: {error}."), None
            return await self._asked(spare, request), spare.identity.hostname

    async def _asked(self, spare: Spare, request: Request) -> Response:
        limit_s = self._limits.answer_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._exchange(spare.instance.host_port(self._guest_port), request)
        except TimeoutError:
            return plain(504, "Gateway Timeout", f"The machine did not answer within {limit_s:g} s.")
        except Unreadable as error:
            return plain(502, "Bad Gateway", f"The machine gave an answer that cannot be passed on: it {error}.")
        except (OSError, EOFError):
            return plain(502, "Bad Gateway", "The machine closed the connection without a whole answer.")

    async def _exchange(self, port: int, request: Request) -> Response:
        reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=HEAD_BYTES)
        try:
            writer.write(request.to_bytes())
            return await read_answer(reader, request.method, self._limits.answer_bytes)
        finally:
            writer.close()


def http_port(name: str, ready: Ready) -> int:
    """The guest's port at which it answers HTTP. Raises InputError when its recipe names none."""
    if ready.http is None:
        raise InputError(
            f"{name} is not known to answer HTTP: the [ready] of its recipe asks no http question",
            hint='ready.http = { port = 80, path = "/" }',
        )
    return ready.http.port
