"""``imagebuilder bench``: how fast images start, measured in turn, and whether they became faster or slower.

Cold starts are what it does by itself (``starts``); clones beside them (``template``), a comparison (``reference``) and
clones that are up at once (``density``) are modes that options turn on (``modes``).
"""

from typing import Any

import click

from imagebuilder.arch import Firmware
from imagebuilder.cli import options
from imagebuilder.cli.bench import density, modes, reference, starts, template
from imagebuilder.cli.bench.request import BenchRequest
from imagebuilder.cli.names import FORMAT, KERNEL, RECIPE, REFERENCE, FilePath
from imagebuilder.measure.change import WITHIN
from imagebuilder.measure.rounds import FURTHER, RUNS

MODES = (reference.MODE, template.MODE, density.MODE, starts.DISKS)


@click.command("bench")
@click.argument("names", nargs=-1, type=RECIPE, metavar="[NAME]...")
@click.option("--machine", "machines", multiple=True, metavar="FILE.toml", type=FilePath(dir_okay=False),
              help="A machine that a file describes, such as another system's; repeatable.")  # fmt: skip
@click.option("--vs", "reference", type=REFERENCE, metavar="REF",
              help="Compare with REF: an older report, another NAME, or a folder of images built before.")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=RUNS, show_default=True, help="Measured rounds.")
@click.option("--max-runs", "most", type=click.IntRange(1), metavar="N",
              help="While a comparison is undecided, continue up to N rounds.  [default: --runs, and "
              f"{FURTHER} times as many with --fail-undecided]")  # fmt: skip
@click.option("--within", type=click.FloatRange(0, 100, min_open=True), metavar="PERCENT",
              help=f"What counts as the same.  [default: the recipe's, else {WITHIN:.0%}]")  # fmt: skip
@click.option("--kernel", "kernels", type=KERNEL, multiple=True, metavar="KERNEL", help="Another kernel; repeatable.")
@click.option("--format", "formats", type=FORMAT, multiple=True, metavar="FORMAT",
              help="Start disks in this format (direct: the bundle, with the same kernel); repeatable.")  # fmt: skip
@click.option("--firmware", type=click.Choice([Firmware.BIOS.value, Firmware.UEFI.value]), multiple=True,
              help="The firmware that starts disks; repeatable.  [default: bios]")  # fmt: skip
@click.option("--memory", "memory_mib", type=click.IntRange(1), metavar="MIB", help="Memory; overrides the recipe's.")
@click.option(
    "--instructions", "count", is_flag=True, help="Count the guest's instructions too, in starts of their own."
)
@click.option("--initcalls", is_flag=True, help="List the kernel's initcalls with their times, in one more start.")
@click.option("--template", "cloned", is_flag=True, help="Clone each NAME from its template too (made when needed).")
@click.option("--density", type=density.Clones(), metavar="N|max",
              help="Run N clones of each NAME at the same time instead, or as many as the host carries.")  # fmt: skip
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
def command(ctx: click.Context, /, **words: Any) -> None:
    """Start each NAME and each machine again and again, in turn with an empty machine, and report medians, intervals,
    and with --vs whether it is faster, slower, the same, or undecided."""
    modes.check(modes.given(ctx), MODES)
    given = BenchRequest(**words)
    options.check_writable(given.json_path)
    raise SystemExit(starts.run(given) if given.density is None else density.run(given, given.density))
