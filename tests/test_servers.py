"""The recipes memcached and haproxy: built, booted, and asked over their own protocols."""

import asyncio
import socket
from pathlib import Path

import pytest

from imagebuilder.build.walk import build
from imagebuilder.events import silent
from imagebuilder.machine.ending import How
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from tests.asking import asked

pytestmark = [pytest.mark.vm, pytest.mark.network]


def talked(port: int, sent: bytes, last: bytes) -> bytes:
    """What a server answers until it says the ``last``."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        answer = b""
        while not answer.endswith(last):
            answer += connection.recv(4096)
        return answer


async def test_memcached_keeps_counts_and_forgets(tmp_path: Path) -> None:
    bundle = build(load("memcached"), tmp_path / "out", store=Store(tmp_path / "cache"), say=silent)
    sent = b"set a 5 0 2\r\n41\r\nincr a 1\r\nget a\r\ndelete a\r\nget a\r\nversion\r\n"
    async with Instance.start(spec_of(bundle, accelerator=Accelerator.TCG, memory_mib=16)) as instance:
        await instance.wait_ready(bundle.ready)
        answer = await asyncio.to_thread(talked, instance.host_port(11211), sent, b"VERSION 1.6.18\r\n")
        assert answer == b"STORED\r\n42\r\nVALUE a 5 2\r\n42\r\nEND\r\nDELETED\r\nEND\r\nVERSION 1.6.18\r\n"
        assert (await instance.terminate()).how is How.APPLICATION


async def test_haproxy_hands_on_and_says_who_asked(tmp_path: Path) -> None:
    bundle = build(load("haproxy"), tmp_path / "out", store=Store(tmp_path / "cache"), say=silent)
    async with Instance.start(spec_of(bundle, accelerator=Accelerator.TCG, memory_mib=16)) as instance:
        await instance.wait_ready(bundle.ready)
        url = f"http://127.0.0.1:{instance.host_port(80)}"
        assert await asyncio.to_thread(asked, f"{url}/a/b?c") == (200, b"for /a/b, asked by 10.0.2.2\n")
        assert (await asyncio.to_thread(asked, f"{url}/private/x"))[0] == 403
        assert (await instance.terminate()).how is How.APPLICATION
