"""Options for what one machine alone is given: variables and secrets."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from imagebuilder.cli.names import FilePath

Command = TypeVar("Command", bound=Callable[..., Any])


class Variable(click.ParamType[tuple[str, str]]):
    """``NAME=VALUE``."""

    name = "NAME=VALUE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The name and the value."""
        from imagebuilder.machine.given import VARIABLE

        name, equals, text = str(value).partition("=")
        if not equals or not VARIABLE.fullmatch(name) or "\n" in text:
            self.fail(f"{value!r} is not NAME=VALUE in one line", param, ctx)
        return name, text


class SecretFile(click.ParamType[tuple[str, Path]]):
    """``NAME=FILE``."""

    name = "NAME=FILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """The name of the secret, and the file that holds it."""
        from imagebuilder.machine.given import SECRET

        name, equals, path = str(value).partition("=")
        if not equals or not path or not SECRET.fullmatch(name):
            # What was given may be the secret itself: it is not repeated.
            self.fail("expected NAME=FILE, where FILE holds the secret", param, ctx)
        return name, Path(path)


def given(command: Command) -> Command:
    """``--env``, ``--env-file``, ``--secret``."""
    for option in (
        click.option(
            "--secret", "secrets", multiple=True, type=SecretFile(), metavar="NAME=FILE",
            help="A secret that FILE holds, as /run/credentials/NAME for the application's user alone; repeatable.",
        ),
        click.option(
            "--env-file", type=FilePath(dir_okay=False), metavar="FILE",
            help="A file of such variables, one NAME=VALUE a line; --env counts before it.",
        ),
        click.option(
            "--env", "environment", multiple=True, type=Variable(), metavar="NAME=VALUE",
            help="A variable of the application, and a line of its /run/instance/environment; repeatable. "
            "For a clone the line alone.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def variables(environment: Iterable[tuple[str, str]], env_file: Path | None) -> dict[str, str]:
    """The variables of both. Raises InputError."""
    from imagebuilder.machine.given import read_environment

    return {**(read_environment(env_file) if env_file else {}), **dict(environment)}
