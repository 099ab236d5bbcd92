"""The image of tests that run us as a user does: a static program, and the recipe beside it. Nothing is compiled or
downloaded when it is built, and what its program does stands in the recipe."""

import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "app.c"
OTHERS = "-p no:hypothesispytest -p no:asyncio"  # plugins that take longer to come up, and to end, than ours
CONSOLE = 'console = "^hello"\ntimeout_s = 120'
HTTP = 'http = {{ port = 80, status = 200, body = "It works" }}\ntimeout_s = {timeout_s}'
TEXT = """\
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
capabilities = ["sys_boot"]

[ready]
{ready}

{more}
"""


def compiled(folder: Path) -> Path:
    """The program."""
    path = folder / "app"
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", path, SOURCE], check=True)
    return path


def recipe_text(*words: str, name: str = "app", ready: str = CONSOLE, more: str = "") -> str:
    """The recipe of an application that does the words."""
    quoted = ", ".join(f'"{word}"' for word in words)
    return TEXT.format(name=name, words=quoted, ready=ready, more=more)


def lay_down(folder: Path, program: Path, text: str) -> Path:
    """The program and its recipe in a new folder."""
    folder.mkdir()
    (folder / "app").write_bytes(program.read_bytes())
    (folder / "app").chmod(0o755)
    (folder / "recipe.toml").write_text(text)
    return folder


RECIPE = recipe_text("say=hello, world")
