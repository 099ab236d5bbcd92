"""``imagebuilder template``: make, list and remove the templates that instances are cloned from."""

import json
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from imagebuilder.cli import options, signals
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.cli.names import TEMPLATE
from imagebuilder.cli.tables import show
from imagebuilder.errors import InputError, OutputError
from imagebuilder.machine.accel import choose
from imagebuilder.machine.sweeping import abandoned, unreadable
from imagebuilder.machine.template import Template, Wanted, remove, templates
from imagebuilder.machine.warming import create
from imagebuilder.recipe.values import Egress


@click.group("template", cls=options.Verbs)
def command() -> None:
    """Make, list and remove the templates that instances are cloned from."""


@command.command("create")
@options.names
@options.accel
@click.option("--memory", "memory_mib", type=click.IntRange(1), metavar="MIB", help="Memory, instead of the recipe's.")
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
    """Start each NAME, wait for its first answer, warm it up, and keep it, in the place of one of the same image and
    machine. Older ones of the NAME that nobody used for a week, or that eight others were used after, are removed."""
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
    """List the templates that there are."""
    _print(list(templates(options.open_store())), as_json=as_json)


@command.command("rm")
@click.argument("names", nargs=-1, type=TEMPLATE, metavar="[NAME|KEY]...")
@click.option("--all", "everything", is_flag=True, help="Remove every template.")
@click.option("--stale", is_flag=True, help="Only those that nobody used for a week, or that eight others were used "
              "after (of every NAME when none is given), and what another imagebuilder has made.")  # fmt: skip
def rm(names: tuple[str, ...], everything: bool, stale: bool) -> None:
    """Remove the templates of each NAME, or the one of a KEY as `template list` prints it. One that is in use stays."""
    if not names and not everything and not stale:
        raise click.UsageError("give a NAME or a KEY, --stale or --all")
    store = options.open_store()
    found = list(templates(store))
    for name in names:
        if not any(_means(name, each) for each in found):
            known = ", ".join(sorted({each.name for each in found})) or "none"
            raise InputError(f"there is no template of {name}; there are: {known}", hint="imagebuilder template list")
    chosen = () if everything else names
    meant = [each for each in found if not chosen or any(_means(name, each) for name in chosen)]
    doomed = {each.folder: each.name for each in (abandoned(meant) if stale else meant)}
    doomed |= {} if chosen else {folder: folder.name for folder in unreadable(store)}
    used = [doomed[folder] for folder in doomed if not remove(folder)]
    if used:
        raise OutputError(f"in use, and left alone: {', '.join(used)}", hint="end their clones first")


def _means(words: str, template: Template) -> bool:
    return words == template.name or (len(words) >= 8 and template.circumstances.key.startswith(words))


def _print(found: list[Template], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([each.describe() | {"bytes": each.bytes} for each in found], indent=1))
        return
    table = Table("name", "key", "machine", "QEMU", "size", "made")
    for each in found:
        was = each.circumstances
        key, size = was.key[:12], options.megabytes(each.bytes)
        table.add_row(Text(each.name), key, was.machine, Text(was.qemu.partition(" (")[0]), size, each.made)
    show(stdout(), table)
