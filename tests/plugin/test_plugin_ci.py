"""The workflows of ``docs/ci.md``: read as YAML, their shell steps run on a repository with one recipe."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagebuilder.cli.main import VERBS

from .conftest import Write

DOCS = Path(__file__).parent.parent.parent / "docs"
INSTALLS = ("apt-get", "pip install")


def workflows() -> tuple[dict[Any, Any], dict[Any, Any]]:
    """GitHub's and GitLab's, in the page's order."""
    github, gitlab = re.findall(r"```yaml\n(.*?)```", (DOCS / "ci.md").read_text(), re.DOTALL)
    return yaml.safe_load(github), yaml.safe_load(gitlab)


def github_steps() -> Iterator[str]:
    """The shell steps of GitHub's workflow."""
    for step in workflows()[0]["jobs"]["images"]["steps"]:
        if "run" in step:
            yield step["run"]


def gitlab_steps() -> Iterator[str]:
    """The shell steps of GitLab's."""
    job = workflows()[1]["images"]
    for key in ("before_script", "script", "after_script"):
        yield from job[key]


STEPS = {"github": github_steps, "gitlab": gitlab_steps}


def shell(script: str, folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run a step as the runner does."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "IMAGEBUILDER_CACHE": str(cache), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    argv = ["bash", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_shell_and_name_what_there_is(name: str) -> None:
    steps = list(STEPS[name]())
    for step in steps:
        subprocess.run(["bash", "-n"], input=step, text=True, check=True)
    verbs = [verb for step in steps for verb in re.findall(r"(?<!-)imagebuilder ([a-z]+)", step)]
    assert {"doctor", "test", "report"} <= set(verbs) <= set(VERBS)
    assert any(INSTALLS[1] in step for step in steps)


def test_what_the_steps_write_is_kept() -> None:
    github, gitlab = workflows()
    made = {"report.json", "report.html", "junit.xml", "out/artefacts"}
    artefacts = gitlab["images"]["artifacts"]
    assert set(github["jobs"]["images"]["steps"][-1]["with"]["path"].split()) == made
    assert {*artefacts["paths"], artefacts["reports"]["junit"]} == made
    for place in (github["jobs"]["images"]["env"], gitlab["images"]["variables"]):
        assert place["IMAGEBUILDER_CACHE"].endswith("/.cache/imagebuilder")


@pytest.mark.slow
@pytest.mark.vm
@pytest.mark.parametrize("name", STEPS)
def test_a_repository_goes_through(
    write: Write, pytester: pytest.Pytester, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """All steps but those that install; then once more with a promise that cannot be kept."""
    write("say=hello", more="[budget]\nimage_bytes = 3_000_000\n")
    pytester.mkdir("recipes")
    shutil.move(pytester.path / "app", pytester.path / "recipes" / "app")
    steps = [step for step in STEPS[name]() if not any(word in step for word in INSTALLS)]
    assert len(steps) == 3
    for step in steps:
        done = shell(step, pytester.path, cache)
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
    for made in ("junit.xml", "report.json", "report.html"):
        assert (pytester.path / made).stat().st_size > 0
    recipe = pytester.path / "recipes" / "app" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("3_000_000", "100"))
    (gate,) = [step for step in steps if "imagebuilder test" in step]
    assert shell(gate, pytester.path, cache).returncode == 1
