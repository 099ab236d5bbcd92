"""``imagebuilder bench``: how fast images start, measured in turn, and whether they became faster or slower."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
from click.core import ParameterSource

from imagebuilder.cli import crowds, options, signals
from imagebuilder.cli.drawing import listener, stdout
from imagebuilder.cli.names import KERNEL, RECIPE
from imagebuilder.cli.standings import show
from imagebuilder.cli.subjects import Asked
from imagebuilder.events import Say
from imagebuilder.machine.accel import choose
from imagebuilder.measure import bench, instructions, report
from imagebuilder.measure.bench import FURTHER, RUNS, Taken, Wish
from imagebuilder.measure.change import WITHIN, Verdict
from imagebuilder.measure.density import Wish as DensityWish
from imagebuilder.measure.host import host
from imagebuilder.measure.reference import BEFORE, Reference
from imagebuilder.measure.report import ImageReport, Report
from imagebuilder.measure.subject import Subject
from imagebuilder.store import Store
from imagebuilder.words import counted

FELL_SHORT, UNDECIDED = 1, 4
Target = click.Path(dir_okay=False, path_type=Path)


@click.command("bench")
@click.argument("names", nargs=-1, type=RECIPE, metavar="[NAME]...")
@click.option("--machine", "machines", multiple=True, metavar="FILE.toml", type=Target,
              help="Somebody else's machine, as the file describes it; again for several.")  # fmt: skip
@click.option("--vs", "reference", metavar="REF",
              help="Compare with REF: an older report, another NAME, or a folder of images built before.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=RUNS, show_default=True, help="Rounds that count.")
@click.option("--max-runs", "most", type=click.IntRange(1), metavar="N",
              help="While a comparison is undecided, go on up to so many.  [default: --runs, and "
              f"{FURTHER} times as many with --fail-undecided]")  # fmt: skip
@click.option("--within", type=click.FloatRange(0, 100, min_open=True), metavar="PERCENT",
              help=f"What counts as the same.  [default: the recipe's, else {WITHIN:.0%}]")  # fmt: skip
@click.option(
    "--kernel", "kernels", type=KERNEL, multiple=True, metavar="KERNEL", help="Another kernel; again for several."
)
@click.option("--memory", "memory_mib", type=click.IntRange(1), metavar="MIB", help="Memory, instead of the recipe's.")
@click.option(
    "--instructions", "count", is_flag=True, help="Count the guest's instructions too, in starts of their own."
)
@click.option("--initcalls", is_flag=True, help="List what the kernel's own start spent, in one more start.")
@click.option("--template", "cloned", is_flag=True, help="Clone each NAME from its template too (made when needed).")
@click.option("--density", type=crowds.Clones(), metavar="N|max",
              help="Have N clones of each NAME up at once instead, or as many as there can be.")  # fmt: skip
@options.no_fork_server
@click.option("--bare", is_flag=True, help="Start the bare QEMU command line too, in turn: what measuring costs.")
@click.option("--commands", is_flag=True, help="Print the bare QEMU command line of each image (as -v does).")
@click.option("--fail-slower", is_flag=True, help="Exit status 1 when an image is slower than its reference.")
@click.option("--fail-undecided", is_flag=True, help="Exit status 4 when a comparison is undecided.")
@options.report
@options.accel
@options.out
@options.artefacts
@options.talk
@click.pass_context
def command(
    ctx: click.Context,
    names: tuple[str, ...],
    machines: tuple[Path, ...],
    reference: str | None,
    runs: int,
    most: int | None,
    within: float | None,
    kernels: tuple[str, ...],
    memory_mib: int | None,
    count: bool,
    initcalls: bool,
    cloned: bool,
    density: DensityWish | None,
    no_fork_server: bool,
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
    and with --vs whether it is faster, slower, the same, or undecided."""
    _check(ctx)
    names = names if names or machines else options.or_this_folder("a NAME, or --machine FILE.toml")
    store = options.open_store()
    with listener(quiet=quiet, verbose=verbose) as say:
        choice = choose(accel, store=store)
        here = host(choice.accelerator)
        asked = Asked(names, machines, kernels, memory_mib, choice.accelerator, out, store, say)
        if density is not None:
            found = crowds.measured(asked.images(), replace(density, stems=not no_fork_server), store, say)
            crowd = report.of(here, found)
        else:
            subjects, compared = asked.subjects(reference, here, clones=cloned, stems=not no_fork_server)
            pinned = bench.pinnable(max(each.spec.cpus for each in subjects))
            most = most or (FURTHER * runs if fail_undecided else runs)
            wish = Wish(runs, pinned, instructions.RUNS if count else 0, artefacts, bare, initcalls, most)
            compared = replace(compared, within=within and within / 100, looks=len(wish.looks)) if compared else None
            taken, interrupted = _measured(subjects, wish, compared, say)
            images = _described(taken, compared, None if interrupted else store, say)
    if density is not None:
        raise SystemExit(_crowded(crowd, json_path, why=choice.why))
    made = report.of(here, images, pinned=pinned or None)
    if interrupted is None:
        _write(made, json_path)
    if images:
        show(stdout(beside=json_path == options.STDOUT), made, why=choice.why, commands=commands or verbose)
    if interrupted is not None:
        _tell_interrupted(taken, wish, json_path)
        raise interrupted
    raise SystemExit(_status(images, fail_slower=fail_slower, fail_undecided=fail_undecided))


