"""What a command makes out of files beside the recipe: it runs in a scratch folder over copies of just those.

What it makes keeps the mode that the command gives it; it runs with umask 022, whatever ours is.
The folder's path is different each time, so compilers are made to write ``.`` for it (``ENVIRONMENT``). The command is
not locked in: it could read elsewhere, and then its result would no longer depend on its inputs alone.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from imagebuilder import process
from imagebuilder.errors import NotExecutable, OutputError, SourceError, ToolFailed, ToolTimedOut
from imagebuilder.events import Note, step
from imagebuilder.paths import home as users_home
from imagebuilder.paths import source_date_epoch_s
from imagebuilder.recipe import fields, local_files
from imagebuilder.recipe.base import mistake_at
from imagebuilder.recipe.cross_checks import repeated
from imagebuilder.sources.files import collect, node_of, with_mode
from imagebuilder.sources.hints import did_you_mean
from imagebuilder.sources.kind import Context, Locked, Material, SourceTable
from imagebuilder.store import key_of, sha256_file
from imagebuilder.tree import Kind, Node, Tree

if TYPE_CHECKING:
    from imagebuilder.sources.layer import Layer

# Variables of the build; {work} is the scratch folder, {home} a folder beside it. The recipe's come over them.
ENVIRONMENT: Mapping[str, str] = {
    "CARGO_HOME": "{home}/cargo",
    "CFLAGS": "-O2 -ffile-prefix-map={work}=.",
    "CGO_ENABLED": "0",
    "CXXFLAGS": "-O2 -ffile-prefix-map={work}=.",
    "GOCACHE": "{home}/go-build",
    "GOFLAGS": "-trimpath -buildvcs=false -modcacherw",
    "GOPATH": "{home}/go",
    "HOME": "{home}",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "RUSTFLAGS": "--remap-path-prefix={work}=.",
    "TMPDIR": "{home}/tmp",
    "XDG_CACHE_HOME": "{home}/cache",
}


class BuildSource(SourceTable):
    """What a command makes out of files beside the recipe, such as a compiled program."""

    type: Literal["build"]
    """The kind of source."""
    inputs: tuple[fields.GlobBeside, ...] = Field(min_length=1)
    """Paths or patterns beside the recipe that the command sees; the scratch folder it runs in holds nothing else."""
    command: tuple[fields.Text, ...] = Field(min_length=1)
    """The command and its arguments; no shell is involved."""
    outputs: Mapping[fields.Beside, fields.ImagePath] = Field(min_length=1)
    """What is taken from the scratch folder afterwards: path in it = path in the image."""
    environment: Mapping[fields.Variable, fields.Text] = {}
    """Variables for the command, besides the few that every build gets."""
    pass_environment: tuple[fields.Variable, ...] = ()
    """Variables that the command gets from your environment, where they are set: a proxy, an agent's socket."""
    timeout_s: fields.Seconds = 3600
    """How long the command may take, in s; then it is ended with all that it started."""
    mode: fields.Mode | None = None
    """The outputs' permissions in octal (read permission of a folder includes entering it); else as the command set."""
    owner: fields.User = "root"
    """The outputs' owner: a name, "uid", "uid:gid" or "name:uid"."""
    licence: fields.Line = ""
    """Their licence as an SPDX expression, for the bill of materials."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """No two outputs at one path, no variable from two sides."""
        outputs, own, passed = (raw.get(key) for key in ("outputs", "environment", "pass_environment"))
        yield from repeated(list(outputs.items()), "outputs") if isinstance(outputs, Mapping) else ()
        if isinstance(own, Mapping) and isinstance(passed, list | tuple):
            both = [(number, name) for number, name in enumerate(passed) if isinstance(name, str) and name in own]
            for number, name in both:
                yield mistake_at(("pass_environment", number), f"{name} has a value in environment: write it once")


def resolve(source: BuildSource, context: Context) -> Locked:
    """Inputs by hash, the command, its environment, and the program that runs by path and hash; not how long it may
    take, which makes no other image."""
    inputs = collect(context.folder, source.inputs, key="source.inputs")
    key = {
        "type": source.type,
        "inputs": {path: node.describe() for path, node in inputs.items()},
        "command": [*source.command],
        "tool": _identity(source.command[0], inputs),
        "mode": source.mode,
        "owner": source.owner,
        "licence": source.licence,
        "outputs": [[*output] for output in source.outputs.items()],  # in their order: the later one stands
        "environment": {**ENVIRONMENT, "SOURCE_DATE_EPOCH": str(source_date_epoch_s()), **source.environment},
        "passed": [*source.pass_environment],  # names alone: what a proxy is called here makes no other image
    }
    return Locked(source, key)


def fetch(locked: Locked, context: Context) -> "Layer":
    """Run the command and take its outputs. Raises SourceError when it fails or leaves an output out."""
    from imagebuilder.sources.layer import Layer

    source: BuildSource = locked.source
    inputs = collect(context.folder, source.inputs, key="source.inputs")
    title = process.shell_line(source.command)
    with context.store.scratch() as scratch, step(context.say, f"build-{key_of([*source.command])[:8]}", title):
        work, home = scratch / "build", scratch / "home"
        _lay_down(inputs, context.folder, work, home)
        _run(source, context, work, home)
        made = dict(each for output in source.outputs for each in _output(source, output, work, context))
    nodes = {path: with_mode(node, source.mode) for path, node in made.items()}
    own = Material("build", licences=(source.licence,) if source.licence else ())
    return Layer(Tree(nodes), dict.fromkeys(nodes, "build"), owner=source.owner, materials={"build": own})


def environment(source: BuildSource, work: Path, home: Path) -> dict[str, str]:
    """The variables that the command gets, besides those of every program that we run."""
    own = {name: value.format(work=work, home=home) for name, value in ENVIRONMENT.items()}
    fixed = {"SOURCE_DATE_EPOCH": str(source_date_epoch_s()), **source.environment}
    return {**own, **_toolchains(), **fixed, **process.ours(source.pass_environment)}


def _toolchains() -> dict[str, str]:
    """Where rustup keeps the compilers that its ``rustc`` and ``cargo`` stand for: below the user's own HOME."""
    own = users_home()
    named = os.environ.get("RUSTUP_HOME") or (own / ".rustup" if own else None)
    return {"RUSTUP_HOME": str(named)} if named and Path(named).is_dir() else {}


