"""Killed at any moment, nothing is left behind: no process, no socket, no temporary folder; the cache still serves."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuilder.store import Store
from tests.app import OTHERS, recipe_text
from tests.cli.conftest import Cli

RUNS = 20
LONGEST_S = 4.0  # about what a build and the first starts take
PATIENCE_S = 300.0  # what never ends is looked for, and not what is slow
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def processes(token: str) -> list[str]:
    """The command lines of all processes that have the token in theirs, or in their environment."""
    found = []
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
                found.append(words)
    return found


@pytest.mark.vm
def test_nothing_is_left_behind(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    token = f"left{os.getpid()}"
    (recipe / "recipe.toml").write_text(recipe_text("say=hello", name=token))
    temporary = tmp_path / token  # so that the token is in the environment of whatever is started
    temporary.mkdir()
    own = {"IMAGEBUILDER_CACHE": str(tmp_path / "cache"), "TMPDIR": str(temporary), "PYTEST_ADDOPTS": OTHERS}
    moments = random.Random(7)
    for number in range(RUNS):
        run = subprocess.Popen(
            [sys.executable, "-m", "imagebuilder", "test", "app", "--accel", "tcg", "--runs", "3"],
            cwd=tmp_path,
            env={**os.environ, **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moments.uniform(0, LONGEST_S))
        run.send_signal(SIGNALS[number % len(SIGNALS)])
        run.wait(timeout=PATIENCE_S)
        until = time.monotonic() + PATIENCE_S
        while (left := processes(token)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not left, f"run {number}, ended by {SIGNALS[number % len(SIGNALS)].name}"
    Store(tmp_path / "cache")  # whoever comes next sweeps what SIGKILL left no time for
    assert not list((tmp_path / "cache" / "scratch").iterdir())
    assert not list(temporary.iterdir())
    ran = cli("test", "app", "--accel", "tcg", "--runs", "1", env=own)
    assert ran.status == 0, ran
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {token, "artefacts"}
