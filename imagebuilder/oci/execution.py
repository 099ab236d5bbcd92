"""How a container's application is started, as defaults for ``[application]``."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from imagebuilder.errors import SourceError
from imagebuilder.events import Say, Warned
from imagebuilder.oci.manifest import Execution
from imagebuilder.recipe import fields
from imagebuilder.recipe.values import MAX_ID, StopSignal, image_path
from imagebuilder.tree import Kind, Tree
from imagebuilder.words import shortened, some, whole_number

USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What root may do in a container by default (moby, "oci/caps/defaults.go"), as far as a machine of its own has a use
# for it: start scripts change owners and users.
OF_ROOT = ("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "net_bind_service")
MOST_PASSWD_BYTES = 1 << 20
VARIABLES = "no name has a control character, and no value a NUL byte"


def defaults(execution: Execution | None, tree: Tree, name: str, say: Say) -> tuple[dict[str, Any], list[int]]:
    """What the image's configuration says of its application: keys of ``[application]``, and ports. Raises
    SourceError."""
    told = execution or Execution()
    argv = [*(told.Entrypoint or ()), *(told.Cmd or ())]
    environment = _environment(told, name, say)
    environment.setdefault("PATH", USUAL_PATH)
    directory = _path(told.WorkingDir or "/", "WorkingDir", name)
    application: dict[str, Any] = {"environment": environment, "directory": directory}
    if argv:
        application["command"] = _path(
            _program(argv[0], environment["PATH"], directory, tree, name), "entry point", name
        )
        for word in argv:
            if "\0" in word:
                raise SourceError(f'{name}: "{shortened(word)}" of its command has a NUL byte')
        application["arguments"] = argv[1:]
    user, home = _user(told.User or "", tree, name)
    environment.setdefault("HOME", home)
    application["user"] = user
    if user.split(":")[0] in ("0", "root"):
        application["capabilities"] = [*OF_ROOT]
    if (signal := _signal(told.StopSignal, name, say)) is not None:
        application["stop_signal"] = signal
    return application, list(_ports(told.ExposedPorts or {}, name, say))


def _environment(told: Execution, name: str, say: Say) -> dict[str, str]:
    found, others = {}, []
    for word in told.Env or ():
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise SourceError(f'{name}: "{shortened(word)}" of its Env is no NAME=VALUE')
        if not key.isprintable() or "\0" in value:
            raise SourceError(f'{name}: "{shortened(word)}" of its Env cannot be set: {VARIABLES}')
        if re.fullmatch(fields.VARIABLE, key):
            found[key] = value
        else:  # some start scripts of Java read "cluster.name"; shells have no such variables
            others.append(shortened(key))
    if others:
        why = "whose names have more than letters, digits and _"
        say(Warned(f"{name}: not set are its variables {some(others)}, {why}"))
    return found


def _program(word: str, search: str, directory: str, tree: Tree, name: str) -> str:
    """The absolute path of the program, looked for as execvp(3) does."""
    if word.startswith("/"):
        return word
    folders = [directory] if "/" in word else [each for each in search.split(":") if each.startswith("/")]
    for folder in folders:
        path = _spelled(f"{folder}/{word}")
        place = tree.resolve(path)
        if place is not None and tree[place].kind is Kind.FILE and tree[place].mode & 0o111:
            return path
    raise SourceError(
        f'{name}: its entry point "{shortened(word)}" is not in the image',
        hint="write its absolute path in the recipe, as command under [application]",
    )


def _path(path: str, what: str, name: str) -> str:
    """A path as recipes have it; what is relative is below /. Raises SourceError."""
    plain = _spelled(path)
    try:
        image_path(plain)
    except ValueError as error:
        raise SourceError(f'{name}: its {what} "{shortened(path)}" is refused: {error}') from error
    return plain


def _spelled(path: str) -> str:
    """An absolute path without ``.``, ``//`` and a ``/`` at the end."""
    return "/" + "/".join(PurePosixPath(f"/{path}").parts[1:])


def _user(word: str, tree: Tree, name: str) -> tuple[str, str]:
    """``uid:gid`` of a user of the image and its home, by its own passwd and group; root where none is named."""
    who, _, group = word.partition(":")
    who = who or "0"
    rows = {row[0]: row for row in _rows(tree, "/etc/passwd") if len(row) >= 4}
    numbers = {row[2]: row for row in rows.values()}
    row = rows.get(who) or numbers.get(who)
    uid = row[2] if row else who
    gid = row[3] if row else "0"
    if group:
        groups = {each[0]: each[2] for each in _rows(tree, "/etc/group") if len(each) >= 3}
        gid = groups.get(group, group)
    for what, number in (("user", uid), ("group", gid)):
        if whole_number(number, MAX_ID) is None:
            raise SourceError(f'{name}: its {what} "{shortened(word)}" is not in its /etc/passwd and /etc/group')
    home = row[5] if row and len(row) > 5 and row[5].startswith("/") else "/"
    return f"{uid}:{gid}", home


def _rows(tree: Tree, path: str) -> list[list[str]]:
    place = tree.resolve(path)
    node = tree[place] if place else None
    if node is None or node.kind is not Kind.FILE or node.size_bytes > MOST_PASSWD_BYTES:
        return []
    return [line.split(":") for line in node.content.read().decode(errors="replace").splitlines()]


def _signal(word: str | None, name: str, say: Say) -> str | None:
    if not word:
        return None
    plain = word.upper().removeprefix("SIG")
    known = {str(each.number): each.value for each in StopSignal} | {each.value: each.value for each in StopSignal}
    if plain not in known:
        say(Warned(f'{name}: its stop signal "{shortened(word)}" is none that init sends: it gets TERM'))
    return known.get(plain)


def _ports(exposed: Mapping[str, Any], name: str, say: Say) -> Iterator[int]:
    others = []
    for word in exposed:
        number, _, protocol = word.partition("/")
        port = whole_number(number, 65535)
        if port and protocol in ("", "tcp"):
            yield port
        else:
            others.append(word)
    if others:
        say(Warned(f"{name}: not forwarded are its ports {some([shortened(each) for each in others])}"))
