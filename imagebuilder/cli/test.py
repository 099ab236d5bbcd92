"""``imagebuilder test``: build, boot and measure images; hold them against their budgets."""

import asyncio
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from imagebuilder.builder import Build
from imagebuilder.bundle import Bundle
from imagebuilder.cli import boot_tests, figures, options
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.errors import ImagebuilderError, OutputError
from imagebuilder.formats.common import replacing
from imagebuilder.machine.accel import Accelerator, choose
from imagebuilder.machine.answers import fetch
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import MachineSpec, spec_of
from imagebuilder.measure import junit
from imagebuilder.measure.host import host
from imagebuilder.measure.image import RUNS, Wish, measure, not_built
from imagebuilder.measure.report import ImageReport, Report
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Ready

Target = click.Path(dir_okay=False, path_type=Path)


@click.command("test")
@options.names
@options.accel
@click.option("--runs", type=click.IntRange(1), default=RUNS, show_default=True, help="Starts that count, per image.")
@click.option("--memory", "memory_mib", type=click.IntRange(1), metavar="MIB", help="Memory, instead of the recipe's.")
@click.option("--min-memory", "minimum", is_flag=True, help="Look for the least memory with which it answers.")
@click.option("--initcalls", is_flag=True, help="List what the kernel's own start spent, in one more start.")
@click.option("--kernel", "kernels", multiple=True, metavar="KERNEL",
              help="Another kernel than the recipe's; again for several, all measured in this run.")  # fmt: skip
@click.option("--show-answer", is_flag=True, help="Boot once more and print what the application answers.")
@click.option("--json", "json_path", type=Target, metavar="FILE", help="Write the report as JSON.")
@click.option("--junit", "junit_path", type=Target, metavar="FILE", help="Write the report as JUnit XML.")
@click.option("--artefacts", type=click.Path(file_okay=False, path_type=Path), default=Path("out/artefacts"),
              show_default=True, help="The folder for the logs of a start that failed.")  # fmt: skip
@click.option("--pytest", "pytest_words", metavar="ARGS",
              help="Run the recipes' boot tests by pytest instead, with these arguments ('' for none).")  # fmt: skip
@options.out
@options.refresh
@options.talk
def command(
    names: tuple[str, ...],
    accel: str,
    runs: int,
    memory_mib: int | None,
    minimum: bool,
    initcalls: bool,
    kernels: tuple[str, ...],
    show_answer: bool,
    json_path: Path | None,
    junit_path: Path | None,
    artefacts: Path,
    pytest_words: str | None,
    out: Path,
    refresh: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Build the image of each NAME, boot it next to an empty machine, wait for its first answer, measure, and compare
    with its budget. Exit status 1 when anything falls short."""
    for path in (json_path, junit_path):
        _check_writable(path)
    if pytest_words is not None:
        measured = {"--json": json_path, "--min-memory": minimum, "--kernel": kernels, "--refresh": refresh}
        boot_tests.refuse({**measured, "--initcalls": initcalls, "--show-answer": show_answer})
        given = {"--ib-accel": accel, "--ib-runs": runs, "--ib-memory": memory_mib, "--ib-out": out}
        given |= {"--ib-artefacts": artefacts, "--junitxml": junit_path}
        raise SystemExit(boot_tests.run(names, pytest_words, given))
    recipes = [load(name) for name in names]
    store = options.open_store()
    failed: list[ImagebuilderError] = []
    with listener(quiet=quiet, verbose=verbose) as say:
        choice = choose(accel, store=store)
        wish = Wish(choice.accelerator, runs, minimum, artefacts, memory_mib, initcalls)
        images = []
        for recipe in recipes:
            for kernel in kernels or (None,):
                build = Build(recipe, store, say, refresh, kernel)
                images.append(_measured(build, out, wish, failed))
    report = Report(schema="imagebuilder.report/1", host=host(choice.accelerator), images=tuple(images))
    _write(json_path, report.to_bytes())
    _write(junit_path, junit.write(report))
    console = stdout()
    if show_answer:
        for name in names:
            show_answers(console, Bundle.open(out / load(name).name), choice.accelerator, memory_mib)
    if not quiet:
        figures.show(console, report, why=choice.why)
    if failed:
        raise failed[0]
    if not report.holds:
        raise SystemExit(1)


def _measured(build: Build, out: Path, wish: Wish, failed: list[ImagebuilderError]) -> ImageReport:
    """Build and measure one image; one that cannot be built stands in the report as such."""
    try:
        bundle = build.run(out)
    except ImagebuilderError as error:
        failed.append(error)
        return not_built(build.folder_name, error, budget=build.recipe.budget.model_dump(exclude_none=True))
    apart = wish.artefacts / build.folder_name if wish.artefacts else None
    return asyncio.run(measure(bundle, replace(wish, artefacts=apart), store=build.store, say=build.say))


def show_answers(console: Console, bundle: Bundle, accelerator: Accelerator, memory_mib: int | None) -> None:
    """Boot once more, outside of any stopwatch, and print what the application answers."""
    ready = Ready.model_validate(bundle.image.ready)
    console.print(asyncio.run(_answer(bundle, ready, spec_of(bundle, accelerator=accelerator, memory_mib=memory_mib))))


async def _answer(bundle: Bundle, ready: Ready, spec: MachineSpec) -> Panel:
    async with Instance.start(spec) as instance:
        await instance.wait_ready(ready)
        if ready.http is None:
            return Panel(
                Text(instance.console.strip()), title=f"the console of {bundle.image.name}", title_align="left"
            )
        port = instance.host_port(ready.http.port)
        status, body = await fetch(port, ready.http.path)
        await instance.terminate()
    title = f"GET http://127.0.0.1:{port}{ready.http.path} → {status}"
    return Panel(Text(body.decode(errors="replace").strip()), title=title, title_align="left")


def _check_writable(path: Path | None) -> None:
    """A report that could not be written is better known before minutes of measuring."""
    if path is not None and not path.absolute().parent.is_dir():
        raise OutputError(f"{path} cannot be written: the folder {path.absolute().parent} is not there")


def _write(path: Path | None, content: bytes) -> None:
    if path is not None:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
