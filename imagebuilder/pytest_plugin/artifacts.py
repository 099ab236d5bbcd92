"""What a failing test leaves: a folder with all that there is to see of its machines, named in its report."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imagebuilder.pytest_plugin.fixtures import Traces

if TYPE_CHECKING:
    from imagebuilder.errors import ImagebuilderError
    from imagebuilder.pytest_plugin.running import Running

TITLE = "imagebuilder"
COMMAND = "command.txt"


def leave(traces: Traces, report: pytest.TestReport, error: "ImagebuilderError | None") -> None:
    """Write the artefacts of the test's machines, also of one that did not start; the report says where they are."""
    from imagebuilder.machine.failures import write_evidence

    folders = [*traces.folders, *(traces.boot_sequence.folders if traces.boot_sequence else [])]
    try:
        if error is not None and write_evidence(error, traces.folder):
            folders.append(traces.folder)
        lines = [*_machines(traces), *(line for folder in folders for line in _written(folder))]
    except OSError as error:
        lines = [f"{traces.folder} cannot be written: {error.strerror}"]
    if lines:
        report.sections.append((TITLE, "\n".join(lines)))


def _machines(traces: Traces) -> Iterator[str]:
    machines = traces.machines()
    for number, running in enumerate(machines, 1):
        folder = traces.folder if len(machines) == 1 else traces.folder / str(number)
        running.write_artefacts(folder)
        yield from _written(folder)
        yield f"phases so far: {_phases(running)}"


def _written(folder: Path) -> Iterator[str]:
    if (folder / COMMAND).is_file():
        yield f"artefacts: {folder} ({', '.join(sorted(path.name for path in folder.iterdir()))})"
        yield f"by hand: {(folder / COMMAND).read_text(encoding='utf-8').strip()}"


def _phases(running: "Running") -> str:
    return ", ".join(f"{name} {took:.0f} ms" for name, took in running.phases_ms.items() if took is not None)
