"""``imagebuilder test``: the boot tests of images, their measured starts among them; by pytest itself."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagebuilder.arch import Firmware
from imagebuilder.cli import options, signals
from imagebuilder.cli.drawing import stdout
from imagebuilder.cli.given import given as options_given
from imagebuilder.cli.names import KERNEL, FilePath
from imagebuilder.errors import InputError, ToolMissing
from imagebuilder.recipe.lookup import find
from imagebuilder.store import Store

if TYPE_CHECKING:
    from imagebuilder.cli.boot_tests import Session
    from imagebuilder.measure.report import Report

Target = FilePath(dir_okay=False)
WORDS = "imagebuilder.cli.test.words"
NAMES_ONLY = {"--collect-only", "--co"}  # pytest's words for: run no test
RUNS = 5  # as the plugin has it, which takes longer to import than --help should


class WithWords(click.Command):
    """What stands behind ``--`` is pytest's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the words of pytest away before the others are read."""
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[WORDS] = args[end + 1 :]
        return super().parse_args(ctx, args[:end])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """``imagebuilder test [OPTIONS] NAME... [-- WORDS]``."""
        return [*super().collect_usage_pieces(ctx), "[-- PYTEST_ARGS]"]


@click.command("test", cls=WithWords)
@options.names
@options.accel
@click.option("--runs", type=click.IntRange(1), default=RUNS, show_default=True, help="Measured starts per image.")
@click.option("--memory", "memory_mib", type=click.IntRange(1), metavar="MIB", help="Memory; overrides the recipe's.")
@click.option("--min-memory", "minimum", is_flag=True, help="Find the least memory with which it answers.")
@click.option("--initcalls", is_flag=True, help="List the kernel's initcalls with their times, in one more start.")
@click.option("--kernel", "kernels", type=KERNEL, multiple=True, metavar="KERNEL",
              help="Another kernel than the recipe's; repeatable: all are measured in this run.")  # fmt: skip
@options.medium
@options_given
@click.option("--show-answer", is_flag=True, help="Print what the application answers.")
@options.report
@click.option("--junit", "junit_path", type=Target, metavar="FILE", help="Write the tests as JUnit XML.")
@click.option("--attest", "attest_path", type=Target, metavar="FILE",
              help="Write the result as an in-toto statement about the image, of one NAME.")  # fmt: skip
@options.out
@options.artefacts
@options.refresh
@options.talk
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    accel: str,
    runs: int,
    memory_mib: int | None,
    minimum: bool,
    initcalls: bool,
    kernels: tuple[str, ...],
    format_name: str | None,
    firmware: Firmware | None,
    environment: tuple[tuple[str, str], ...],
    env_file: Path | None,
    secrets: tuple[tuple[str, Path], ...],
    show_answer: bool,
    json_path: Path | None,
    junit_path: Path | None,
    attest_path: Path | None,
    artefacts: Path,
    out: Path,
    refresh: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Build the image of each NAME and run its boot tests: it boots, gets ready, answers, powers off, gives the same
    bytes when built again; started next to an empty machine again and again, it is measured and held against its
    budget. Exit status 1 when anything falls short.

    Arguments after -- go to pytest: imagebuilder test nginx -- -x -k answers
    """
    for path in (json_path, junit_path, attest_path):
        options.check_writable(path)
    if attest_path is not None and (len(names) > 1 or len(kernels) > 1):
        raise click.UsageError("--attest is about one image: give one NAME, and one --kernel at most")
    if format_name or firmware:
        from imagebuilder.build.outputs import firmware_of

        firmware_of(format_name, firmware)
    printed, to_file = json_path == options.STDOUT, None if json_path == options.STDOUT else json_path
    given = {"--ib-accel": accel, "--ib-runs": runs, "--ib-memory": memory_mib, "--ib-min-memory": minimum}
    given |= {"--ib-format": format_name, "--ib-firmware": firmware and firmware.value}
    given |= {"--ib-initcalls": initcalls, "--ib-kernel": kernels, "--ib-refresh": refresh, "--ib-json": to_file}
    given |= {"--ib-out": out, "--ib-artefacts": artefacts, "--ib-env-file": env_file}
    given |= {"--ib-env": tuple(map("=".join, environment))}
    given |= {"--ib-secret": tuple(f"{name}={path.absolute()}" for name, path in secrets)}
    store = options.open_store()
    folders = [find(name) for name in names]
    if not NAMES_ONLY.intersection(ctx.meta[WORDS]):
        _check(folders, accel, kernels, store)
    with redirect_stdout(sys.stderr) if printed else nullcontext():
        session = _session(quiet=quiet, verbose=verbose)
        with store.scratch() as scratch:  # pytest would keep what tests leave in temporary folders, for some time
            junit = scratch / "junit.xml"
            given |= {"--basetemp": scratch / "pytest", "--junitxml": junit if junit_path else None}
            status = session.run(folders, given, ctx.meta[WORDS])
            as_junit = junit.read_bytes() if junit_path and junit.exists() else None
        if session.ended_by is not None:
            raise signals.Ended(session.ended_by)
        report, why = session.gathered
        _show(session, report, why, answers=show_answer)
        if junit_path and as_junit is not None:  # shown before: what cannot be written was measured all the same
            options.write(as_junit, junit_path)
        if attest_path is not None:
            if report is None:
                raise InputError(f"{attest_path} is not written: no test that measures an image was run")
            options.write(_attested(report, session.outcomes, out, kernels), attest_path)
    if report is None and printed:
        click.echo("no report is printed: no test that measures an image was run", err=True)
        status = status or InputError.exit_status
    if report is not None and printed:
        options.write(report.to_bytes(), options.STDOUT)
    raise SystemExit(status)


def _check(folders: Sequence[Path], accel: str, kernels: Sequence[str], store: Store) -> None:
    """Raises whatever can be known to be wrong, or lacking, before anything is built."""
    from imagebuilder.kernel import load_definition
    from imagebuilder.machine.accel import choose
    from imagebuilder.recipe.load import load

    for folder in folders:
        load(folder)
    for kernel in kernels:
        load_definition(kernel)
    choose(accel, store=store)


def _session(*, quiet: bool, verbose: bool) -> "Session":
    try:
        from imagebuilder.cli.boot_tests import Session
    except ImportError as error:
        raise ToolMissing("pytest is needed for this and cannot be imported", hint="pip install pytest") from error
    return Session(quiet=quiet, verbose=verbose)


def _show(session: "Session", report: "Report | None", why: str, *, answers: bool) -> None:
    if answers:
        _show_answers(session.answers)
    if report is not None:
        from imagebuilder.cli import figures

        figures.show(stdout(), report, why=why)


def _attested(report: "Report", outcomes: Mapping[str, bool], out: Path, kernels: Sequence[str]) -> bytes:
    """The result as a statement about the files of the image that was tested."""
    from imagebuilder.attestation.boot_tests import statement
    from imagebuilder.attestation.signing import subjects
    from imagebuilder.bundle import Bundle

    (image,) = report.images
    bundle = Bundle.open(out / "@".join((image.name, *kernels)))
    if bundle.image.digest != image.digest:
        raise InputError(f"the image in {bundle.folder} is not the one that was tested: test it again")
    return statement(report, outcomes, subjects(bundle)).to_bytes()


def _show_answers(answers: Iterable[tuple[str, str]]) -> None:
    from rich.panel import Panel
    from rich.text import Text

    for title, text in answers:
        stdout().print(Panel(Text(text), title=Text(title), title_align="left"))