def _lay_down(inputs: Mapping[str, Node], folder: Path, work: Path, home: Path) -> None:
    """Copy the inputs, all with the same time."""
    epoch_s = source_date_epoch_s()
    try:
        for needed in (work, home, home / "tmp"):
            needed.mkdir()
        for path, node in inputs.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            if node.kind is Kind.SYMLINK:
                (work / path).symlink_to(node.target)
                continue
            if node.kind is Kind.DIRECTORY:
                (work / path).mkdir(parents=True, exist_ok=True)
                (work / path).chmod(node.mode)
                continue
            shutil.copyfile(folder / path, work / path)
            (work / path).chmod(node.mode)
            os.utime(work / path, (epoch_s, epoch_s))
    except OSError as error:
        raise OutputError(f"the inputs cannot be copied into {work}: {error.strerror}") from error


def _run(source: BuildSource, context: Context, work: Path, home: Path) -> None:
    program, *arguments = source.command
    own = work / program
    words = [str(own) if "/" in program and not program.startswith("/") else program, *arguments]
    try:
        process.run(
            words,
            cwd=work,
            env=environment(source, work, home),
            timeout_s=source.timeout_s,
            on_line=lambda line: context.say(Note(line)),
            supervised=True,
        )
    except ToolFailed as error:
        said = f":\n{_indented(error.stderr, work)}" if error.stderr else ", and said nothing"
        hint = (
            "if it needs longer, give it more with timeout_s under [source]"
            if isinstance(error, ToolTimedOut)
            else _proxies(source)
        )
        raise SourceError(f'source.command: "{program}" {error.how}{said}', hint=hint) from error
    except NotExecutable as error:
        hint = f"chmod +x {program}"
        raise SourceError(f'source.command: "{program}" cannot be run: its mode forbids it', hint=hint) from error
    except OSError as error:
        raise SourceError(f'source.command: "{program}" cannot be run: {error.strerror}') from error


def _proxies(source: BuildSource) -> str | None:
    """What a command that failed may have lacked: the proxies that are set here, and that it does not get."""
    given = {*source.pass_environment, *source.environment}
    missing = [name for name in process.ours(process.PROXIES) if name not in given]
    words = ", ".join(f'"{name}"' for name in missing)
    return f"if it downloads, it has no proxy: source.pass_environment = [{words}]" if missing else None


def _output(source: BuildSource, output: str, work: Path, context: Context) -> list[tuple[str, Node]]:
    """The nodes of one output: a file, a link or a folder with all in it."""
    target = source.outputs[output]
    try:
        found = local_files.expand(work, output) if not (work / output).is_symlink() else (output,)
    except ValueError as error:
        raise SourceError(f'source.outputs: "{output}": {error}') from error
    if not (work / output).exists() or not found:
        hint = did_you_mean(output, local_files.candidates(work))
        raise SourceError(f'source.outputs: the command ended well but did not make "{output}"', hint=hint)
    paths = dict.fromkeys((*_folders(work, output), *found))
    return [(target + path.removeprefix(output), _kept(node_of(work / path, work), context)) for path in paths]


def _folders(work: Path, output: str) -> list[str]:
    """The folders of an output, of which the modes count too; none when it is a file or a link."""
    if (work / output).is_symlink():
        return []
    return [Path(here).relative_to(work).as_posix() for here, _, _ in os.walk(work / output)]


def _kept(node: Node, context: Context) -> Node:
    """The node with its content in the store: the scratch folder goes."""
    from imagebuilder.sources.layer import kept

    return node if node.kind is not Kind.FILE else replace(node, content=kept(node.content.read(), context.store))


def _identity(program: str, inputs: Mapping[str, Node]) -> list[str]:
    """Which program runs: one of the inputs (they are in the key already), or one of the machine by path and hash."""
    if "/" in program and not program.startswith("/"):
        name = os.path.normpath(program)
        if name not in inputs:
            hint = "a relative path is that of an input; programs of the machine are named without a folder"
            raise SourceError(f'source.command: "{program}" is not among the inputs', hint=hint)
        return [name]
    path = process.require(program).resolve()
    try:
        return [str(path), sha256_file(path)]
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _indented(text: str, work: Path) -> str:
    return "\n".join(f"    {line}" for line in text.replace(f"{work}/", "").splitlines())
