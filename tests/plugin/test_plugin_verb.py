"""``imagebuilder test --pytest``, as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Write


def imagebuilder_test(folder: Path, cache: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "imagebuilder", "test", "app", "--accel", "tcg", *words]
    given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache), "PYTEST_ADDOPTS": "-p no:hypothesispytest", **env}
    return subprocess.run(argv, cwd=folder, env=given, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.vm
def test_pytest_runs_what_the_recipe_gives(write: Write, pytester: pytest.Pytester, cache: Path) -> None:
    write("say=hello", more="[budget]\nimage_bytes = 100\n")
    (pytester.path / "app" / "test_more.py").write_text("def test_builds_too(image): assert image.kernel.is_file()")
    done = imagebuilder_test(pytester.path, cache, "--pytest", "-k 'builds or keeps'", "--runs=1", "--junit=report.xml")
    assert done.returncode == 1, done
    assert "image_bytes is" in done.stdout and "1 failed, 2 passed" in done.stdout, done.stdout
    assert (pytester.path / "report.xml").is_file() and not (pytester.path / ".pytest_cache").exists()


@pytest.mark.parametrize(
    ("words", "env", "status", "sentence"),
    [
        (("--pytest", "-k boots"), {"PATH": "/nonexistent"}, 3, "qemu-system-x86_64 is needed and not installed"),
        (("--pytest", "", "--json", "r.json"), {}, 2, "--json cannot be given with --pytest"),
        (("--pytest", "-k 'boots"), {}, 2, "cannot be read as words"),
        (("--pytest", ""), {"PYTHONPATH": "without"}, 3, "pip install pytest"),
    ],
    ids=["no QEMU", "JSON", "words", "no pytest"],
)
def test_exit_statuses(
    write: Write,
    pytester: pytest.Pytester,
    cache: Path,
    words: tuple[str, ...],
    env: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    write("say=hello")
    (pytester.mkdir("without") / "pytest.py").write_text("raise ImportError")
    done = imagebuilder_test(pytester.path, cache, *words, **env)
    assert done.returncode == status, done
    assert sentence in done.stdout + done.stderr and "Traceback" not in done.stdout + done.stderr, done
