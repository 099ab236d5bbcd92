"""``imagebuilder template``: make, list and remove the templates that instances are cloned from."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from imagebuilder.cli import options, signals
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.cli.names import TEMPLATE
from imagebuilder.cli.tables import show
from imagebuilder.errors import OutputError
from imagebuilder.machine.accel import choose
from imagebuilder.machine.template import Template, Wanted, templates
from imagebuilder.machine.template_create import create
from imagebuilder.machine.template_gc import remove_named, unreadable
from imagebuilder.recipe.values import Egress
from imagebuilder.words import counted, some


@click.group("template", cls=options.Verbs)
def command() -> None:
    """Make, list and remove the templates that instances are cloned from."""


@command.command("create")
@options.names
@options.accel
@click.option("--memory", "memory_mib", type=click.IntRange(1), metavar="MIB", help="Memory; overrides the recipe's.")
@options.cpus
@options.egress
@options.kernel
@options.out
@options.artefacts
@options.as_json
@options.talk
def create_(
    names: tuple[str, ...],
    accel: str,
    memory_mib: int | None,
    cpus: int | None,
    egress: Egress | None,
    artefacts: Path,
    kernel: str | None,
    out: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Start each NAME, wait for its first answer, warm it up, and keep it, replacing the template of the same image
    and machine. Those of the NAME that were unused for a week, or that eight others were used after, are removed."""
    store = options.open_store()
    made = []
    with listener(quiet=quiet, verbose=verbose) as say:
        accelerator = choose(accel, store=store).accelerator
        for name in names:
            bundle = options.built(name, out, kernel=kernel, say=say, cpus=cpus)
            wanted = Wanted.of(bundle, accelerator, memory_mib=memory_mib, cpus=cpus, egress=egress)
            made.append(signals.run(create(wanted, store, say=say, artefacts=artefacts / bundle.folder.name)))
    _print(made, as_json=as_json)


@command.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the templates."""
    store = options.open_store()
    _print(list(templates(store)), as_json=as_json)
    if lost := [folder.name for folder in unreadable(store)]:
        said = "cannot be used, damaged or of another imagebuilder: `imagebuilder template rm --stale` removes that"
        click.echo(f"warning: {counted(len(lost), 'template')} ({some(lost)}) {said}", err=True)


@command.command("rm")
@click.argument("names", nargs=-1, type=TEMPLATE, metavar="[NAME|KEY]...")
@click.option("--all", "everything", is_flag=True, help="Remove every template.")
@click.option("--stale", is_flag=True, help="Only those unused for a week, or that eight others were used after (of "
              "every NAME when none is given), and those made by another version of imagebuilder.")  # fmt: skip
@options.as_json
def rm(names: tuple[str, ...], everything: bool, stale: bool, as_json: bool) -> None:
    """Remove the templates of each NAME, or the one of a KEY as `template list` prints it. One that is in use stays."""
    if not names and not everything and not stale:
        raise click.UsageError("give a NAME or a KEY, --stale or --all")
    store = options.open_store()
    done = remove_named(store, names, everything=everything, stale=stale)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in done], indent=1))
    if used := [each.name for each in done if not each.removed]:
        raise OutputError(f"in use, and left alone: {', '.join(used)}", hint="end their clones first")


def _print(found: list[Template], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([each.describe() | {"bytes": each.bytes} for each in found], indent=1))
        return
    table = Table("name", "key", "machine", "QEMU", "size", "made")
    for each in found:
        was = each.circumstances
        key, size = was.key[:12], options.megabytes(each.bytes)
        table.add_row(*map(Text, (each.name, key, was.machine, was.qemu.partition(" (")[0], size, each.made)))
    show(stdout(), table)
