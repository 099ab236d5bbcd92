"""A machine by its bare command line: seen by the same probes, and gone when it has answered, or we have."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.errors import GuestFailed, InputError, NotReady
from imagebuilder.machine.bare import can_watch, first_answer
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Forward
from imagebuilder.recipe.model import Http, Ready, Tcp

from .machines import Make

WAITING = Ready(console="waiting", timeout_s=120)
GONE_S = 300
KILLED = """\
import asyncio, sys
from pathlib import Path
from imagebuilder.machine.bare import first_answer
from imagebuilder.arch import MachineType
from imagebuilder.machine.spec import Accelerator, MachineSpec
from imagebuilder.recipe.model import Ready
kernel, root, cmdline, name = sys.argv[1:]
files = {"kernel": Path(kernel), "initrd": Path(root)}
spec = MachineSpec(MachineType.MICROVM, Accelerator.TCG, cmdline=cmdline, name=name, **files)
asyncio.run(first_answer(spec, Ready(console="never", timeout_s=120), quiet_s=0))
"""


@pytest.mark.parametrize(
    ("ready", "seen"),
    [
        (Ready(console="x"), True),
        (Ready(http=Http(port=80)), True),
        (Ready(tcp=Tcp(port=80, expect="x")), True),
        (Ready(tcp=Tcp(port=80)), False),
        (Ready(exit=0), False),
    ],
)
def test_what_can_be_seen_from_outside_alone(ready: Ready, seen: bool) -> None:
    assert can_watch(ready) is seen


def running(name: str) -> list[int]:
    """QEMUs with this name."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if name.encode() in words and words[0].endswith(b"qemu-system-x86_64"):
            found.append(int(folder.name))
    return found


@pytest.fixture
def name() -> str:
    """A name that nothing else has."""
    return f"bare-{os.getpid()}-{time.monotonic_ns()}"


@pytest.mark.vm
@pytest.mark.parametrize(("word", "ready"), [("wait", WAITING), ("http=80", Ready(http=Http(port=80), timeout_s=120))])
async def test_it_answers_as_an_instance_does(make: Make, name: str, word: str, ready: Ready) -> None:
    spec = make(word, name=name, forwards=(Forward(None, 80),))
    bare = await first_answer(spec, ready, quiet_s=0.1)
    async with Instance.start(spec) as instance:
        ours_ns, ours_s = await instance.wait_ready(ready) - instance.spawned_ns, instance.cpu_s
    assert 1 / 20 < bare.took_ns / ours_ns < 20
    assert bare.cpu_ns and 1 / 4 < bare.cpu_ns / 1e9 / ours_s < 4
    assert running(name) == []


@pytest.mark.vm
async def test_one_that_is_late_or_ends(make: Make, name: str) -> None:
    spec = make("wait", name=name)
    with pytest.raises(NotReady):
        await first_answer(spec, Ready(console="never", timeout_s=2), quiet_s=0)
    with pytest.raises(GuestFailed):
        await first_answer(make("exit=0", name=name), Ready(console="never", timeout_s=120), quiet_s=0)
    with pytest.raises(InputError):
        await first_answer(replace(spec, kernel=Path("/none")), WAITING, quiet_s=0)
    assert running(name) == []


EARLY = """\
import os, signal
from imagebuilder.machine import bare
spawn = bare._spawn
bare._spawn = lambda *words: (spawn(*words), os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.vm
def test_it_ends_when_we_are_killed_before_we_know_it(make: Make, name: str) -> None:
    spec = make("wait", name=name)
    words = (str(spec.kernel), str(spec.initrd), spec.cmdline, name)
    assert subprocess.run([sys.executable, "-c", EARLY + KILLED, *words]).returncode == -signal.SIGKILL
    until = time.monotonic() + GONE_S
    while running(name):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.vm
def test_it_ends_when_we_are_killed(make: Make, name: str) -> None:
    spec = make("wait", name=name)
    words = (str(spec.kernel), str(spec.initrd), spec.cmdline, name)
    with subprocess.Popen([sys.executable, "-c", KILLED, *words]) as we:
        while not running(name):
            assert we.poll() is None
            time.sleep(0.01)
        we.send_signal(signal.SIGKILL)
    until = time.monotonic() + GONE_S
    while running(name):
        assert time.monotonic() < until
        time.sleep(0.01)
