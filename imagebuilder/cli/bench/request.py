"""What was given to ``imagebuilder bench``, and what that selects."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.arch import Firmware
from imagebuilder.cli import options
from imagebuilder.cli.drawing import listener
from imagebuilder.machine.accel import choose
from imagebuilder.measure.density import DensityOptions
from imagebuilder.measure.selection import Selection


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """The words of the command line, by the names of its options."""

    names: tuple[str, ...]
    machines: tuple[Path, ...]
    reference: str | None
    runs: int
    most: int | None
    within: float | None
    kernels: tuple[str, ...]
    formats: tuple[str, ...]
    firmware: tuple[str, ...]
    memory_mib: int | None
    count: bool
    initcalls: bool
    cloned: bool
    density: DensityOptions | None
    no_fork_server: bool
    bare: bool
    commands: bool
    fail_slower: bool
    fail_undecided: bool
    json_path: Path | None
    artefacts: Path
    accel: str
    out: Path
    quiet: bool
    verbose: bool


@contextmanager
def selected(given: BenchRequest) -> Iterator[tuple[Selection, str]]:
    """The selection, and why it has its accelerator; what is done with it is shown as it goes on."""
    names = given.names if given.names or given.machines else options.or_this_folder("a NAME, or --machine FILE.toml")
    store = options.open_store()
    with listener(quiet=given.quiet, verbose=given.verbose) as say:
        choice = choose(given.accel, store=store)
        kernels, memory_mib, out = given.kernels, given.memory_mib, given.out
        firmware = tuple(map(Firmware, given.firmware))
        yield (
            Selection(
                *(names, choice.accelerator, given.machines, kernels, memory_mib, out, store, say),
                formats=given.formats,
                firmware=firmware,
            ),
            choice.why,
        )
