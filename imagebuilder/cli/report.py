"""``imagebuilder report``: what was measured, as pages and tables, from the documents alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

import click

from imagebuilder.cli import figures, options
from imagebuilder.cli.bench import table as bench_table
from imagebuilder.cli.drawing import stdout
from imagebuilder.cli.names import FilePath
from imagebuilder.errors import InputError, OutputError
from imagebuilder.measure.render import words
from imagebuilder.measure.render.load_untrusted import UntrustedReport, read
from imagebuilder.paths import real

Reports = tuple[UntrustedReport, ...]
Target = FilePath(allow_dash=True)


def _html(reports: Reports) -> bytes:
    from imagebuilder.measure.render import html

    return html.page(reports).encode()


def _markdown(reports: Reports) -> bytes:
    from imagebuilder.measure.render import markdown

    return markdown.page(reports).encode()


def _junit(reports: Reports) -> bytes:
    from imagebuilder.measure import junit

    return junit.write_all([(given.label, given.report) for given in reports])


def _json(reports: Reports) -> bytes:
    from imagebuilder.measure.render import merge

    return merge.report(reports).to_bytes()


WRITERS: Mapping[str, Callable[[Reports], bytes]] = {
    "html": _html,
    "markdown": _markdown,
    "junit": _junit,
    "json": _json,
}


@click.command("report")
@click.argument("files", nargs=-1, required=True, type=FilePath(), metavar="FILE...")
@click.option("--html", type=Target, metavar="FILE", help="Write one self-contained page, with pictures.")
@click.option("--markdown", type=Target, metavar="FILE", help="Write a short table for a pull request.")
@click.option("--junit", type=Target, metavar="FILE", help="Write JUnit XML.")
@click.option("--json", type=Target, metavar="FILE", help="Write one report with the images of all of them.")
def command(files: tuple[Path, ...], **targets: Path | None) -> None:
    """Show the reports that 'imagebuilder test --json FILE' wrote, without booting again; '-' is standard output.

    Several reports of the same image, from the same place, become its history in the order in which they are given.
    """
    wanted = {kind: path for kind, path in targets.items() if path is not None}
    _check(files, list(wanted.values()))
    reports = read(files)
    made = [(path, WRITERS[kind](reports)) for kind, path in wanted.items()]  # all of them, before the first is written
    for path, content in made:
        options.write(content, path)
    if not wanted:
        console = stdout()
        for given in reports:
            compared = any(image.comparison for image in given.report.images)
            show = bench_table.show if compared else figures.show
            moment = words.moment(given.report.made)
            show(console, given.report, why=f"{given.label} of {moment}" if moment else given.label)


def _check(files: tuple[Path, ...], targets: list[Path]) -> None:
    """Find out what would go wrong before anything is read or written."""
    taken = {real(path) for path in files}
    for target in targets:
        if real(target) in taken:
            raise InputError(f"{target} is given twice: an output needs a file of its own")
        taken.add(real(target))
        if target != options.STDOUT and target.is_dir():
            raise OutputError(f"{target} cannot be written: it is a folder")
        options.check_writable(target)
