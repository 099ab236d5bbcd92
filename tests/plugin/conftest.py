"""Folders with a recipe in which pytest runs as a user runs it: another process, the plugin by its entry point."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.app import CONSOLE, OTHERS, lay_down, recipe_text

Write = Callable[..., str]
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def write(pytester: pytest.Pytester, application: Path) -> Write:
    """Write the recipe ``app`` whose application does the words; returns its name, which no other has."""

    def written(*words: str, ready: str = CONSOLE, more: str = "") -> str:
        name = f"app-{uuid4().hex[:12]}"
        lay_down(pytester.path / "app", application, recipe_text(*words, name=name, ready=ready, more=more))
        return name

    return written


@pytest.fixture
def run(pytester: pytest.Pytester, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest in the folder of the test."""
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(cache))
    pytester.makeini(f"[pytest]\naddopts = {OTHERS}\n")

    def ran(*words: str, timeout_s: float = 400) -> pytest.RunResult:
        return pytester.runpytest_subprocess("--ib-accel=tcg", *words, timeout=timeout_s)

    return ran
