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
from tests.app import recipe_text
from tests.cli.conftest import Cli

RUNS = 20
LONGEST_S = 4.0  # about what a build and the first starts take
GONE_S = 20.0
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def processes(token: str) -> list[str]:
    """The command lines of all processes that have the token in theirs."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if token in words and folder.name != str(os.getpid()):
                found.append(words)
    return found


@pytest.mark.vm
def test_nothing_is_left_behind(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    token = f"left{os.getpid()}"
    (recipe / "recipe.toml").write_text(recipe_text("say=hello", name=token))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    own = {"IMAGEBUILDER_CACHE": str(tmp_path / "cache"), "TMPDIR": str(temporary)}
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
        run.wait(timeout=60)
        until = time.monotonic() + GONE_S
        while (left := processes(token)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not left, f"run {number}, ended by {SIGNALS[number % len(SIGNALS)].name}"
    Store(tmp_path / "cache")  # whoever comes next sweeps what SIGKILL left no time for
    assert not list((tmp_path / "cache" / "scratch").iterdir())
    assert not list(temporary.iterdir())
    ran = cli("test", "app", "--accel", "tcg", "--runs", "1", env=own)
    assert ran.status == 0, ran
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {token, "artefacts"}
