"""Ended by a signal, every verb does the same: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP, and one sentence."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from imagebuilder.cli import signals
from tests.app import OTHERS, lay_down, recipe_text

HTTP = "http = { port = 80 }\ntimeout_s = 120"
BUILDS = """
[[source]]
type = "build"
inputs = ["app"]
command = ["sleep", "{token}"]
outputs = {{ app = "/usr/bin/other" }}
"""
SAYS = {
    signal.SIGINT: "imagebuilder: ended by Ctrl-C",
    signal.SIGTERM: "imagebuilder: ended by SIGTERM",
    signal.SIGHUP: "imagebuilder: ended by SIGHUP",
}
TCG = ("--accel", "tcg")
VERBS = {
    "build": ("build", "app"),
    "inspect": ("inspect", "app"),
    "run": ("run", "app", *TCG),
    "serve": ("serve", "app", "--per-request", "--port", "0", *TCG),
    "test": ("test", "app", *TCG),
    "bench": ("bench", "app", *TCG),
    "density": ("bench", "app", "--density", "2", *TCG),
    "template create": ("template", "create", "app", *TCG),
    "learn": ("learn", "app", *TCG),
}


def ended(
    words: Sequence[str], number: signal.Signals, *, at: str, folder: Path, cache: Path, python: Sequence[str] = ()
) -> tuple[int, str, str]:
    """The exit status, and both outputs, of a run that is sent a signal when a line of standard error has ``at``."""
    given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache), "PYTEST_ADDOPTS": OTHERS}
    argv = [sys.executable, *python, "-m", "imagebuilder", *words]
    out = folder / "stdout"
    with out.open("w") as stdout:
        run = subprocess.Popen(
            argv, cwd=folder, env=given, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True
        )
        assert run.stderr is not None
        try:
            before = ""
            while at not in (line := run.stderr.readline()):
                before += line
                assert line, before
            run.send_signal(number)
            _, said = run.communicate(timeout=120)
        finally:
            run.kill()
    return run.returncode, out.read_text(), said


@pytest.mark.tools
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("verb", VERBS)
def test_while_it_builds(verb: str, number: signal.Signals, application: Path, cache: Path, tmp_path: Path) -> None:
    text = recipe_text("wait", ready=HTTP).replace("[source]", "[[source]]") + BUILDS.format(
        token=600 + os.getpid() % 90
    )
    lay_down(tmp_path / "app", application, text)
    status, out, said = ended(VERBS[verb], number, at="sleep", folder=tmp_path, cache=cache)
    assert (status, said.splitlines()) == (128 + number, [SAYS[number]]), (out, said)
    assert "Traceback" not in out and "Interrupt" not in out, out


@pytest.mark.network
@pytest.mark.tools
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_while_a_kernel_is_made(number: signal.Signals, cache: Path, tmp_path: Path) -> None:
    words = ("kernel", "build", "micro", "--fragment", "ipv6")
    status, out, said = ended(words, number, at="is not prebuilt", folder=tmp_path, cache=cache)
    assert (status, said.splitlines()[-1:], out) == (128 + number, [SAYS[number]], "")
    assert "Traceback" not in said


@pytest.mark.tools
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_while_the_cache_is_verified(number: signal.Signals, tmp_path: Path) -> None:
    """In the middle of a content of 256 GiB, which is not removed for that."""
    content = tmp_path / "cache" / "blobs" / "ab" / ("ab" * 32)
    content.parent.mkdir(parents=True)
    (tmp_path / "cache").chmod(0o700)
    content.touch()
    os.truncate(content, 1 << 38)
    argv = [sys.executable, "-m", "imagebuilder", "cache", "verify"]
    given = {**os.environ, "IMAGEBUILDER_CACHE": str(tmp_path / "cache")}
    run = subprocess.Popen(argv, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        until = time.monotonic() + 300
        while not opened(run.pid, content):
            assert run.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        run.send_signal(number)
        out, said = run.communicate(timeout=300)
    finally:
        run.kill()
    assert (run.returncode, said.splitlines(), out) == (128 + number, [SAYS[number]], "")
    assert content.exists()


def opened(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    with suppress(OSError):
        return any(Path(each).resolve() == path for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


@pytest.mark.vm
@pytest.mark.parametrize(
    ("verb", "number", "at"),
    [
        ("run", signal.SIGINT, "port 80 is at"),
        ("run", signal.SIGHUP, "port 80 is at"),
        ("serve", signal.SIGINT, "Ctrl-C ends it"),
        ("serve", signal.SIGTERM, "Ctrl-C ends it"),
        ("test", signal.SIGINT, "times …"),
        ("test", signal.SIGTERM, "times …"),
        ("bench", signal.SIGINT, "in turn"),
        ("template create", signal.SIGINT, "first answer"),
        ("template create", signal.SIGTERM, "first answer"),
    ],
)
def test_while_machines_run(
    verb: str, number: signal.Signals, at: str, application: Path, cache: Path, tmp_path: Path
) -> None:
    lay_down(tmp_path / "app", application, recipe_text("http=200", ready=HTTP))
    status, out, said = ended(VERBS[verb], number, at=at, folder=tmp_path, cache=cache)
    assert (status, said.splitlines()[-1:]) == (128 + number, [SAYS[number]]), (out, said)
    assert "Traceback" not in out + said and "Interrupt" not in out + said, (out, said)
    assert said.count("ended by") == 1, said


@pytest.mark.tools
def test_while_modules_are_imported(application: Path, cache: Path, tmp_path: Path) -> None:
    """At whatever import the signal comes."""
    lay_down(tmp_path / "app", application, recipe_text("say=hello"))
    words = ("build", "app", "--plan")
    given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache)}
    argv = [sys.executable, "-X", "importtime", "-m", "imagebuilder", *words]
    listed = subprocess.run(argv, cwd=tmp_path, env=given, capture_output=True, text=True, check=True).stderr
    names = [line.rpartition("|")[2].strip() for line in listed.splitlines() if line.startswith("import time:")]
    ours = names[names.index("imagebuilder.cli.streams") :]
    chosen = random.Random(7).sample(ours[:-5], 8)
    for name, number in zip(chosen, [signal.SIGINT, signal.SIGTERM] * 4, strict=True):
        status, out, said = ended(
            words,
            number,
            at=f"| {name}\n".replace("| ", " "),
            folder=tmp_path,
            cache=cache,
            python=("-X", "importtime"),
        )
        told = [line for line in said.splitlines() if not line.startswith("import time:")]
        if status == 0:  # it was done before the signal came
            continue
        assert (status, told) == (128 + number, [SAYS[number]]), (name, out, told)


@pytest.mark.tools
def test_what_is_ignored_stays_ignored(application: Path, cache: Path, tmp_path: Path) -> None:
    lay_down(tmp_path / "app", application, recipe_text("say=hello"))
    given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache)}
    argv = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-m", "imagebuilder", "build", "app"]
    run = subprocess.Popen(argv, cwd=tmp_path, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None
    assert " …" in run.stderr.readline()
    run.send_signal(signal.SIGHUP)
    run.communicate(timeout=120)
    assert run.returncode == 0


LOST = """
import os, signal, time
from imagebuilder.cli import main, signals
class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
def work(**_):
    signals.leave_tidily()
    Deaf()
    time.sleep(20)
