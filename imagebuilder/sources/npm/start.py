"""How a project is started: what its ``package.json`` says, in the words of a recipe."""

import re
import shlex
from collections.abc import Container, Mapping
from typing import Any

from imagebuilder.sources.npm.lock import Described

NODE = "/usr/bin/node"
FALLBACKS = ("server.js", "index.js")  # of `npm start` without a script, and of Node for a folder
SHELL = re.compile(r"[|&;<>()$`*?\[\]{}~!\n]")
ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def defaults(project: Described, target: str, files: Container[str], programs: Mapping[str, str]) -> dict[str, Any]:
    """Keys of ``[application]``: of the script ``start`` where that runs node or a program of a package (``programs``:
    name to path in the project), else ``main``, else a usual name; nothing where none of them is there."""
    environment = {"NODE_ENV": "production"}
    words = _words(project.scripts.get("start", ""))
    while words and (match := ASSIGNED.fullmatch(words[0])):
        environment[match[1]] = match[2]
        words = words[1:]
    if words[:1] == ["node"] and words[1:]:
        arguments = words[1:]
    elif words and words[0] in programs:
        arguments = [f"{target}/{programs[words[0]]}", *words[1:]]
    else:
        main = next((name for name in (project.main, *FALLBACKS) if name and _file(name, files)), None)
        if main is None:
            return {}
        arguments, environment = [_file(main, files) or main], {"NODE_ENV": "production"}
    return {"command": NODE, "arguments": arguments, "directory": target, "environment": environment}


def _words(script: str) -> list[str]:
    """The words of a script that needs no shell."""
    if SHELL.search(script):
        return []
    try:
        return shlex.split(script)
    except ValueError:
        return []


def _file(name: str, files: Container[str]) -> str | None:
    """The file of the project that Node takes for a name."""
    short = name.removeprefix("./").rstrip("/")
    return next((each for each in (short, f"{short}.js", f"{short}/index.js") if each in files), None)
