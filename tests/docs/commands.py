"""``docs/commands.md``: the help of every verb, as one page. ``make docs`` writes it."""

import importlib
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import click

from imagebuilder.cli.main import VERBS
from tests.docs.blocks import ROOT

WIDTH = 120
PAGE = ROOT / "docs" / "commands.md"
HEAD = """\
# Commands

`imagebuilder VERB --help`, of every verb. This page is made from it (`make docs`).
[testing.md](testing.md#exit-statuses) has the exit statuses.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A verb, or a verb of a verb (``kernel build``), with its command."""

    name: str
    command: click.Command

    @property
    def options(self) -> tuple[click.Option, ...]:
        """Its options, those that are shown."""
        return tuple(each for each in self.command.params if isinstance(each, click.Option) and not each.hidden)

    @property
    def long_options(self) -> frozenset[str]:
        """Their long names."""
        words = (word for each in self.options for word in (*each.opts, *each.secondary_opts))
        return frozenset(word for word in words if word.startswith("--"))


def rows() -> Iterator[Row]:
    """Every verb, in the order of the help."""
    for name, verb in VERBS.items():
        command = importlib.import_module(f"imagebuilder.cli.{verb.module}").command
        if isinstance(command, click.Group):
            yield from (Row(f"{name} {each}", below) for each, below in command.commands.items())
        else:
            yield Row(name, command)


def page() -> str:
    """The page."""
    return HEAD + "".join(_section(row) for row in rows())


def _section(row: Row) -> str:
    context = click.Context(row.command, info_name=f"imagebuilder {row.name}")
    usage = " ".join([f"imagebuilder {row.name}", *row.command.collect_usage_pieces(context)])
    text = textwrap.fill(" ".join((row.command.help or "").split()), WIDTH, break_on_hyphens=False)
    lines = [_line(option, context) for option in row.options]
    table = "\n".join(["", "| option | |", "|---|---|", *lines, ""]) if lines else ""
    return f"\n## {row.name}\n\n`{usage}`\n\n{text}\n{table}"


def _line(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record, option.name
    words, text = (each.replace("|", "\\|") for each in record)
    return f"| `{words}` | {' '.join(text.split())} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