main.cli.main = work
main.main()
"""


@pytest.mark.tools
def test_a_signal_in_a_destructor_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=15)
    assert (done.returncode, done.stderr) == (130, f"{SAYS[signal.SIGINT]}\n")


def test_a_library_that_puts_its_own_exception_around() -> None:
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise RuntimeError("Error calling __set_name__") from error
    except RuntimeError as error:
        assert signals.behind(error) == signal.SIGINT
    assert signals.behind(RuntimeError()) is None


@pytest.mark.parametrize("number", list(signals.NAMES))
def test_in_an_event_loop_it_hits_no_other_task(number: signal.Signals) -> None:
    """It came while a task of the monitor's library had its turn, whose end nobody awaited then."""
    tidied: list[str] = []

    async def other() -> None:
        os.kill(os.getpid(), number)  # the exception would be raised here
        tidied.append("the other task went on")

    async def work() -> None:
        task = asyncio.create_task(other())
        try:
            await asyncio.sleep(60)
        finally:
            await task
            tidied.append("the work tidied up")

    before = [signal.getsignal(each) for each in signals.NAMES]
    with pytest.raises(signals.Ended) as ended:
        signals.run(work())
    assert ended.value.number == number
    assert tidied == ["the other task went on", "the work tidied up"]
    assert [signal.getsignal(each) for each in signals.NAMES] == before


def test_a_second_signal_in_an_event_loop_waits_for_nothing() -> None:
    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)

    with pytest.raises(signals.Ended):
        signals.run(work())


IMPORTED = """
import builtins, os, signal
real = builtins.__import__
def importing(name, *rest):
    if name == "imagebuilder.cli":
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest)
builtins.__import__ = importing
from imagebuilder.__main__ import main
main()
"""


@pytest.mark.tools
def test_before_there_is_anybody_to_say_it_nothing_is_said() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
