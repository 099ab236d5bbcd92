"""What is collected, and what that costs: nothing is built or booted, nothing is imported that nobody asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Run, Write

pytestmark = pytest.mark.tools

GENERATED = ["builds", "boots", "gets_ready", "answers", "powers_off_with_status_0", "starts_every_time"]
GENERATED += ["same_bytes_twice"]
HEAVY = ("pydantic", "asyncio", "jinja2", "imagebuilder.machine", "imagebuilder.measure", "imagebuilder.recipe.model")
BY_PYTEST = "import pytest; pytest.main(['-p', 'imagebuilder.pytest_plugin', 'app/recipe.toml', '--collect-only'])"
BY_US = "from imagebuilder.cli.main import cli; cli(['test', 'app', '--', '--collect-only'])"


def collected(result: pytest.RunResult) -> list[str]:
    """The tests that pytest names with ``--collect-only -q``."""
    return [line.rpartition("::")[2] for line in result.outlines if "::" in line]


def test_a_session_that_boots_nothing_imports_nothing_for_it() -> None:
    code = f"import sys, pytest\nbefore = set(sys.modules)\nimport imagebuilder.pytest_plugin\nheavy = {HEAVY!r}\n"
    code += "print([name for name in set(sys.modules) - before if name.startswith(heavy)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("how", [BY_PYTEST, BY_US], ids=["pytest", "imagebuilder"])
def test_to_see_the_names_of_the_tests_imports_nothing_either(
    write: Write, pytester: pytest.Pytester, cache: Path, how: str
) -> None:
    write(more="[budget]\nmemory_mib = 20\n")
    told = f"import atexit, sys; atexit.register(lambda: print([name for name in sys.modules if name in {HEAVY!r}]))\n"
    given = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "IMAGEBUILDER_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", told + how], cwd=pytester.path, env=given, capture_output=True, text=True
    )
    assert "keeps[memory_mib]" in done.stdout and done.stdout.splitlines()[-1] == "[]", done


def test_recipes_are_collected_when_they_are_asked_for(
    write: Write, run: Run, pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(more="[budget]\nimage_bytes = 3_000_000\nmemory_mib = 20\n")
    promises = ["keeps[image_bytes]", "keeps[memory_mib]"]
    own = tmp_path / "own-cache"
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(own))
    assert collected(run("--collect-only", "-q")) == []
    assert collected(run("--collect-only", "-q", "app")) == []
    asked = collected(run("--collect-only", "-q", "app/recipe.toml"))
    assert sorted(asked) == sorted(GENERATED + promises)
    assert collected(run("--collect-only", "-q", "app", "app/recipe.toml")) == asked
    assert collected(run("--collect-only", "-q", "app/recipe.toml::builds")) == ["builds"]
    assert collected(run("--collect-only", "-q", "--imagebuilder")) == asked
    assert collected(run("--collect-only", "-q", "-o", "imagebuilder=true")) == asked
    assert not own.exists() and not (pytester.path / "out").exists()


def test_without_a_budget_there_are_no_promises(write: Write, run: Run) -> None:
    write()
    assert sorted(collected(run("--collect-only", "-q", "app/recipe.toml"))) == sorted(GENERATED)


def test_each_kernel_in_turn(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    write()
    (pytester.path / "app" / "test_app.py").write_text("def test_image(image): ...\ndef test_other(recipe_folder): ...")
    asked = collected(run("--collect-only", "-q", "app", "app/recipe.toml", "--ib-kernel=a", "--ib-kernel=b"))
    expected = [f"{name}[{kernel}]" for kernel in "ab" for name in GENERATED]
    assert asked == [*expected, "test_image[a]", "test_image[b]", "test_other"]


def test_mistakes_of_a_recipe_are_sentences(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    write(more="[budget]\nimage_bytes = 'small'\nmemory_mb = 3\n")
    result = run("app/recipe.toml")
    assert result.ret == 2
    result.stdout.fnmatch_lines(["*app/recipe.toml:*budget.image_bytes: expected a whole number*"])
    result.stdout.fnmatch_lines(["*app/recipe.toml:*memory_mb*did you mean 'memory_mib'*"])
    result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("more", ["budget = ", "budget = 3\n"])
def test_what_is_no_recipe_has_no_tests_to_name(write: Write, run: Run, pytester: pytest.Pytester, more: str) -> None:
    write()
    recipe = pytester.path / "app" / "recipe.toml"
    recipe.write_text(more + recipe.read_text())
    result = run("--collect-only", "-q", "app/recipe.toml")
    assert result.ret == 2 and collected(result) == []
    result.stdout.fnmatch_lines(["*app/recipe.toml:*: *"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_image_that_cannot_be_built_is_wrong_input(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    write()
    (pytester.path / "app" / "app").write_bytes(b"")
    recipe = pytester.path / "app" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"/usr/bin/app"', '"/usr/bin/ap"'))
    result = run("app/recipe.toml", "-k", "builds")
    assert result.ret == 2
    result.assert_outcomes(failed=1, deselected=len(GENERATED) - 1)
    result.stdout.fnmatch_lines(["*/usr/bin/ap*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_machine_without_qemu(write: Write, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    assert run("app/recipe.toml", "-k", "builds").ret == 0  # what that needs is in the cache then
    monkeypatch.setenv("PATH", "/nonexistent")
    result = run("app/recipe.toml", "-k", "boots")
    assert result.ret == 3
    result.stdout.fnmatch_lines(["*qemu-system-x86_64 is needed*sudo apt-get install qemu-system-x86*"])


def test_a_test_without_a_recipe_is_told_how_to_name_one(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(image): pass")
    result = run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*no recipe.toml beside this test: mark it with*"])


@pytest.mark.parametrize("options", [["--ib-recipe", "hello"], []])
def test_a_recipe_by_name(run: Run, pytester: pytest.Pytester, options: list[str]) -> None:
    mark = "" if options else '@pytest.mark.recipe("hello")\n'
    pytester.makepyfile(f"import pytest\n{mark}def test_it(recipe_folder): assert recipe_folder.name == 'hello'")
    assert run("--strict-markers", *options).ret == 0
