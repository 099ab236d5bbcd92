"""What ``imagebuilder bench`` can do besides cold starts: each a row of the options that belong to it, or do not."""

from collections.abc import Sequence
from dataclasses import dataclass

import click
from click.core import ParameterSource


@dataclass(frozen=True, slots=True)
class Mode:
    """What an option turns on. Those that it ``owns`` have no effect without it, or another that owns them too; with
    ``only`` it excludes all that are not among them, and in any case those of ``without``, for the reason ``why``."""

    option: str
    owns: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    why: str = ""


def given(ctx: click.Context) -> list[str]:
    """The options of the command line, in the order in which help lists them."""
    asked = [each for each in ctx.command.params if isinstance(each, click.Option) and each.name]
    default = ParameterSource.DEFAULT
    return [each.opts[-1] for each in asked if ctx.get_parameter_source(str(each.name)) is not default]


def check(options: Sequence[str], modes: Sequence[Mode]) -> None:
    """Raises UsageError for an option that would have no effect."""
    for option in options:
        owners = [mode.option for mode in modes if option in mode.owns]
        if owners and not {*owners}.intersection(options):
            raise click.UsageError(f"{option} has no effect without {' or '.join(owners)}")
    for mode in modes:
        taken = (mode.option, *mode.only) if mode.only else options
        others = [each for each in options if each not in taken or each in mode.without]
        if mode.option in options and others:
            raise click.UsageError(f"{others[0]} does not go with {mode.option}, {mode.why}")
