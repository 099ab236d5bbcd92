"""``imagebuilder serve --per-request``: every request has a machine of its own, whatever that one does."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from imagebuilder.fleet.pool import Pool
from imagebuilder.fleet.server import Front, Limits, Served
from imagebuilder.machine.template import Template

from .conftest import TELLER
from .test_fleet_pool import children, ended

REQUESTS = 20
PATIENCE_S = 300


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client got."""

    status: int
    headers: list[tuple[str, str]]
    body: str


async def ask(port: int, method: str, path: str, body: bytes | None = None) -> Reply:
    """One request by a client that knows nothing of us."""

    def asked() -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request(method, path, body, {"X-Given": "yes"})
        response = connection.getresponse()
        return Reply(response.status, response.getheaders(), response.read().decode())

    return await asyncio.to_thread(asked)


def asked(template: Template, *requests: tuple[str, str, bytes | None], limits: Limits | None = None) -> list[Reply]:
    """The replies to requests one after the other, each checked against what the server notes of it."""
    served: list[Served] = []

    async def all_asked() -> list[Reply]:
        async with Pool(template, ready=2) as pool:
            front = Front(pool, on_served=served.append, limits=limits)
            port = await front.listen(0)
            replies = [await ask(port, *each) for each in requests]
            await front.close(PATIENCE_S)
            return replies

    replies = asyncio.run(all_asked())
    assert [each.status for each in served] == [each.status for each in replies]
    assert [each.method for each in served] == [method for method, _, _ in requests]
    return replies


@pytest.mark.vm
def test_a_request_and_its_answer_pass_whole(template: Template) -> None:
    body = bytes(range(48, 123)) * 200
    echoed, chunked, head = asked(
        template, ("POST", "/echo?a=b", body), ("GET", "/chunked", None), ("HEAD", "/echo", None)
    )
    assert echoed.body.startswith("POST /echo") and "X-Given: yes\r\n" in echoed.body
    assert echoed.body.endswith(body.decode())
    assert chunked == Reply(201, chunked.headers, "hello world")
    assert [value for key, value in chunked.headers if key == "Set-Cookie"] == ["a=1", "b=2"]
    assert "X-Here" not in dict(chunked.headers)
    assert (head.status, head.body) == (200, "")
    assert int(dict(head.headers)["Content-Length"]) > 0


@pytest.mark.vm
def test_a_machine_that_misbehaves_harms_nobody_else(template: Template) -> None:
    replies = asked(template, *(("GET", path, None) for path in ("/garbage", "/silent", "/end", "/")))
    assert [each.status for each in replies] == [502, 502, 502, 200]
    assert "begins with no line of HTTP/1" in replies[0].body
    assert "without a whole answer" in replies[1].body


@pytest.mark.vm
def test_a_machine_that_never_answers(template: Template) -> None:
    (reply,) = asked(template, ("GET", "/stuck", None), limits=Limits(answer_s=0.5))
    assert reply.status == 504
    assert "did not answer within 0.5 s" in reply.body


@pytest.mark.vm
def test_no_machine_can_be_made(template: Template) -> None:
    torn = replace(template)
    torn.__dict__["state"] = template.state[: len(template.state) // 2]
    (reply,) = asked(torn, ("GET", "/", None))
    assert reply.status == 503
    assert reply.body.startswith("No machine can be made: teller")


def test_a_client_that_sends_no_http_is_told_so() -> None:
    async def told() -> bytes:
        front = Front.__new__(Front)
        front._limits, front._on_served, front._talks = Limits(), served.append, set()
        port = await front.listen(0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"Hello\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await front.close(1)
        return answer

    served: list[Served] = []
    assert asyncio.run(told()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert served[0].status == 400


@pytest.mark.tools
def test_what_cannot_be_served_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for words, sentence in (
            (("redis", "--port", "0"), "redis is not known to answer HTTP"),
            (("nginx", "--port", port), f"port {port} of this machine is taken"),
        ):
            argv = [sys.executable, "-m", "imagebuilder", "serve", *words, "--per-request"]
            given = {**os.environ, "IMAGEBUILDER_CACHE": str(tmp_path / "cache")}
            ran = subprocess.run(argv, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60)
            assert ran.returncode == 2 and sentence in ran.stderr, ran
            assert not list(tmp_path.iterdir())


@contextmanager
def serving(tmp_path: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The verb in a process of its own, and the port at which it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = ["-m", "imagebuilder", "serve", str(TELLER), "--per-request", "--port", str(port), "--accel", "tcg", *words]
    with subprocess.Popen(
        [sys.executable, *argv], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            while f"http://127.0.0.1:{port}" not in (line := process.stderr.readline()):
                assert line, "it ended before it listened"
            yield process, port
        finally:
            process.kill()


@pytest.mark.vm
def test_every_request_has_a_machine_of_its_own(template: Template, tmp_path: Path) -> None:
    with serving(tmp_path, "--requests", str(REQUESTS), "--json", "--ready", "3") as (process, port):
        replies = [asyncio.run(ask(port, "GET", "/")) for _ in range(REQUESTS)]
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    *rows, last = map(json.loads, out.splitlines())
    names = [dict(line.split(" ", 1) for line in each.body.splitlines())["hostname"] for each in replies]
    assert len(set(names)) == REQUESTS
    assert [row["machine"] for row in rows] == names == [dict(each.headers)["X-Machine"] for each in replies]
    assert last["requests"] == REQUESTS and last["troubled"] == 0
    assert 0 < last["median_ms"] <= last["largest_ms"] == max(row["took_ms"] for row in rows)


@pytest.mark.vm
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_order(template: Template, tmp_path: Path, number: int) -> None:
    with serving(tmp_path, "--ready", "1") as (process, port):
        assert asyncio.run(ask(port, "GET", "/")).status == 200
        while not (machines := children(process.pid)):  # the used one is gone before the next is begun
            time.sleep(0.01)
        os.kill(process.pid, number)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + number
    assert out.startswith("1 request, median ")
    assert all(ended(pid) for pid in machines)


@pytest.mark.vm
def test_a_port_that_is_taken_is_named(template: Template, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["serve", str(TELLER), "--per-request", "--accel", "tcg", "--port", str(taken.getsockname()[1])]
        ran = subprocess.run(
            [sys.executable, "-m", "imagebuilder", *words], cwd=tmp_path, capture_output=True, text=True
        )
    assert ran.returncode == 2
    assert "of this machine is taken" in ran.stderr
    assert "Traceback" not in ran.stderr
