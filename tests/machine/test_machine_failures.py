"""Applications that fail, each in its own way, and the sentence that one reads then."""

import asyncio
import os
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.errors import GuestFailed, MachineError, NotReady
from imagebuilder.machine.diagnosis import Seen, failed, last_words, late
from imagebuilder.machine.ending import Exit, How
from imagebuilder.machine.failures import write_evidence
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.launcher import Spawned
from imagebuilder.machine.messages import Listens
from imagebuilder.machine.qmp import Qmp
from imagebuilder.machine.spec import Forward, MachineSpec
from imagebuilder.recipe.model import Http, Ready, Tcp

from .machines import Make

pytestmark = pytest.mark.vm

WEB = Ready(http=Http(port=80, body="It works"), timeout_s=120)
SOON = Ready(http=Http(port=80, body="It works"), timeout_s=2)
PONG = Ready(tcp=Tcp(port=80, send="PING", expect="-PANG"), timeout_s=2)
LINE = Ready(console="^never$", timeout_s=120)
AT_WORK = Ready(console="^(waiting|listening)", timeout_s=120)
MORE = "give it more: machine.memory_mib of the recipe, or --memory"
FOREGROUND = "have it stay in the foreground, as nginx with -g 'daemon off;' and redis-server with --daemonize no"
IPV6 = 'its kernel may lack IPv6: have it listen on 0.0.0.0, or add that with kernel.fragments = ["ipv6"]'
OUTSIDE = (
    'a guest reaches nothing outside of it by itself: egress = "full" under [machine] of the recipe, or --egress full'
    " of run and serve, lets it"
)
LATE = "imagebuilder was not ready within 2 s:"


@pytest.mark.parametrize(
    ("words", "ready", "sentence"),
    [
        (
            ("say=reading the configuration", "say=cannot bind", "exit=3"), WEB,
            "imagebuilder: the application started and exited with status 3 before it was ready"
            " (the console ends with: reading the configuration / cannot bind)",
        ),
        (
            ("raise=11",), WEB,
            "imagebuilder: the application started and was ended by SIGSEGV before it was ready",
        ),
        (
            ("say=forking", "background"), WEB,
            "imagebuilder: the application went into the background (it exited with status 0 and left 2 processes"
            f" running) before it was ready (the console ends with: forking; {FOREGROUND})",
        ),
        (
            ("six",), WEB,
            "imagebuilder: the application started and exited with status 1 before it was ready (the console ends with:"
            f" socket [::]:80: Address family not supported by protocol; {IPV6})",
        ),
        (
            ("connect=10.1.2.3",), WEB,
            "imagebuilder: the application started and exited with status 1 before it was ready (the console ends with:"
            f" connect 10.1.2.3: Connection refused; {OUTSIDE})",
        ),
        (
            ("eat",), LINE,
            f"imagebuilder: the guest ran out of memory (32 MiB): its kernel killed the application before it was ready"
            f" (*; {MORE})",
        ),
        (
            ("say=I leave", "reboot"), LINE,
            "imagebuilder: the machine powered off while the application ran, before it was ready"
            " (the console ends with: I leave)",
        ),
        (
            ("local=80",), SOON,
            f"{LATE} port 80 is listened on at 127.0.0.1:80 only (the console ends with: listening on 80;"
            " the guest's network does not reach that: have it listen on 0.0.0.0)",
        ),
        (
            ("http=8080",), SOON,
            f"{LATE} nothing listens on port 80, but at 0.0.0.0:8080"
            " (the console ends with: listening on 8080; give [ready] that port, or the application this one)",
        ),
        (
            ("wait",), SOON,
            f"{LATE} nothing listens on port 80, nor on another one (the console ends with: waiting; the application"
            " may need more time, or no network port)",
        ),
        (
            ("pong=80",), PONG,
            # It "gave" it, or "has given" it "so far", when the time ended before the connection did.
            f"{LATE} port 80 *: '+PONG\\r\\n' (the console ends with: listening on 80)",
        ),
        (
            ("http=80",), SOON.model_copy(update={"http": Http(port=80, status=204)}),
            f"{LATE} port 80 answered with HTTP status 200 instead of 204, with 'It works\\n'"
            " (the console ends with: listening on 80)",
        ),
    ],
    ids=["exits", "crashes", "background", "ipv6", "egress", "memory", "reboots", "loopback", "port", "nowhere", "tcp",
         "http"],
)  # fmt: skip
async def test_an_application_that_fails_is_told_by_its_own_words(
    make: Make, words: tuple[str, ...], ready: Ready, sentence: str
) -> None:
    async with Instance.start(make(*words, forwards=(Forward(None, 80),))) as instance:
        if ready.timeout_s == SOON.timeout_s:  # of which a slow host needs nothing for the start
            await instance.wait_ready(AT_WORK)
        with pytest.raises((NotReady, GuestFailed)) as caught:
            await instance.wait_ready(ready)
    begin, _, end = sentence.partition("*")
    assert str(caught.value).startswith(begin) and str(caught.value).endswith(end), str(caught.value)
    assert str(caught.value) == sentence or "*" in sentence
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("memory_mib", "sentence"),
    [
        (5, "imagebuilder: the machine powered off before the application started; 5 MiB may be too little memory"),
        (
            7,
            "imagebuilder: the guest ran out of memory (7 MiB): its kernel panicked (System is deadlocked on memory)"
            " before the application started",
        ),
    ],
)
async def test_a_machine_that_is_too_small(make: Make, memory_mib: int, sentence: str) -> None:
    with pytest.raises(GuestFailed) as caught:
        async with Instance.start(make("wait", memory_mib=memory_mib)) as instance:  # QEMU may be gone already
            await instance.wait_started(120)
    assert caught.value.message == sentence
    assert caught.value.exit_status == 1


