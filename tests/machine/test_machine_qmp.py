"""QEMU's monitor, as something answers that is not quite QEMU."""

import asyncio
import json
import os
import signal
import socket
import time
from typing import Any

import pytest

from imagebuilder.errors import MachineError
from imagebuilder.machine import qmp
from imagebuilder.machine.counting import at_rest
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.qmp import Qmp

from .machines import Make

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 1}, "package": ""}, "capabilities": []}}
ODD: tuple[Any, ...] = ({}, None, [], 5, {"seconds": "a", "microseconds": 1}, {"seconds": 1})
EVENTS = [{"event": "ODD", "timestamp": stamp, "data": []} for stamp in ODD]
GOOD = {"event": "RESUME", "timestamp": {"seconds": 1, "microseconds": 2}, "data": {"a": 1}}
RUNNING = {"return": {"status": "running"}, "id": "__qmp#00000"}
ANSWERS: tuple[list[Any], ...] = ([GREETING], [{"return": {}}], [*EVENTS, GOOD, RUNNING])


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As QEMU: a greeting, and something for each command."""
    for each in ANSWERS:
        writer.write(b"".join(json.dumps(message).encode() + b"\r\n" for message in each))
        if each is not ANSWERS[-1]:
            await reader.read(4096)
    await asyncio.sleep(0.05)
    writer.close()


async def test_an_odd_event_hides_none_behind_it() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    peer = asyncio.create_task(answer(*await asyncio.open_connection(sock=theirs)))
    monitor = Qmp("odd", lambda _event: None)
    async with asyncio.timeout(120):
        await monitor.connect(ours)
        assert (await monitor.execute("query-status"), monitor.version) == ({"status": "running"}, "7.2.1")
        await peer
        await monitor.close()
    assert [(each.name, each.wall_ns) for each in monitor.events] == [
        *[("ODD", 0)] * len(ODD),
        ("RESUME", 1_000_002_000),
    ]


async def test_of_many_events_the_last_are_kept() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=theirs)
    seen: list[int] = []
    monitor = Qmp("busy", lambda event: seen.append(event.data["number"]))

    async def qemu() -> None:
        for (message,) in ANSWERS[:2]:
            writer.write(json.dumps(message).encode() + b"\r\n")
            await reader.read(4096)
        for number in range(3 * qmp.MOST_EVENTS):
            writer.write(json.dumps({**GOOD, "data": {"number": number}}).encode() + b"\r\n")
        writer.write(json.dumps(RUNNING).encode() + b"\r\n")
        await writer.drain()

    peer = asyncio.create_task(qemu())
    async with asyncio.timeout(120):
        await monitor.connect(ours)
        await monitor.execute("query-status")
        await peer
        writer.close()
        await monitor.close()
    assert seen == list(range(3 * qmp.MOST_EVENTS))
    assert [event.data["number"] for event in monitor.events] == seen[-qmp.MOST_EVENTS :]


@pytest.mark.vm
async def test_a_qemu_that_is_stuck_holds_nobody_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lives and says nothing: each command ends in a sentence, whoever sent several has them all, and it is gone."""
    async with Instance.start(make("wait")) as instance:
        await instance.wait_started(120)
        monkeypatch.setattr(qmp, "ANSWER_S", 1.0)
        os.kill(instance.pid, signal.SIGSTOP)
        begin_s = time.monotonic()
        for asking in (instance.monitor.execute("query-status"), at_rest(instance.monitor), instance.probed.taken(80)):
            with pytest.raises(MachineError, match=r"QEMU runs and did not answer .* within 1 s"):
                await asking
        assert time.monotonic() - begin_s < 60
        monkeypatch.undo()
        os.kill(instance.pid, signal.SIGCONT)
        assert await instance.monitor.execute("query-status") == {
            "running": True,
            "singlestep": False,
            "status": "running",
        }
        os.kill(instance.pid, signal.SIGSTOP)
    assert instance.over
