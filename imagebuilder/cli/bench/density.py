"""``imagebuilder bench --density``: clones that are up at the same time, instead of starts."""

from dataclasses import replace

import click

from imagebuilder.cli import options, signals
from imagebuilder.cli.bench import density_table, reference
from imagebuilder.cli.bench.modes import Mode
from imagebuilder.cli.bench.request import BenchRequest, selected
from imagebuilder.cli.drawing import stdout
from imagebuilder.measure import bench
from imagebuilder.measure.density import DensityOptions
from imagebuilder.words import whole_number

MOST = "max"
MODE = Mode(
    "--density",
    owns=("--no-fork-server",),
    only=("--kernel", "--memory", "--no-fork-server", "--accel", "--out", "--json", "--quiet", "--verbose"),
    why="which has clones up at once: it goes with NAME, --kernel, --memory and --no-fork-server only",
)


class Clones(click.ParamType[DensityOptions]):
    """A number of clones, or as many as there can be."""

    name = "N|max"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> DensityOptions:
        """What is to be measured."""
        if value == MOST:
            return DensityOptions.of(None)
        count = whole_number(str(value), (1 << 31) - 1)
        if not count:
            self.fail(f"{value!r} is no number of clones: give 1 or more, or {MOST}", param, ctx)
        return DensityOptions.of(count)


def run(given: BenchRequest, wanted: DensityOptions) -> int:
    """Measure, show, write; returns the exit status."""
    wanted = replace(wanted, copies=not given.no_fork_server)
    with selected(given) as (selection, why):
        report = bench.at_once(selection, wanted, run=signals.run)
    density_table.show(stdout(beside=given.json_path == options.STDOUT), report, why=why)
    options.write_report(report, given.json_path)
    return reference.status(report.images)
