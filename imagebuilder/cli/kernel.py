"""``imagebuilder kernel``: list, show, build and verify kernels."""

import json
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from imagebuilder import kernel
from imagebuilder.cli import options, tables
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.cli.names import FRAGMENT, KERNEL

fragments = click.option(
    "--fragment",
    "fragments",
    type=FRAGMENT,
    multiple=True,
    metavar="FRAGMENT",
    help="A further fragment: a file, or the name of a shared one such as ipv6 (again for more).",
)


@click.group("kernel", cls=options.Verbs)
def command() -> None:
    """List, show, build and verify kernels."""


@command.command("list")
@options.as_json
def list_(as_json: bool) -> None:
    """List the kernels that recipes can name."""
    rows = kernel.list_definitions()
    if as_json:
        click.echo(json.dumps([row.model_dump(mode="json") for row in rows], indent=1))
        return
    table = Table("name", "machine", "what it is")
    for row in rows:
        table.add_row(row.name, row.boot.machine, Text(row.summary))
    tables.show(stdout(), table)


@command.command("show")
@click.argument("name", type=KERNEL)
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Show a kernel's definition, and whether the ready-built one is up to date."""
    definition = kernel.load_definition(name)
    document = definition.model_dump(mode="json") | {"key": kernel.key(definition, ())}
    ready_built = kernel.ready_built(definition)
    if as_json:
        click.echo(json.dumps(document | {"ready_built": ready_built}, indent=1))
        return
    for key, value in document.items():
        if value is not None:
            click.echo(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    for kernel_name, wrong in ready_built.items():
        click.echo(f"ready-built {kernel_name}: {'; '.join(wrong) or 'up to date'}")
    if not ready_built:
        click.echo("ready-built: no, it comes out of its package")


@command.command("build")
@click.argument("name", type=KERNEL)
@fragments
@options.as_json
@options.talk
def build(name: str, fragments: tuple[str, ...], as_json: bool, quiet: bool, verbose: bool) -> None:
    """Print where a kernel stands: ready-built, out of its package, from the cache, or compiled now, which takes
    minutes (`kernel verify` compiles in any case)."""
    store = options.open_store()
    extra = [kernel.fragment(words, beside=Path.cwd()) for words in fragments]
    with listener(quiet=quiet, verbose=verbose) as say:
        built = kernel.provide(kernel.load_definition(name), extra_fragments=extra, store=store, say=say)
    size = built.image.stat().st_size
    if as_json:
        click.echo(
            json.dumps({"name": name, "path": str(built.image), "bytes": size, "sha256": built.digest}, indent=1)
        )
        return
    click.echo(f"{built.image} {options.megabytes(size)} sha256 {built.digest}")


@command.command("verify")
@click.argument("name", type=KERNEL)
@fragments
@options.talk
def verify(name: str, fragments: tuple[str, ...], quiet: bool, verbose: bool) -> None:
    """Compile a kernel again, from nothing, and compare it bit for bit with the ready-built one."""
    store = options.open_store()
    extra = [kernel.fragment(words, beside=Path.cwd()) for words in fragments]
    with listener(quiet=quiet, verbose=verbose) as say:
        kernel.verify(kernel.load_definition(name), extra, store=store, say=say)
    click.echo(f"{'+'.join((name, *fragments))}: the same bytes, twice")