def test_the_last_words_are_the_applications() -> None:
    console = (
        "one\r\n\x1b[1mtwo\x1b[0m\r\n\r\nthree\x07\r\n[    0.029835] Kernel Offset: disabled\r\ninit: it ended\r\n"
    )
    assert last_words(console) == r"the console ends with: one / two / three\x07"
    assert (
        last_words("[    0.029835] Kernel Offset: disabled\n")
        == "the console ends with: [ 0.029835] Kernel Offset: disabled"
    )
    assert last_words("init: it ended\n") is None
    assert len(last_words("x" * 100_000 + "\n" + "y" * 100_000) or "") < 400


async def test_a_root_that_does_not_fit_into_the_machine(make: Make, tmp_path: Path) -> None:
    """QEMU itself refuses it: a sentence, the evidence, and status 1."""
    spec = make("wait", memory_mib=5)
    (tmp_path / "large").write_bytes(bytes(8 << 20))
    with pytest.raises(GuestFailed) as caught:
        async with Instance.start(replace(spec, initrd=tmp_path / "large")):
            pytest.fail("it started")
    assert str(caught.value) == f"imagebuilder: its root (8 MiB) does not fit into a machine of 5 MiB ({MORE})"
    assert write_evidence(caught.value, tmp_path / "left")
    assert "initrd is too large" in (tmp_path / "left" / "qemu-stderr.log").read_text()
    assert "-m 5M" in (tmp_path / "left" / "command.txt").read_text()