def _tell_interrupted(taken: Sequence[Taken], wish: Wish, json_path: Path | None) -> None:
    done = len(taken[0].boots) if taken else 0
    unwritten = f"; {json_path} was not written" if json_path else ""
    click.echo(f"interrupted after {done} of {counted(wish.runs, 'round')}{unwritten}", err=True)


# An option -> those of which it needs one to have an effect.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "--max-runs": ("--vs",),
    "--within": ("--vs",),
    "--fail-slower": ("--vs",),
    "--fail-undecided": ("--vs",),
    "--no-fork-server": ("--template", "--density"),
}
# What does not go with clones that are up at once: these are no starts in turn.
NOT_WITH_DENSITY = (
    "--machine", "--vs", "--runs", "--template", "--bare", "--instructions", "--initcalls", "--commands", "--artefacts",
)  # fmt: skip


def _check(ctx: click.Context) -> None:
    """Raises UsageError, OutputError for what cannot be done, or would have no effect."""
    known = {each.name: each.opts[-1] for each in ctx.command.params if each.name}
    given = {known[name] for name in ctx.params if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT}
    asked = ctx.params
    for option, needed in NEEDS.items():
        if option in given and not given.intersection(needed):
            raise click.UsageError(f"{option} has no effect without {' or '.join(needed)}")
    if "--density" in given and (without := [each for each in NOT_WITH_DENSITY if each in given]):
        raise click.UsageError(
            f"{without[0]} does not go with --density, which has clones up at once: "
            "it goes with NAME, --kernel, --memory and --no-fork-server only"
        )
    if asked["most"] is not None and asked["most"] < asked["runs"]:
        raise click.UsageError(f"--max-runs {asked['most']} is less than --runs {asked['runs']}")
    options.check_writable(asked["json_path"])


def _measured(
    subjects: Sequence[Subject], wish: Wish, compared: Reference | None, say: Say
) -> tuple[list[Taken], BaseException | None]:
    """What was taken, and what ended it before its end: then of the rounds that all have ended."""
    taken: list[Taken] = []
    enough = compared.decided if compared else lambda _taken: True
    try:
        signals.run(bench.measure(subjects, wish, say=say, enough=enough, into=taken))
    except (KeyboardInterrupt, SystemExit) as error:
        return bench.whole(taken), error
    return taken, None


def _described(taken: Sequence[Taken], compared: Reference | None, store: Store | None, say: Say) -> list[ImageReport]:
    """Each image with its comparison. One that was built before keeps no promise any more."""
    images = [bench.describe(each, store=store, say=say) for each in taken]
    found = compared.comparisons(taken) if compared else {}
    return [
        image.model_copy(
            update={"budget": ()} if image.name.endswith(BEFORE) else {"comparison": found.get(image.name)}
        )
        for image in images
    ]


def _crowded(made: Report, json_path: Path | None, *, why: str) -> int:
    """Write and show clones that were up at once; returns the exit status."""
    _write(made, json_path)
    crowds.show(stdout(beside=json_path == options.STDOUT), made, why=why)
    return _status(made.images, fail_slower=False, fail_undecided=False)


def _write(made: Report, json_path: Path | None) -> None:
    if json_path is not None:
        options.write(made.to_bytes(), json_path)


def _status(images: Sequence[ImageReport], *, fail_slower: bool, fail_undecided: bool) -> int:
    """A broken promise comes before a slower image, and that before an undecided one."""
    verdicts = [image.comparison.verdict for image in images if image.comparison]
    if not all(image.holds for image in images) or (fail_slower and Verdict.SLOWER in verdicts):
        return FELL_SHORT
    return UNDECIDED if fail_undecided and Verdict.UNDECIDED in verdicts else 0
