"""``imagebuilder inspect``: what is in an image and why, by size."""

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from imagebuilder.bundle import Bundle, ContentLine
from imagebuilder.cli import options
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.cli.names import FilePath
from imagebuilder.cli.tables import show
from imagebuilder.tree import Kind, Tree
from imagebuilder.words import counted

BAR_CELLS = 24


@click.command("inspect")
@options.name
@click.option("--files", "largest", type=click.IntRange(0), default=15, show_default=True, metavar="N",
              help="List the N largest files.")  # fmt: skip
@click.option(
    "--packed",
    is_flag=True,
    help="Pack it, to report how many bytes one would send: some seconds for ten megabytes, once.",
)
@click.option("--html", "html_path", type=FilePath(dir_okay=False, allow_dash=True), metavar="FILE",
              help="Write it as one self-contained page, with a picture; - is standard output.")  # fmt: skip
@options.kernel
@options.out
@options.as_json
@options.talk
def command(
    name: str,
    largest: int,
    packed: bool,
    html_path: Path | None,
    kernel: str | None,
    out: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Show what is in the image NAME and why, and what was left out (it is built when it is missing). With --html only
    the page is written."""
    from imagebuilder.measure.inspection import inspect

    options.check_writable(html_path)
    if as_json and html_path == options.STDOUT:
        raise click.UsageError("--json and --html - both print to standard output: give --html a file")
    store = options.open_store()
    with listener(quiet=quiet, verbose=verbose) as say:
        found = inspect(name, out=out, kernel=kernel, packed=packed, store=store, say=say)
    if html_path is not None:
        from imagebuilder.measure.render.contents import page

        options.write(page(found.bundle, found.root, sent_bytes=found.sent_bytes).encode(), html_path)
        if not as_json:
            return
    if as_json:
        click.echo(json.dumps(found.describe(largest), indent=1))
        return
    bundle, tree, files = found.bundle, found.root, found.largest(largest)
    console = stdout()
    show(console, _parts(bundle, tree, found.sent_bytes))
    console.print(f"The kernel is {found.kernel_name}: {found.kernel_why}.", markup=False, soft_wrap=True)
    show(console, _contents(bundle))
    if bundle.image.alternatives:
        show(console, _alternatives(bundle))
    for package, what in bundle.image.unmade.items():
        console.print(
            f"Not done of what {package} does when it is installed: {', '.join(what)}", markup=False, soft_wrap=True
        )
    if files:
        show(console, _files(files, tree.size_bytes))


def _parts(bundle: Bundle, tree: Tree, sent_bytes: int | None) -> Table:
    image = bundle.image
    table = Table(title=f"{image.name} {image.version}: {image.summary}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row(f"kernel {image.kernel.name}", options.megabytes(image.kernel.bytes))
    table.add_row(f"root as {image.root.format}", options.megabytes(image.root.bytes))
    table.add_row(
        counted(sum(node.kind is Kind.FILE for node in tree.values()), "file"), options.megabytes(tree.size_bytes)
    )
    table.add_row("shipped (tar, zstd -19)", "see --packed" if sent_bytes is None else options.megabytes(sent_bytes))
    table.add_row("digest", image.digest[:12])
    return table


def _contents(bundle: Bundle) -> Table:
    table = Table(title="What is in it, and what was left out", title_justify="left")
    for heading in ("", "group", "why"):
        table.add_column(heading)
    table.add_column("files", justify="right")
    table.add_column("bytes", justify="right")
    table.add_column("")
    lines = sorted(bundle.image.contents, key=lambda line: (not line.kept, -line.bytes))
    most = max((line.bytes for line in lines), default=1) or 1
    for line in lines:
        table.add_row(*_line(line, most), style="" if line.kept else "dim")
    return table


def _line(line: ContentLine, most: int) -> tuple[str | Text, ...]:
    bar = Text("█" * round(BAR_CELLS * line.bytes / most), style="green" if line.kept else "dim")
    sign = "✓" if line.kept else "–"
    return sign, Text(line.name), Text(line.why), str(line.files), options.megabytes(line.bytes), bar


def _alternatives(bundle: Bundle) -> Table:
    table = Table(title="Alternatives, as Debian chooses them", title_justify="left")
    for heading in ("link", "leads to", "package"):
        table.add_column(heading, overflow="fold")
    for line in bundle.image.alternatives:
        table.add_row(Text(line.link), Text(line.target), Text(line.package))
    return table


def _files(files: list[dict[str, Any]], total: int) -> Table:
    table = Table(title="The largest files", title_justify="left")
    table.add_column("path")
    table.add_column("bytes", justify="right")
    table.add_column("of the root", justify="right")
    for file in files:
        table.add_row(
            Text(file["path"]), options.megabytes(file["bytes"]), f"{100 * file['bytes'] / (total or 1):.1f} %"
        )
    return table
