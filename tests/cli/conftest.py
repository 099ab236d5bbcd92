"""The command line as a user has it: another process, its own cache, a folder of recipes."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

HELLO_C = '#include <stdio.h>\nint main(void) { puts("hello, world"); return 0; }\n'
# A static program beside its recipe: nothing is compiled or downloaded when it is built.
RECIPE = """\
name = "app"
version = "1"
summary = "a test"

[source]
type = "files"
files = ["app"]
target = "/usr/bin"

[application]
command = "/usr/bin/app"

[ready]
console = "hello"
"""


@dataclass(frozen=True)
class Ran:
    """What a run of the command line gave."""

    status: int
    out: str
    err: str


Cli = Callable[..., Ran]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program that says hello."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "hello.c").write_text(HELLO_C)
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", "app", "hello.c"], cwd=folder, check=True)
    return folder / "app"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests that do not damage it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cli(tmp_path: Path, cache: Path) -> Cli:
    """Run ``imagebuilder`` in the test's folder."""

    def run(*words: str, env: dict[str, str] | None = None, timeout_s: float = 240) -> Ran:
        given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache), **(env or {})}
        argv = [sys.executable, "-m", "imagebuilder", *words]
        done = subprocess.run(
            argv, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def recipe(tmp_path: Path, program: Path) -> Path:
    """The folder ``app`` with a recipe that works."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app").write_bytes(program.read_bytes())
    (folder / "app").chmod(0o755)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder
