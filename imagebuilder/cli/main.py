"""``imagebuilder``: finds the verb, loads its module alone, turns every error into one sentence and an exit status."""

import importlib
import os
import select
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

import click

from imagebuilder import __version__
from imagebuilder.errors import ImagebuilderError, MachineError, OutputError

INTERRUPTED = 130  # 128 + SIGINT, as shells say it
UNREAD = 1


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: where its click command ``command`` stands, and its line in ``--help``."""

    module: str
    summary: str


VERBS: Mapping[str, Verb] = {
    "build": Verb("build", "Build images from recipes"),
    "run": Verb("run", "Boot an image with the console attached"),
    "serve": Verb("serve", "Answer every HTTP request with a machine of its own"),
    "test": Verb("test", "Build, boot and measure images; hold them against their budgets"),
    "report": Verb("report", "Show reports as a page, a table, JUnit XML or Markdown, without booting again"),
    "bench": Verb("bench", "Start images in turn, again and again: how fast, and faster or slower than before"),
    "template": Verb("template", "Keep warm instances, from which others are cloned in milliseconds"),
    "learn": Verb("learn", "See which pages a start uses, so that only these are read ahead"),
    "inspect": Verb("inspect", "Show what is in an image and why, by size"),
    "list": Verb("list", "List the recipes that are at hand"),
    "new": Verb("new", "Write a commented recipe that works"),
    "schema": Verb("schema", "Print the recipe's JSON Schema, for completion in editors"),
    "kernel": Verb("kernel", "List, show, build and verify kernels"),
    "cache": Verb("cache", "List, prune and verify what builds keep for the next time"),
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


def main() -> None:
    """Entry point: exit status 0, 1 (a promise or an instance failed), 2 (the input is wrong), 3 (this machine lacks
    something), 130 (Ctrl-C)."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        status = cli.main(prog_name="imagebuilder", standalone_mode=False)
    except click.exceptions.Abort:
        status = INTERRUPTED
    except KeyboardInterrupt:
        status = INTERRUPTED
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except ImagebuilderError as error:
        status = _say(error)
    except Terminated as error:
        click.echo("imagebuilder: ended by SIGTERM", err=True)
        status = error.code
    except BrokenPipeError:
        status = _pipe_broken()
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        status = _say(OutputError(f"{place}{error.strerror or error}"))
    sys.exit(status if isinstance(status, int) else 0)


class Terminated(SystemExit):
    """We were asked to end."""


def _terminated(number: int, _frame: object) -> None:
    """Leave by an exception, so that whatever is under way is tidied up."""
    raise Terminated(128 + number)


def _pipe_broken() -> int:
    """Whoever read what we print has left, and there is nobody to tell; else it was one of our programs."""
    if any(map(_unread, (sys.stdout, sys.stderr))):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    return _say(MachineError("a program that imagebuilder had started was gone when it was told something"))


def _unread(stream: TextIO) -> bool:
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def _say(error: ImagebuilderError) -> int:
    click.secho("error: ", fg="red", bold=True, nl=False, err=True, color=_color())
    click.echo(error.message, err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    if details := getattr(error, "stderr", "") if _verbose() else "":
        click.echo(details, err=True)
    return error.exit_status


def _color() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _verbose() -> bool:
    return any(word in ("-v", "--verbose") for word in sys.argv[1:])
