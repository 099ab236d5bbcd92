"""``imagebuilder``: finds the verb, loads its module alone, turns every error into one sentence and an exit status."""

import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from imagebuilder import __version__
from imagebuilder.cli import signals, streams
from imagebuilder.errors import ImagebuilderError, InputError, MachineError, OutputError, ToolFailed

INTERRUPTED = 130
UNREAD = 1
TALK = ("-q", "--quiet", "-v", "--verbose")
LONG = re.compile(r"\S{300,}")


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: where its click command ``command`` stands, and its line in ``--help``."""

    module: str
    summary: str


VERBS: Mapping[str, Verb] = {
    "build": Verb("build", "Build images from recipes"),
    "lock": Verb("lock", "Write down what was chosen for a recipe, and see what changed"),
    "run": Verb("run", "Boot an image with the console attached"),
    "serve": Verb("serve", "Answer every HTTP request with a machine of its own"),
    "test": Verb("test", "Build, boot and measure images; hold them against their budgets"),
    "report": Verb("report", "Show reports as a page, a table, JUnit XML or Markdown, without booting again"),
    "bench": Verb("bench", "Measure repeated starts of images in turn; compare them with earlier ones"),
    "template": Verb("template", "Keep warm instances from which others are cloned in milliseconds"),
    "trace": Verb("trace", "Record the files that an application opens, so that its image keeps only these"),
    "learn": Verb("learn", "Record the pages that a start uses, so that only these are read ahead"),
    "inspect": Verb("inspect", "Show what is in an image and why, by size"),
    "diff": Verb("diff", "Show in what two images differ: packages, files, sizes, kernel options, start"),
    "sign": Verb("sign", "Sign what is known of an image: its provenance, bills of materials, test results"),
    "verify": Verb("verify", "Check that an image is the one that was signed"),
    "list": Verb("list", "List the available recipes"),
    "new": Verb("new", "Write a commented, working recipe"),
    "schema": Verb("schema", "Print the recipe's JSON Schema, for completion in editors"),
    "kernel": Verb("kernel", "List, show, build and verify kernels"),
    "cache": Verb("cache", "List, prune and verify the cache of builds"),
    "doctor": Verb("doctor", "Say what this machine has and lacks, and how to install it"),
    "completion": Verb("completion", "Print the completion script for a shell"),
}


class Verbs(click.Group):
    """Loads a verb's module when it is called, so that ``--help`` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order in which one meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"imagebuilder.cli.{VERBS[cmd_name].module}")
        command: click.Command = module.command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it; -q and -v before a verb, where other programs have them, are the verb's."""
        talk = [*takewhile(TALK.__contains__, args)]
        words = args[len(talk) :]
        if not talk or not words or words[0] not in VERBS:
            return super().parse_args(ctx, args)
        verb = 2 if isinstance(self.get_command(ctx, words[0]), click.Group) else 1
        return super().parse_args(ctx, [*words[:verb], *talk, *words[verb:]])

    def invoke(self, ctx: click.Context) -> Any:
        """As click does it, without the empty line that it prints when it is interrupted."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise SystemExit(INTERRUPTED) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest verb for an unknown one."""
        if args and not args[0].startswith("-") and args[0] not in VERBS:
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(VERBS)}"
            raise click.UsageError(f"there is no verb '{args[0]}': {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, from the table alone."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.summary) for name, verb in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="imagebuilder")
def cli() -> None:
    """Turn one application into a bootable, disposable cloud image, and prove how fast it starts and how little it
    needs.

    NAME is a folder with a recipe.toml, or the name of one under recipes/.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise InputError("the current folder was removed: change to another one") from error
    signals.leave_tidily()  # the verb's module is there: from here on there is something to tidy up


def main() -> None:
    """Run the verb, and leave with its exit status: 0, 1 (a promise or an instance failed), 2 (the input is wrong), 3
    (this machine lacks something), 4 (undecided), 128 and a signal's number."""
    signals.leave_at_once()
    streams.open_all()
    try:
        status = _run(sys.argv[1:])
        streams.flush()
    except BaseException as error:
        status = _failed(error)
    signals.leave_as_usual()
    with suppress(OSError):
        streams.flush()
    sys.exit(status if isinstance(status, int) else 0)


def _run(words: Sequence[str]) -> Any:
    """The verb; of a build that changes nothing what it printed before."""
    watched = None
    if words[:1] == ["build"]:
        from imagebuilder.build import unchanged

        if (text := unchanged.answer(words)) is not None:
            click.echo(text, nl=False)
            return 0
        watched = unchanged.watch(words)
    return cli.main(prog_name="imagebuilder", standalone_mode=False, obj=watched)


def _failed(error: BaseException) -> int:
    """Say what was wrong; returns the exit status."""
    try:
        return _told(error)
    except OSError:  # standard error cannot be written either
        return getattr(error, "exit_status", ImagebuilderError.exit_status)


def _told(error: BaseException) -> int:
    number = signals.behind(error)
    if number is not None:
        click.echo(signals.sentence(number), err=True)
        return signals.SIGNALLED + number
    match error:
        case SystemExit():
            return _status(error)
        case click.ClickException():
            text = io.StringIO()
            error.show(text)
            click.echo(_short(text.getvalue()), nl=False, err=True)
            return error.exit_code
        case ImagebuilderError():
            return _say(error)
        case BrokenPipeError() if streams.unread():
            streams.drop()
            return UNREAD
        case BrokenPipeError():
            return _say(MachineError("a program that imagebuilder had started ended before it had read its input"))
        case OSError():
            place = f"{error.filename}: " if error.filename else ""
            return _say(OutputError(f"{place}{error.strerror or error}"))
    return _say(_fault(error))


def _status(error: SystemExit) -> int:
    streams.flush()
    return error.code if isinstance(error.code, int) else 0


def _fault(error: BaseException) -> ImagebuilderError:
    """An error of our own: a bug."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return ToolFailed(
        f"this is a fault of imagebuilder itself: {type(error).__name__}: {str(error) or 'no more is known'}{place}",
        status=0,
        stderr="".join(traceback.format_exception(error)),
        hint="-v shows where it happened; please report it",
    )


def _say(error: ImagebuilderError) -> int:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True, color=_color())
    click.echo(_short(error.message), err=True)
    if error.hint:
        click.echo(f"hint: {_short(error.hint)}", err=True)
    if details := getattr(error, "stderr", "") if _verbose() else "":
        click.echo(details, err=True)
    return error.exit_status


def _short(text: str) -> str:
    """A sentence without the middle of a word that is longer than any name."""
    return LONG.sub(lambda word: f"{word[0][:40]}…{word[0][-20:]}", text)


def _color() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _verbose() -> bool:
    return any(word in ("-v", "--verbose") for word in sys.argv[1:])
