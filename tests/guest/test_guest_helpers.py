"""Processes that run beside the application: in which order they start, how they are waited for, and how they end."""

from pathlib import Path

import pytest

from imagebuilder.platforms.linux.config import Await, HelperConfig
from imagebuilder.platforms.values import Mount

from .conftest import Make
from .guest_boot import NEEDS, Guest, boot, running

pytestmark = NEEDS

SHM = Mount("tmpfs", "/run", "mode=1777")


def helper(*words: str, name: str = "web", **fields: object) -> HelperConfig:
    """One that does these words."""
    return HelperConfig(name, ("/probe", *words), **fields)  # type: ignore[arg-type]


def failed(guest: Guest, sentence: str) -> list[str]:
    """Init said why on both wires, last; returns the lines of the console before."""
    assert guest.reports[-1] == f"error {sentence}"
    *before, last = guest.console.text.splitlines()
    assert last == f"init: {sentence}"
    return before


def test_each_is_ready_before_the_next_starts_and_all_before_the_application(kernel: Path, image: Make) -> None:
    helpers = (
        helper("say=one", "sleep=200", "touch=/run/one", "wait=15", ready=Await("file", "/run/one"), name="one"),
        helper("alive=/run/one", "sleep=200", "listen=9000", "wait=15", ready=Await("port", "9000"), name="two"),
        helper("sleep=200", "say=three is ready", "wait=15", ready=Await("line", "is ready"), name="three"),
    )
    guest = boot(kernel, image("say=application", helpers=helpers, mounts=(SHM,)))
    lines = guest.console.text.splitlines()
    at = [lines.index(each) for each in ("say [one]", "alive yes", "listen works", "say [three is ready]")]
    assert at == sorted(at) and lines.index("say [application]") > at[-1]
    assert guest.reports[-1] == "exit 0"


def test_it_is_its_own_user_with_its_own_environment_and_no_rights(kernel: Path, image: Make) -> None:
    one = helper("identity", "rights-here", "wait=15", env=("A=1",), uid=7, gid=8, ready=Await("line", "NoNewPrivs"))
    guest = boot(kernel, image("exit=0", helpers=(one,), uid=9, env=("B=2",), capabilities=(10,)))
    lines = guest.console.text.splitlines()
    assert "ids uid=7 euid=7 gid=8 groups=" in lines and "env [A=1]" in lines and "env [B=2]" not in lines
    assert {f"Cap{kind}:\t{0:016x}" for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} <= {*lines}
    assert "NoNewPrivs:\t1" in lines and "foreground no" in lines


def test_what_it_prints_afterwards_is_shown_too(kernel: Path, image: Make) -> None:
    talker = helper("say=ready", "sleep=300", "say=later", "wait=15", ready=Await("line", "ready"))
    assert "say [later]\n" in boot(kernel, image("sleep=1000", helpers=(talker,))).console.text


def test_the_end_of_the_application_is_that_of_its_helpers(kernel: Path, image: Make) -> None:
    """They are asked to end, nobody says that processes were left, and the exit status is the application's."""
    helpers = (helper("wait=15", "say=ends", name="polite"), helper("ignore=15", "child", "sleep=99999", name="rude"))
    guest = boot(kernel, image("sleep=300", "exit=3", helpers=helpers))
    lines = guest.console.text.splitlines()
    assert "say [ends]" in lines and lines[-1] == "init: the application exited with status 3"
    assert guest.reports[-1] == "exit 3" and not any(line.startswith("left") for line in guest.reports)


@pytest.mark.parametrize(
    ("words", "how"),
    [
        (("say=why", "exit=0"), "exited with status 0"),
        (("say=why", "exit=78"), "exited with status 78"),
        (("say=why", "raise=11"), "was ended by signal 11 (Segmentation fault)"),
    ],
)
@pytest.mark.parametrize("wait", ["0", "500"], ids=["before the application", "beside it"])
def test_one_that_ends_ends_the_machine(kernel: Path, image: Make, words: tuple[str, ...], how: str, wait: str) -> None:
    ready = Await("line", "never") if wait == "0" else None
    guest = boot(kernel, image("sleep=60000", helpers=(helper(f"sleep={wait}", *words, ready=ready),)))
    assert failed(guest, f"the helper web {how}")[-1] == "say [why]", "its own words first"


def test_one_that_fails_is_started_again(kernel: Path, image: Make) -> None:
    counter = helper("counted=/run/count", restart=True)
    guest = boot(kernel, image("sleep=3000", "file=/run/count", "exit=0", helpers=(counter,), mounts=(SHM,)))
    assert guest.console.text == "/run/count| ..." and guest.reports[-1] == "exit 0"


@pytest.mark.parametrize("ready", [None, Await("file", "/never")], ids=["beside", "before"])
def test_one_that_always_fails_is_given_up(kernel: Path, image: Make, ready: Await | None) -> None:
    guest = boot(kernel, image("sleep=60000", helpers=(helper("say=why", "exit=2", restart=True, ready=ready),)))
    before = failed(guest, "the helper web exited with status 2, 5 times soon after its start")
    assert before == ["say [why]"] * 5


@pytest.mark.parametrize(
    ("ready", "lacking"),
    [
        (Await("port", "9000", 1000), "nothing listens on its port 9000"),
        (Await("file", "/run/a b", 1000), "there is no file /run/a b"),
        (Await("line", "is ready", 1000), "it printed no line that holds is ready"),
    ],
)
def test_one_that_never_comes_up(kernel: Path, image: Make, ready: Await, lacking: str) -> None:
    guest = boot(kernel, image(helpers=(helper("say=busy", "listen=9001", "wait=15", ready=ready),)))
    before = failed(guest, f"the helper web was not ready within 1 s: {lacking}")
    assert before == ["say [busy]", "listen works", "waiting for 15"]


def test_one_that_cannot_start(kernel: Path, image: Make) -> None:
    guest = boot(kernel, image(helpers=(HelperConfig("web", ("/none",)),)))
    failed(guest, "cannot start /none: there is no such file in the image")


def test_the_host_ends_the_application_and_no_helper_that_ends_meanwhile_is_a_fault(kernel: Path, image: Make) -> None:
    tree = image("wait=15", "sleep=500", "exit=4", helpers=(helper("sleep=1500", "exit=1"),))
    with running(kernel, tree, "ib.channel=1") as guest:
        guest.channel.until("phase application")
        guest.console.until("waiting for 15")
        guest.channel.say(b"terminate\n")
    assert guest.reports[-1] == "exit 4"
