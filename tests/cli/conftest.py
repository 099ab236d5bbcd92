"""The command line as a user has it: another process, its own cache, a folder of recipes."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import ORDINARY
from tests.app import RECIPE, lay_down


@dataclass(frozen=True)
class Ran:
    """What a run of the command line gave."""

    status: int
    out: str
    err: str


Cli = Callable[..., Ran]


@pytest.fixture
def cli(tmp_path: Path, cache: Path) -> Cli:
    """Run ``imagebuilder`` in the test's folder; as ``ordinary``, without root's right to write everywhere."""

    def run(*words: str, env: dict[str, str] | None = None, timeout_s: float = 240, ordinary: bool = False) -> Ran:
        given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache), **(env or {})}
        argv = [*(ORDINARY if ordinary else ()), sys.executable, "-m", "imagebuilder", *words]
        done = subprocess.run(
            argv, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def recipe(tmp_path: Path, application: Path) -> Path:
    """The folder ``app`` with a recipe that works."""
    return lay_down(tmp_path / "app", application, RECIPE)
