"""Folders with a recipe in which pytest runs as a user runs it: another process, the plugin by its entry point."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

HERE = Path(__file__).parent
RECIPE = """\
name = "{name}"
version = "1"
summary = "a test"

[source]
type = "files"
files = ["app"]
target = "/usr/bin"

[application]
command = "/usr/bin/app"
arguments = [{words}]

[ready]
{ready}

{more}
"""
CONSOLE = 'console = "^hello"\ntimeout_s = 120'
HTTP = 'http = {{ port = 80, status = 200, body = "It works" }}\ntimeout_s = {timeout_s}'

Write = Callable[..., str]
Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program of ``app.c``."""
    path = tmp_path_factory.mktemp("application") / "app"
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", path, HERE / "app.c"], check=True)
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def write(pytester: pytest.Pytester, application: Path) -> Write:
    """Write the recipe ``app`` whose application does the words; returns its name, which no other has."""

    def written(*words: str, ready: str = CONSOLE, more: str = "") -> str:
        name = f"app-{uuid4().hex[:12]}"
        folder = pytester.mkdir("app")
        (folder / "app").write_bytes(application.read_bytes())
        (folder / "app").chmod(0o755)
        quoted = ", ".join(f'"{word}"' for word in words)
        (folder / "recipe.toml").write_text(RECIPE.format(name=name, words=quoted, ready=ready, more=more))
        return name

    return written


@pytest.fixture
def run(pytester: pytest.Pytester, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest in the folder of the test."""
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(cache))
    others = "-p no:hypothesispytest -p no:asyncio"  # they take longer to come up than ours
    pytester.makeini(f"[pytest]\naddopts = {others}\n")

    def ran(*words: str, timeout_s: float = 400) -> pytest.RunResult:
        return pytester.runpytest_subprocess("--ib-accel=tcg", *words, timeout=timeout_s)

    return ran
