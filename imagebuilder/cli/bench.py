"""``imagebuilder bench``: how fast images start, measured in turn, and whether they became faster or slower."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from imagebuilder.builder import Build
from imagebuilder.cli import crowds, options
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.cli.standings import show
from imagebuilder.errors import InputError, OutputError
from imagebuilder.events import Say
from imagebuilder.formats.common import replacing
from imagebuilder.machine import stem
from imagebuilder.machine.accel import Accelerator, choose
from imagebuilder.machine.template import Wanted
from imagebuilder.machine.warming import found_or_made
from imagebuilder.measure import bench, instructions, report, subject
from imagebuilder.measure.bench import RUNS, Taken, Wish
from imagebuilder.measure.compare import Comparison, Verdict, apart, check_comparable, check_whole, paired
from imagebuilder.measure.density import Wish as DensityWish
from imagebuilder.measure.host import host
from imagebuilder.measure.report import ImageReport, Report
from imagebuilder.measure.subject import Subject
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

FELL_SHORT, UNDECIDED = 1, 4
AGAIN, CLONE, COPY = " again", " clone", " copy"
Target = click.Path(dir_okay=False, path_type=Path)


@click.command("bench")
@click.argument("names", nargs=-1, type=options.RecipeName(), metavar="[NAME]...")
@click.option("--machine", "machines", multiple=True, metavar="FILE.toml", type=Target,
              help="Somebody else's machine, as the file describes it; again for several.")  # fmt: skip
@click.option("--vs", "reference", metavar="REF", help="Compare with REF: an older report, or another NAME.")
@click.option("--runs", type=click.IntRange(1), default=RUNS, show_default=True, help="Rounds that count.")
@click.option("--kernel", "kernels", multiple=True, metavar="KERNEL", help="Another kernel; again for several.")
@click.option("--memory", "memory_mib", type=click.IntRange(1), metavar="MIB", help="Memory, instead of the recipe's.")
@click.option(
    "--instructions", "count", is_flag=True, help="Count the guest's instructions too, in starts of their own."
)
@click.option("--initcalls", is_flag=True, help="List what the kernel's own start spent, in one more start.")
@click.option("--template", "cloned", is_flag=True, help="Clone each NAME from its template too (made when needed).")
@click.option("--density", type=crowds.Clones(), metavar="N|max",
              help="Have N clones of each NAME up at once instead, or as many as there can be.")  # fmt: skip
@options.no_stem
@click.option("--bare", is_flag=True, help="Start the bare QEMU command line too, in turn: what measuring costs.")
@click.option("--commands", is_flag=True, help="Print the bare QEMU command line of each image (as -v does).")
@click.option("--fail-slower", is_flag=True, help="Exit status 1 when an image is slower than its reference.")
@click.option("--fail-undecided", is_flag=True, help="Exit status 4 when a comparison is undecided.")
@click.option("--json", "json_path", type=Target, metavar="FILE", help="Write the report as JSON.")
@click.option("--artefacts", type=click.Path(file_okay=False, path_type=Path), default=Path("out/artefacts"),
              show_default=True, help="The folder for the logs of a start that failed.")  # fmt: skip
@options.accel
@options.out
@options.talk
def command(
    names: tuple[str, ...],
    machines: tuple[Path, ...],
    reference: str | None,
    runs: int,
    kernels: tuple[str, ...],
    memory_mib: int | None,
    count: bool,
    initcalls: bool,
    cloned: bool,
    density: DensityWish | None,
    no_stem: bool,
    bare: bool,
    commands: bool,
    fail_slower: bool,
    fail_undecided: bool,
    json_path: Path | None,
    artefacts: Path,
    accel: str,
    out: Path,
    quiet: bool,
    verbose: bool,
) -> None:
    """Start each NAME and each machine again and again, in turn with an empty machine, and tell medians, intervals,
    and with --vs whether it is faster, slower, or undecided."""
    if not names and not machines:
        raise click.UsageError("give at least one NAME, or --machine FILE.toml")
    if no_stem and density is None and not cloned:
        raise click.UsageError("--no-stem says how clones are made: it goes with --template or --density")
    if json_path is not None and not json_path.absolute().parent.is_dir():
        raise OutputError(f"{json_path} cannot be written: the folder {json_path.absolute().parent} is not there")
    store = options.open_store()
    if density is not None:
        if machines or reference is not None or cloned or bare or count or initcalls:
            raise click.UsageError(
                "--density has clones up at once: it goes with NAME, --kernel, --memory and --no-stem only"
            )
        with listener(quiet=quiet, verbose=verbose) as say:
            choice = choose(accel, store=store)
            subjects = _images(names, kernels, out, memory_mib, choice.accelerator, store, say)
            crowd = report.of(
                host(choice.accelerator), crowds.measured(subjects, replace(density, stems=not no_stem), store, say)
            )
        raise SystemExit(_crowded(crowd, json_path, why=None if quiet else choice.why))
    older = _older(reference)
    with listener(quiet=quiet, verbose=verbose) as say:
        choice = choose(accel, store=store)
        here = host(choice.accelerator)
        if older is not None:
            check_comparable(here, older.host, reference=str(reference))
        wanted = [*names, *([reference] if reference and not older and not _known(reference, names, machines) else [])]
        subjects = _images(wanted, kernels, out, memory_mib, choice.accelerator, store, say)
        subjects += _clones(subjects, store, say, stems=not no_stem) if cloned else []
        subjects += [subject.of_file(path, choice.accelerator) for path in machines]
        subjects = _beside_itself(subjects, None if older else reference)
        if older is not None:
            for each in subjects:  # better known before minutes of measuring
                _in_report(each.name, older, str(reference))
        pinned = bench.pinnable(max(each.spec.cpus for each in subjects))
        wish = Wish(runs, pinned, instructions.RUNS if count else 0, artefacts, bare, initcalls)
        taken = asyncio.run(bench.measure(subjects, wish, say=say))
        images = _compared(taken, [bench.describe(each, store=store, say=say) for each in taken], reference, older)
    made = report.of(here, images, pinned=wish.host_cpus or None)
    _write(made, json_path)
    if not quiet:
        show(stdout(), made, why=choice.why, commands=commands or verbose)
    raise SystemExit(_status(images, fail_slower=fail_slower, fail_undecided=fail_undecided))


def _crowded(made: Report, json_path: Path | None, *, why: str | None) -> int:
    """Write and show clones that were up at once (``why`` None: nothing is shown); returns the exit status."""
    _write(made, json_path)
    if why is not None:
        crowds.show(stdout(), made, why=why)
    return _status(made.images, fail_slower=False, fail_undecided=False)


def _write(made: Report, json_path: Path | None) -> None:
    if json_path is not None:
        with replacing(json_path) as temporary:
            temporary.write_bytes(made.to_bytes())


def _older(reference: str | None) -> Report | None:
    """The report that REF names; None when it names an image."""
    if reference is None or not (reference.endswith(".json") or Path(reference).is_file()):
        return None
    older = report.load(Path(reference))
    for image in older.images:
        if image.startup is not None:
            check_whole(image.startup, reference=reference)
    return older


def _known(reference: str, names: Sequence[str], machines: Sequence[Path]) -> bool:
    return reference in names or any(subject.load(path).name == reference for path in machines)


def _images(
    names: Sequence[str],
    kernels: Sequence[str],
    out: Path,
    memory_mib: int | None,
    accelerator: Accelerator,
    store: Store,
    say: Say,
) -> list[Subject]:
    recipes = [load(name) for name in names]
    builds = [Build(recipe, store, say, False, kernel) for recipe in recipes for kernel in kernels or (None,)]
    return [subject.of_bundle(build.run(out), accelerator, memory_mib=memory_mib) for build in builds]


def _clones(subjects: Sequence[Subject], store: Store, say: Say, *, stems: bool) -> list[Subject]:
    """The clones of images, each from its template (one that is missing or stale is made), and as copies of a stem."""
    found = []
    for each in subjects:
        assert each.bundle is not None
        template = asyncio.run(found_or_made(Wanted(each.bundle, each.spec), store, say=say))
        found.append(subject.of_template(template, f"{each.name}{CLONE}"))
        if stems and stem.refused(template) is None:
            found.append(subject.of_template(template, f"{each.name}{COPY}", copied=True))
    return found


def _beside_itself(subjects: list[Subject], reference: str | None) -> list[Subject]:
    """An image that is its own reference runs twice: it shows what the noise of this host alone looks like."""
    if reference is None or len(subjects) > 1:
        return subjects
    return [*subjects, replace(subjects[0], name=subjects[0].name + AGAIN)]


def _compared(
    taken: Sequence[Taken], images: Sequence[ImageReport], reference: str | None, older: Report | None
) -> list[ImageReport]:
    """Each image with its comparison, the reference itself without one."""
    if reference is None:
        return list(images)
    found = [_comparison(image, images, reference, older) for image in images]
    return [image.model_copy(update={"comparison": each}) for image, each in zip(images, found, strict=True)]


def _comparison(
    image: ImageReport, images: Sequence[ImageReport], reference: str, older: Report | None
) -> Comparison | None:
    assert image.startup is not None
    if older is not None:
        then = _in_report(image.name, older, reference)
        assert then.startup is not None
        return apart(image.startup, then.startup, reference=reference)
    beside = _reference(images, reference)
    if image is beside:
        return None
    assert beside.startup is not None
    return paired(image.startup, beside.startup, reference=beside.name)


def _reference(images: Sequence[ImageReport], reference: str) -> ImageReport:
    """The image of this run that is the reference: the copy of one that is compared with itself."""
    name = load(reference).name if (Path(reference) / "recipe.toml").is_file() else reference
    named = [image for image in images if image.name in (name, name + AGAIN) or image.name.startswith(f"{name}@")]
    return named[-1] if named else images[-1]


def _in_report(name: str, older: Report, reference: str) -> ImageReport:
    started = [image for image in older.images if image.startup is not None]
    same = [image for image in started if image.name == name] or (started if len(started) == 1 else [])
    if not same:
        there = ", ".join(image.name for image in started) or "none that started"
        raise InputError(f"{reference} has no figures of {name}; the images in it: {there}")
    return same[0]


def _status(images: Sequence[ImageReport], *, fail_slower: bool, fail_undecided: bool) -> int:
    """A broken promise comes before a slower image, and that before an undecided one."""
    verdicts = [image.comparison.verdict for image in images if image.comparison]
    if not all(image.holds for image in images) or (fail_slower and Verdict.SLOWER in verdicts):
        return FELL_SHORT
    return UNDECIDED if fail_undecided and Verdict.UNDECIDED in verdicts else 0
