"""Killed at any moment, nothing is left behind: no process, no socket, no temporary folder; the cache still serves."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from imagebuilder.machine.template_gc import unreadable
from imagebuilder.store import Store
from tests.app import OTHERS, lay_down, recipe_text
from tests.cli.conftest import Cli

HTTP = "http = { port = 80 }\ntimeout_s = 120"
LONGEST_S = 4.0  # of a processor: about what a build and the first starts take
LOOK_S = 0.05  # between two looks at how far it is
IDLE_S = 5.0  # without using a processor, it has done all that it does by itself
PATIENCE_S = 300.0  # what never ends is looked for, and not what is slow
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def processes(token: str) -> dict[Path, str]:
    """The command lines of all processes that have the token in theirs, or in their environment, by their folder in
    ``/proc``."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words, given = (
                    (folder / name).read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    for name in ("cmdline", "environ")
                )
            except OSError:
                continue
            if token in words + given and folder.name != str(os.getpid()):
                found[folder] = words
    return found


def used_s(token: str) -> float:
    """The processor time that these processes have used, and those of theirs that have ended; in seconds (proc(5))."""
    ticks = 0
    for folder in processes(token):
        with suppress(OSError):
            ticks += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Place:
    """Where runs are killed: a recipe, a cache and temporary files of their own, and a token that all of them have in
    their environment."""

    folder: Path
    token: str

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def said(self) -> Path:
        """The errors of the last that was killed."""
        return self.folder / "said"

    @property
    def environment(self) -> dict[str, str]:
        temporary = str(self.folder / self.token)
        return {"IMAGEBUILDER_CACHE": str(self.cache), "TMPDIR": temporary, "PYTEST_ADDOPTS": OTHERS}

    def kill(self, words: Sequence[str], *, after_s: float, number: signal.Signals) -> int:
        """Start us with these words and end that when it has used a processor for so long, however busy the host is;
        nothing of it runs any more. Returns its status."""
        argv = [sys.executable, "-m", "imagebuilder", *words]
        given = {**os.environ, **self.environment}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        with self.said.open("wb") as said:
            run = subprocess.Popen(argv, cwd=self.folder, env=given, stderr=said, **quiet)  # type: ignore[call-overload]
        self.wait(run, after_s)
        run.send_signal(number)
        status: int = run.wait(timeout=PATIENCE_S)
        until = time.monotonic() + PATIENCE_S
        while (left := processes(self.token)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not left, f"{' '.join(words)}, ended by {number.name} after {after_s:.2f} s"
        return status

    def wait(self, run: subprocess.Popen[bytes], after_s: float) -> None:
        """Until it has used so much of a processor, uses none any more, or has ended."""
        last_s, changed_s = 0.0, time.monotonic()
        while run.poll() is None and last_s < after_s and time.monotonic() < changed_s + IDLE_S:
            time.sleep(LOOK_S)
            now_s = used_s(self.token)
            if now_s - last_s > LOOK_S:  # a machine at rest uses a little
                last_s, changed_s = now_s, time.monotonic()

    def check(self) -> None:
        """No file is left, when whoever comes next has swept what SIGKILL left no time for."""
        store = Store(self.cache)
        assert not list((self.cache / "scratch").iterdir()) and not list(unreadable(store))
        # Python tries a folder with a file of its own before it uses it; who is killed just then leaves these bytes.
        left = [path for path in (self.folder / self.token).iterdir() if path.stat().st_size > len(b"blat")]
        assert not left and {path.name for path in self.folder.glob("out/*")} <= {self.token, "artefacts"}


@pytest.fixture
def place(application: Path, tmp_path: Path) -> Place:
    """The recipe of a server that waits for its network, and takes a command to build."""
    found = Place(tmp_path, f"left{os.getpid()}")
    lay_down(tmp_path / "app", application, recipe_text("http=200", name=found.token, ready=HTTP))
    (tmp_path / found.token).mkdir()
    return found


VERBS = (
    ("test", "app", "--runs", "3"),
    ("run", "app"),
    ("bench", "app", "--runs", "3"),
    ("serve", "app", "--per-request", "--port", "0", "--ready", "2"),
    ("template", "create", "app"),
    ("run", "app", "--refresh-template"),
)
FEW, MANY = 4, 34  # of each verb; the second are 204


@pytest.mark.vm
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("times", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_nothing_is_left_behind(cli: Cli, place: Place, times: int) -> None:
    moments = random.Random(7)
    for number in range(times * len(VERBS)):
        words = (*VERBS[number % len(VERBS)], "--accel", "tcg")
        ending = SIGNALS[number // len(VERBS) % len(SIGNALS)]
        place.kill(words, after_s=moments.uniform(0, LONGEST_S), number=ending)
        tell(number + 1, f"of {times * len(VERBS)} killed")
    place.check()
    ran = cli("test", "app", "--accel", "tcg", "--runs", "1", env=place.environment)
    assert ran.status == 0, ran
    place.check()


BUILDS = """
[[source]]
type = "build"
inputs = ["app"]
command = ["cp", "app", "copy"]
outputs = { copy = "/usr/bin/copy" }
"""


def tell(number: int, words: str) -> None:
    """How far a test is that takes long (pytest -s)."""
    if number % 10 == 0:
        print(f"{number} {words}", flush=True)


IN_A_ROW = 4  # killed builds, each on what those before it left
ROUNDS_PER_KILL = 20  # about two are needed


def children_s() -> float:
    """The processor time of those of our children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def image(place: Place) -> dict[str, bytes]:
    """The image of its recipe, every byte."""
    return {path.name: path.read_bytes() for path in (place.folder / "out" / place.token).iterdir()}


@pytest.mark.tools
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("times", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_a_build_after_killed_ones_gives_the_same_bytes(cli: Cli, place: Place, times: int) -> None:
    """So many builds are really killed, each at any moment of what a whole one took of a processor; one that ended
    before its moment counts for nothing."""
    recipe = place.folder / "app" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[source]", "[[source]]") + BUILDS)
    began_s = children_s()
    assert cli("build", "app", env=place.environment).status == 0
    took_s, expected = children_s() - began_s, image(place)
    moments, killed, rounds = random.Random(7), 0, 0
    while killed < times:
        shutil.rmtree(place.cache)
        shutil.rmtree(place.folder / "out", ignore_errors=True)
        until = min(killed + IN_A_ROW, times)
        while killed < until:  # what the others left is built upon, too
            rounds += 1
            assert rounds <= ROUNDS_PER_KILL * times, f"{killed} of {rounds} builds were killed before they ended"
            status = place.kill(("build", "app"), after_s=moments.uniform(0.2, took_s), number=signal.SIGKILL)
            assert status in (0, -signal.SIGKILL), place.said.read_text()
            killed += status == -signal.SIGKILL
            tell(rounds, f"rounds, {killed} of {times} killed")
            if status == 0:  # all is in the cache, and what is left of a build takes next to no time
                break
        ran = cli("build", "app", env=place.environment)
        assert ran.status == 0 and "damaged" not in ran.err and image(place) == expected, ran
        place.check()
    print(f"{killed} builds killed in {rounds} rounds, of {took_s:.1f} s of a processor each")
