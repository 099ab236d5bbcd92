"""``imagebuilder bench`` as it is without another mode: cold starts in turn, and what goes beside them."""

import click

from imagebuilder.cli import options, signals
from imagebuilder.cli.bench import reference, table, template
from imagebuilder.cli.bench.modes import Mode
from imagebuilder.cli.bench.request import BenchRequest, selected
from imagebuilder.cli.drawing import stdout
from imagebuilder.measure import bench, instructions
from imagebuilder.measure.bench import Bench
from imagebuilder.measure.rounds import Schedule
from imagebuilder.words import counted

DISKS = Mode("--format", owns=("--firmware",), without=("--template",), why="since clones are made of the bundle")


def run(given: BenchRequest) -> int:
    """Measure, show, write; returns the exit status. Raises UsageError, and what interrupted it."""
    counts = instructions.RUNS if given.count else 0
    schedule = Schedule(given.runs, (), counts, given.artefacts, given.bare, given.initcalls)
    against, clones = reference.wanted(given), template.wanted(given)
    with selected(given) as (selection, why):
        prepared = bench.prepared(selection, schedule, clones=clones, against=against, run=signals.run)
        interrupted = _measured(prepared)
        report = prepared.report(store=None if interrupted else selection.store)
    if report.images:
        console = stdout(beside=given.json_path == options.STDOUT)
        table.show(console, report, why=why, commands=given.commands or given.verbose)
    if interrupted is not None:
        _tell_interrupted(prepared, given)
        raise interrupted
    options.write_report(report, given.json_path)
    return reference.status(report.images, fail_slower=given.fail_slower, fail_undecided=given.fail_undecided)


def _measured(prepared: Bench) -> BaseException | None:
    """What ended it before its end: then there are the rounds that all have ended."""
    try:
        signals.run(prepared.measure())
    except (KeyboardInterrupt, SystemExit) as error:
        prepared.keep_whole_rounds()
        return error
    return None


def _tell_interrupted(prepared: Bench, given: BenchRequest) -> None:
    done = len(prepared.taken[0].boots) if prepared.taken else 0
    unwritten = f"; {given.json_path} was not written" if given.json_path else ""
    click.echo(f"interrupted after {done} of {counted(prepared.schedule.runs, 'round')}{unwritten}", err=True)
