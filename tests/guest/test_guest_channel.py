"""Init at work: what the host asks of it, and what it is told. Each test boots it in QEMU."""

import re
import socket
from pathlib import Path

import pytest

from imagebuilder.platforms.values import Mount
from imagebuilder.recipe.values import Capability

from .conftest import Make
from .guest_boot import NEEDS, PORT, TICK_NS, Guest, boot, running

pytestmark = NEEDS

ALL_PROCESSES = (Mount("proc", "/proc", "hidepid=0"),)  # init too


def test_terminate(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=15", "exit=7"), "ib.channel=1") as guest:
        guest.console.until("waiting for 15")
        guest.channel.until("phase application")
        guest.channel.say(b"terminate\n")
    assert "got 15\n" in guest.console.text
    assert guest.reports[-1] == "exit 7"


def test_terminate_with_the_signal_that_the_image_names(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=3", stop_signal=3), "ib.channel=1") as guest:
        guest.console.until("waiting for 3")
        guest.channel.say(b"term")
        guest.channel.say(b"inate\n")
    assert guest.reports[-1] == "exit 0"


def test_terminate_ends_in_a_kill(kernel: Path, image: Make) -> None:
    with running(kernel, image("ignore=15", "wait=10", stop_grace_ms=200), "ib.channel=1") as guest:
        guest.console.until("waiting for 10")
        guest.channel.say(b"terminate\nterminate\n")
    assert guest.reports[-1] == "signal 9"


def test_signals_and_memory(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=10", "wait=12"), "ib.channel=1") as guest:
        guest.console.until("waiting for 10")
        guest.channel.say(b"memory\nnonsense\nsignal 999\n" + b"x" * 5000 + b"\nsignal 10\n")
        guest.console.until("waiting for 12")
        guest.channel.say(b"signal 12\n")
    (memory,) = (line for line in guest.reports if line.startswith("memory "))
    figures = {key: int(value) for key, value in (word.split("=") for word in memory.split()[1:])}
    told = "total free available buffers cached anonymous mapped shmem slab stacks tables percpu"
    assert list(figures) == told.split()
    assert 64 << 20 > figures["total"] > figures["free"] > 0
    assert figures["anonymous"] > 0 and figures["stacks"] > 0 and figures["tables"] > 0
    assert guest.reports[-1] == "exit 0"


def test_an_application_that_goes_on_has_its_signal_already(kernel: Path, image: Make) -> None:
    with running(kernel, image("go-on-with=10", capabilities=(Capability.SYS_NICE.number,)), "ib.channel=1") as guest:
        guest.console.until("to be stopped")
        guest.channel.say(b"freeze\n")
        guest.channel.until("done freeze")
        guest.channel.say(b"thaw 10\n")
    assert guest.console.text.endswith("went on with 10\n")
    assert guest.reports[-2:] == ["done thaw", "exit 0"]


def test_power_off_at_once(kernel: Path, image: Make) -> None:
    with running(kernel, image("ignore=15", "wait=10"), "ib.channel=1") as guest:
        guest.console.until("waiting for 10")
        guest.channel.say(b"poweroff\n")
    assert guest.reports[-1].startswith("phase application")


def test_control_c_on_the_console(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=2", "exit=5"), "ib.channel=1") as guest:
        guest.console.until("waiting for 2")
        guest.console.say(b"\x03")
    assert "got 2\n" in guest.console.text
    assert guest.reports[-1] == "exit 5"


def test_signals_to_init_reach_the_application(kernel: Path, image: Make) -> None:
    assert boot(kernel, image("init=10", "sleep=9000")).reports[-1] == "signal 10"


def test_a_port_that_comes_late(kernel: Path, image: Make) -> None:
    with running(kernel, image("wait=15"), "ib.channel=1", port=False) as guest:
        guest.console.until("waiting for 15")
        guest.monitor.say(b"device_add virtserialport,chardev=channel,name=imagebuilder.0\n")
        guest.channel.until("phase application")
        guest.channel.say(b"terminate\n")
    assert list(guest.phases_ns) == ["init", "mounts", "network", "application"]
    assert guest.reports[-1] == "exit 0"


def test_a_port_that_comes_when_all_is_over(kernel: Path, image: Make) -> None:
    with running(kernel, image("exit=3"), "ib.channel=1", port=False) as guest:
        guest.console.until("exited with status 3")
        guest.monitor.say(b"device_add virtserialport,chardev=channel,name=imagebuilder.0\n")
    assert guest.reports[-1] == "exit 3"


def test_a_host_that_listens_late(kernel: Path, image: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "late"
    more = ("-chardev", f"socket,id=late,path={path},server=on,wait=off", "-device", PORT.replace("=channel", "=late"))
    with running(
        kernel, image("watch=1000", "wait=15", mounts=ALL_PROCESSES), "ib.channel=1", more=more, port=False
    ) as guest:
        guest.console.until("waiting for 15")
        assert used_ms(guest) < 300
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(str(path))
            stream = late.makefile("rw")
            heard = [stream.readline().split()[1:3] for _ in range(5)]
            stream.write("terminate\n")
            stream.flush()
            heard.append(stream.readline().split()[1:3])
    told = [words for words in heard if words[0] != "clock"]
    phases = [["phase", name] for name in ("init", "mounts", "network", "application")]
    assert told == [*phases, ["exit", "0"]]


def used_ms(guest: Guest) -> int:
    """What init needed of the second in which it had nothing to do."""
    match = re.search(r"init used (\d+) ms of 1000 ms", guest.console.text)
    assert match is not None
    return int(match[1])


@pytest.mark.parametrize("port", [True, False])
def test_waiting_costs_nothing(kernel: Path, image: Make, port: bool) -> None:
    assert used_ms(boot(kernel, image("watch=1000", mounts=ALL_PROCESSES), port=port)) < 300


def test_a_port_that_the_machine_names(kernel: Path, image: Make) -> None:
    assert boot(kernel, image("exit=3"), "ib.channel=vport0p1").reports[-1] == "exit 3"


def test_that_the_application_listens_is_told(kernel: Path, image: Make) -> None:
    tree = image("sleep=300", "listen=8080", "wait=15")
    with running(kernel, tree, "ib.channel=vport0p1 ib.listen=1") as guest:
        guest.channel.until("phase listening")
        guest.console.until("waiting for 15")
        guest.channel.say(b"terminate\n")
    assert list(guest.phases_ns) == ["init", "mounts", "network", "application", "listening"]
    assert guest.reports.index("watch listening") < guest.reports.index(phase(guest, "application"))
    waited_ns = guest.phases_ns["listening"] - guest.phases_ns["application"]
    assert waited_ns > 300_000_000 - TICK_NS
    assert guest.reports[-1] == "exit 0"


def test_it_is_told_once_and_before_the_application_waits(kernel: Path, image: Make) -> None:
    tree = image("listen=8080", "listen=8081", "watch=300", "wait=15", mounts=ALL_PROCESSES)
    with running(kernel, tree, "ib.channel=vport0p1 ib.listen=1") as guest:
        guest.channel.until("phase listening")
        guest.console.until("waiting for 15")
        guest.channel.say(b"terminate\n")
    assert len([line for line in guest.reports if line.startswith("phase listening")]) == 1
    assert guest.reports[-1] == "exit 0"


def test_nobody_asked_whether_it_listens(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("listen=8080"), "ib.channel=vport0p1")
    assert guest.reports[-1] == "exit 0"  # the signal is init's, not the application's
    assert "listening" not in guest.phases_ns


def phase(guest: Guest, name: str) -> str:
    """The line that told of a phase."""
    return f"phase {name} {guest.phases_ns[name]}"


def test_looking_whether_it_listens_costs_little(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("watch=1000", mounts=ALL_PROCESSES), "ib.channel=vport0p1 ib.listen=1")
    assert used_ms(guest) < 300
    assert "listening" not in guest.phases_ns


def test_only_the_port_of_our_name_is_taken(kernel: Path, image: Make) -> None:
    other = ("-chardev", "null,id=other", "-device", "virtserialport,chardev=other,name=other.0")
    assert boot(kernel, image("exit=3"), more=other).reports[-1] == "exit 3"


def test_a_port_that_never_comes_does_not_hold_the_end(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("say=x", "exit=3"), port=False)
    assert guest.console.text == "say [x]\ninit: the application exited with status 3\n"


def test_without_a_channel(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image("exit=3"), "")
    assert guest.console.text == "init: the application exited with status 3\n"
    assert guest.reports == []