async def test_the_end_of_a_qemu_is_no_traceback(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The library that talks to it logs one, with the words that it has for itself."""
    async with Instance.start(make("wait")) as instance:
        os.kill(instance.pid, signal.SIGKILL)
        with pytest.raises(GuestFailed, match="imagebuilder: QEMU was ended by SIGKILL before it was ready"):
            await instance.wait_ready(LINE)
        with pytest.raises(MachineError) as caught:
            await instance.monitor.execute("query-status")
    assert str(caught.value) == "QEMU ended before it had done query-status"
    assert not caplog.records


@dataclass(frozen=True, slots=True)
class Slow(Spawned):
    """Looks at QEMU's greeting only when QEMU has ended, as on a busy host."""

    async def meet(
        self, spec: MachineSpec, launch: Launch, qmp: Qmp, connection: socket.socket, seen: Callable[[], None]
    ) -> None:
        """When all is over."""
        while not _ended(connection):  # noqa: ASYNC110 - the library has no word for it
            await asyncio.sleep(0.01)
        await Spawned.meet(self, spec, launch, qmp, connection, seen)


def _ended(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN | select.POLLRDHUP)
    return any(event & (select.POLLHUP | select.POLLRDHUP) for _, event in poll.poll(0))


async def test_an_application_that_is_quicker_than_qemus_greeting_is_believed(make: Make) -> None:
    """It said how it ended, though nobody had talked to QEMU yet."""
    async with asyncio.timeout(120):
        async with Instance.start(make("say=done", "exit=0"), launcher=Slow()) as instance:
            await instance.wait_ready(Ready(exit=0))
            assert instance.spawned_ns < instance.greeting_ns <= instance.running_ns
            assert (await instance.wait_exit()).ok
        with pytest.raises(GuestFailed) as caught:
            async with Instance.start(make("say=no licence", "exit=3"), launcher=Slow()) as instance:
                await instance.wait_ready(LINE)
    assert str(caught.value) == (
        "imagebuilder: the application started and exited with status 3 before it was ready"
        " (the console ends with: no licence)"
    )


async def test_what_a_guest_says_fits_into_a_sentence(make: Make) -> None:
    """However long, and whatever a terminal would do with it."""
    long = "x" * 3000
    spec = make(f"say=\x1b[2J{long}", "exit=3", forwards=(Forward(None, 80),))
    async with Instance.start(spec) as instance:
        with pytest.raises(GuestFailed) as caught:
            await instance.wait_ready(Ready(console=f"^({long[:900]})$", timeout_s=120))
    assert len(str(caught.value)) < 500 and "\x1b" not in str(caught.value)


KILLED = "[   12.345678] Out of memory: Killed process 45 (worker) total-vm:1kB\n"


@pytest.mark.parametrize(
    ("listens", "sentence"),
    [
        (None, "port 80 says no"),
        ({Listens("0.0.0.0", 80)}, "port 80 says no"),
        ({Listens("::", 80), Listens("127.0.0.1", 80)}, "port 80 says no"),
        ({Listens("::1", 80)}, "port 80 is listened on at [::1]:80 only"),
        (set(), "nothing listens on port 80, nor on another one"),
        (
            {Listens("127.0.0.1", port) for port in range(1000, 1064)},
            "nothing listens on port 80, but at 127.0.0.1:1000, ",
        ),
    ],
)
def test_who_listens(listens: set[Listens] | None, sentence: str) -> None:
    found, hint = late(Seen("app", 32, listens=listens), 5, "port 80 says no", 80)
    assert found.startswith(f"app was not ready within 5 s: {sentence}") and len(f"{found} {hint}") < 300


def test_a_worker_that_was_killed_for_memory_is_told() -> None:
    """The application itself may wait for it for ever."""
    _, hint = late(Seen("app", 32, console=KILLED + "waiting\n"), 5, "port 80 says no", 80)
    assert hint is not None and f"the guest ran out of memory, and its kernel killed worker: {MORE}" in hint
    ended, hint = failed(Seen("app", 32, console=KILLED), Exit(How.APPLICATION, "", signal=9), "before it was ready")
    assert ended == "app: the guest ran out of memory (32 MiB): its kernel killed the application before it was ready"
    assert hint is not None and hint.endswith(MORE)


@given(st.text(), st.binary(max_size=300), st.sets(st.builds(Listens, st.just("127.0.0.1"), st.integers(0, 65535))))
def test_whatever_a_guest_says_the_sentence_is_short_and_in_one_line(
    said: str, console: bytes, listens: set[Listens]
) -> None:
    seen = Seen("app", 32, console=console.decode(errors="replace") * 50 + said, listens=listens)
    for sentence, hint in (
        late(seen, 5, "port 80 says no", 80),
        failed(seen, Exit(How.APPLICATION, "", status=3), "before it was ready"),
    ):
        text = f"{sentence} ({hint})"
        assert len(text) < 900 and text.isprintable(), text
