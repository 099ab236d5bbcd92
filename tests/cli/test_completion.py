"""Completion, asked for as the shells ask."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

pytestmark = pytest.mark.tools

CASES = [
    ("build ng", "nginx"),
    ("run he", "hello"),
    ("bench --kernel mic", "micro"),
    ("test --kernel debian", "debian-cloud"),
    ("kernel show mic", "micro"),
    ("kernel build micro --fragment ipv", "ipv6"),
    ("build --format ero", "erofs"),
    ("build --kern", "--kernel"),
    ("templ", "template"),
]
# What each shell is told to do: it completes a line, and prints what it found.
BASH = """
eval "$(imagebuilder completion bash)"
COMP_WORDS=(imagebuilder {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE="imagebuilder {words}"
_imagebuilder_completion imagebuilder
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = "imagebuilder completion fish | source; complete --do-complete 'imagebuilder {words}'"
ZSH = """
compdef() {{ : }}
compset() {{ : }}
_describe() {{ print -l -- ${{completions_with_descriptions%%:*}} }}
compadd() {{ print -l -- $completions }}
source <(imagebuilder completion zsh)
words=(imagebuilder {words}); CURRENT=${{#words}}
_imagebuilder_completion
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which imagebuilder is ours."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "imagebuilder").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m imagebuilder "$@"\n')
    (folder / "imagebuilder").chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


@pytest.mark.parametrize(("words", "found"), CASES)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_in_the_shell(shell: str, words: str, found: str, path: str, tmp_path: Path, cache: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = {"bash": BASH, "zsh": ZSH, "fish": FISH}[shell].format(words=words)
    bare = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    env = {**os.environ, "PATH": path, "HOME": str(tmp_path), "IMAGEBUILDER_CACHE": str(cache)}
    argv = [shell, *bare, "-c", script]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert found in done.stdout.split(), done


@pytest.mark.vm
def test_templates(cli: Cli, recipe: Path) -> None:
    ask = {"_IMAGEBUILDER_COMPLETE": "bash_complete", "COMP_CWORD": "3", "COMP_WORDS": "imagebuilder template rm ap"}
    text = (recipe / "recipe.toml").read_text().replace('"say=hello, world"', '"say=hello, world", "wait"')
    (recipe / "recipe.toml").write_text(text)
    assert "plain,app" not in cli(env=ask).out
    made = cli("template", "create", "app", "--accel", "tcg")
    assert made.status == 0, made
    assert "plain,app" in cli(env=ask).out
    assert cli("template", "rm", "app").status == 0


def test_a_cache_that_cannot_be_read_completes_nothing(cli: Cli) -> None:
    ask = {"_IMAGEBUILDER_COMPLETE": "bash_complete", "COMP_CWORD": "3", "COMP_WORDS": "imagebuilder template rm ap"}
    ran = cli(env={**ask, "IMAGEBUILDER_CACHE": "/proc/none"})
    assert (ran.out.strip(), ran.err) == ("", "")
