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
    with listener(quiet=False, verbose=False) as say:
        rows = kernel.list_definitions(say)
    if as_json:
        click.echo(json.dumps([row.model_dump(mode="json") for row in rows], indent=1))
        return
    table = Table("name", "machine", "what it is")
    for row in rows:
        machines = dict.fromkeys(machine for product in row.products for machine in product.machines)
        table.add_row(row.name, ", ".join(machines), Text(row.summary))
    tables.show(stdout(), table)


@command.command("show")
@click.argument("name", type=KERNEL)
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Show a kernel's definition, and whether the prebuilt one is up to date."""
    definition = kernel.load_definition(name)
    document = definition.model_dump(mode="json") | {"key": kernel.key(definition, ())}
    prebuilt_images = kernel.prebuilt_images(definition)
    if as_json:
        click.echo(json.dumps(document | {"prebuilt": prebuilt_images}, indent=1))
        return
    for key, value in document.items():
        if value is not None:
            click.echo(f"{key}: {value if isinstance(value, str) else json.dumps(value)}")
    for kernel_name, wrong in prebuilt_images.items():
        click.echo(f"prebuilt {kernel_name}: {'; '.join(wrong) or 'up to date'}")
    if not prebuilt_images:
        click.echo("prebuilt: no, it comes out of its package")


@command.command("build")
@click.argument("name", type=KERNEL)
@fragments
@options.as_json
@options.talk
def build(name: str, fragments: tuple[str, ...], as_json: bool, quiet: bool, verbose: bool) -> None:
    """Print the path of a kernel: prebuilt, from its package, from the cache, or compiled now, which takes minutes
    (`kernel verify` compiles in any case)."""
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


@command.command("bump")
@click.argument("name", type=KERNEL)
@click.option("--to", "version", metavar="VERSION", help="This version, instead of the newest that the archives have.")
@click.option("--package", metavar="PACKAGE", help="Another source package, such as linux-source-6.18.")
@click.option("--release", metavar="RELEASE", help="Another Debian release, such as trixie-backports.")
@click.option("--series", "only_series", is_flag=True, help="Only see whether the patches fit; change nothing.")
@options.talk
def bump(
    name: str,
    version: str | None,
    package: str | None,
    release: str | None,
    only_series: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Move a kernel's pin to the newest source that the archives have: apply its patches, compile it, run the boot
    tests, and only then change the definition and what is prebuilt."""
    store = options.open_store()
    with listener(quiet=quiet, verbose=verbose) as say:
        done = kernel.bump(
            kernel.load_definition(name),
            version=version,
            package=package,
            release=release,
            only_series=only_series,
            store=store,
            say=say,
        )
    click.echo(done)


@command.command("verify")
@click.argument("name", type=KERNEL)
@fragments
@options.talk
def verify(name: str, fragments: tuple[str, ...], quiet: bool, verbose: bool) -> None:
    """Compile a kernel again, from nothing, and compare it bit for bit with the prebuilt one."""
    store = options.open_store()
    extra = [kernel.fragment(words, beside=Path.cwd()) for words in fragments]
    with listener(quiet=quiet, verbose=verbose) as say:
        kernel.verify(kernel.load_definition(name), extra, store=store, say=say)
    click.echo(f"{'+'.join((name, *fragments))}: the same bytes, twice")
