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
INSTALLS = ("apt-get", "pip install", "-m venv", "export PATH")
SCHEMAS = ("github-workflows", "gitlab-ci")


def workflows() -> tuple[dict[Any, Any], dict[Any, Any]]:
    """GitHub's and GitLab's, in the page's order."""
    github, gitlab = re.findall(r"```yaml\n(.*?)```", (DOCS / "ci.md").read_text(), re.DOTALL)
    return yaml.safe_load(github), yaml.safe_load(gitlab)


def github_steps() -> Iterator[str]:
    """The shell steps of GitHub's workflow, of all events one after the other."""
    for step in workflows()[0]["jobs"]["images"]["steps"]:
        if "run" in step:
            yield step["run"]


def gitlab_steps() -> Iterator[str]:
    """The shell steps of GitLab's."""
    job = workflows()[1]["images"]
    for key in ("before_script", "script", "after_script"):
        yield from job[key]


STEPS = {"github": github_steps, "gitlab": gitlab_steps}


def shell(script: str, folder: Path, cache: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """Run a step as the runner does."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "IMAGEBUILDER_CACHE": str(cache), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    env |= {"CI_DEFAULT_BRANCH": "main", **given}
    argv = ["bash", "-e", "-o", "pipefail", "-c", script]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.tools
@pytest.mark.parametrize("name", STEPS)
def test_steps_are_shell_and_name_what_there_is(name: str) -> None:
    steps = list(STEPS[name]())
    for step in steps:
        subprocess.run(["bash", "-n"], input=step, text=True, check=True)
    verbs = [verb for step in steps for verb in re.findall(r"(?<!-)imagebuilder ([a-z]+)", step)]
    assert {"doctor", "test", "report"} <= set(verbs) <= set(VERBS)
    assert any(INSTALLS[1] in step for step in steps)


@pytest.mark.tools
@pytest.mark.parametrize("index", range(len(SCHEMAS)))
def test_workflows_are_what_the_sites_take(tmp_path: Path, index: int) -> None:
    """By the schemas that editors use for such files; and by another one that would not hold."""
    pytest.importorskip("check_jsonschema")
    right = {"on" if key is True else key: value for key, value in workflows()[index].items()}
    (tmp_path / "right.yml").write_text(yaml.safe_dump(right))
    wrong = {0: {"on": "push", "jobs": {"a": {"runs_on": "x"}}}, 1: {"a": {"script": 1, "cache": "x"}}}[index]
    (tmp_path / "wrong.yml").write_text(yaml.safe_dump(wrong))
    for name, status in (("right", 0), ("wrong", 1)):
        argv = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{SCHEMAS[index]}"]
        done = subprocess.run([*argv, str(tmp_path / f"{name}.yml")], capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr


def events() -> dict[str, Any]:
    """What starts GitHub's workflow: YAML 1.1 reads its key as a truth value."""
    found: dict[str, Any] = workflows()[0][True]
    return found


def test_only_the_main_branch_writes_what_is_compared_with() -> None:
    github, gitlab = workflows()
    steps = github["jobs"]["images"]["steps"]
    (saving,) = [step for step in steps if step.get("uses", "").startswith("actions/cache/save")]
    (reading,) = [step for step in steps if step.get("uses", "").startswith("actions/cache/restore")]
    assert saving["if"] == "github.ref == 'refs/heads/main'" and events()["push"]["branches"] == ["main"]
    assert saving["with"]["key"] == reading["with"]["key"]
    assert saving["with"]["key"].startswith(reading["with"]["restore-keys"])
    assert saving["with"]["path"] == reading["with"]["path"] == "main"
    (kept,) = [each for each in gitlab["images"]["cache"] if each["key"] == "main"]
    assert kept["policy"] == "$MAIN_POLICY" and gitlab["images"]["variables"]["MAIN_POLICY"] == "pull"
    assert [rule.get("variables") for rule in gitlab["images"]["rules"]] == [{"MAIN_POLICY": "pull-push"}, None]


def test_what_the_steps_write_is_kept() -> None:
    github, gitlab = workflows()
    made = {"report.json", "report.html", "bench.json", "bench.html", "junit.xml", "out/artefacts"}
    artefacts = gitlab["images"]["artifacts"]
    assert set(github["jobs"]["images"]["steps"][-1]["with"]["path"].split()) == made
    assert {*artefacts["paths"], artefacts["reports"]["junit"]} == made
    (cached,) = [each["with"] for each in github["jobs"]["images"]["steps"] if each.get("uses") == "actions/cache@v4"]
    assert github["jobs"]["images"]["env"]["IMAGEBUILDER_CACHE"] == cached["path"]
    assert gitlab["images"]["variables"]["IMAGEBUILDER_CACHE"].endswith(gitlab["images"]["cache"][0]["paths"][0])


@pytest.mark.slow
@pytest.mark.vm
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", STEPS)
def test_a_repository_goes_through(write: Write, pytester: pytest.Pytester, cache: Path, name: str) -> None:
    """All steps but those that install: on the main branch, then for a change with a recipe more, then once more with a
    promise that cannot be kept."""
    image = write("say=hello", more="[budget]\nimage_bytes = 3_000_000\n")
    folder = pytester.path
    pytester.mkdir("recipes")
    shutil.move(folder / "app", folder / "recipes" / "app")
    steps = [step for step in STEPS[name]() if not any(word in step for word in INSTALLS)]
    for step in steps:
        if "--vs" not in step or name == "gitlab":
            passed(shell(step, folder, cache, CI_COMMIT_BRANCH="main"))
    for made in ("junit.xml", "report.json", "report.html", "main/report.json", f"main/out/{image}/image.json"):
        assert (folder / made).stat().st_size > 0
    shutil.copytree(folder / "recipes" / "app", folder / "recipes" / "more")
    recipe = folder / "recipes" / "more" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(f'name = "{image}"', 'name = "more"'))
    (gate,) = [step for step in steps if "--vs" in step]
    done = shell(gate, folder, cache, CI_COMMIT_BRANCH="change")
    assert "main/out has no more: it is started, and not compared" in done.stderr
    assert done.returncode in (0, 4), done.stderr  # undecided where the host is too busy
    assert (folder / "bench.json").stat().st_size > 0
    recipe.write_text(recipe.read_text().replace("3_000_000", "100"))
    (promises,) = [step for step in steps if "imagebuilder test" in step]
    assert shell(promises, folder, cache).returncode == 1
    shutil.rmtree(folder / "main")
    assert "there is nothing of the main branch yet" in passed(shell(gate, folder, cache, CI_COMMIT_BRANCH="c")).stdout


def passed(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """A step that went well."""
    assert done.returncode == 0, f"{done.args[-1]}\n{done.stdout}\n{done.stderr}"
    return done
