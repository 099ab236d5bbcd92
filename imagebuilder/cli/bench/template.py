"""``imagebuilder bench --template``: clones beside the cold starts."""

from imagebuilder.cli.bench.modes import Mode
from imagebuilder.cli.bench.request import BenchRequest
from imagebuilder.measure.clones import Clones

MODE = Mode("--template", owns=("--no-fork-server",))


def wanted(given: BenchRequest) -> Clones | None:
    """What the options ask for."""
    return Clones(copies=not given.no_fork_server) if given.cloned else None
