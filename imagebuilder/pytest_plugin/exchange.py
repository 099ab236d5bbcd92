"""What the workers of a session tell each other as JSON: over pytest-xdist's wire, and by files in a shared folder.

A worker may have been killed while it wrote: what cannot be read is no measurement.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from imagebuilder import documents
from imagebuilder.errors import InputError
from imagebuilder.filesystems.common import replacing
from imagebuilder.measure.report import ImageReport


class Measured(BaseModel):
    """What a test measured: ``of`` are the recipe's folder, the kernel and the machine, ``order`` is its place among
    the tests of the session, ``why`` says why the machines ran under their accelerator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: tuple[str, str | None, str]
    order: int
    accelerator: str
    why: str
    image: ImageReport

    def to_text(self) -> str:
        """As ``of_text`` reads it."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def of_text(cls, text: str) -> Self:
        """What a worker sent. Raises InputError."""
        try:
            return cls.model_validate(documents.json_of(text.encode(errors="surrogatepass")))
        except ValueError as error:
            raise InputError("what a worker of this session measured cannot be read: run the tests again") from error


def figures_at(path: Path, measure: Callable[[], ImageReport]) -> ImageReport:
    """The figures that some worker has kept there; measured, and kept there, when none has or they cannot be read.
    Raises OutputError, and what measuring raises."""
    kept = _kept(path)
    if kept is None:
        kept = measure()
        with replacing(path) as unfinished:
            unfinished.write_text(kept.model_dump_json(by_alias=True))
    return kept


def _kept(path: Path) -> ImageReport | None:
    try:
        return ImageReport.model_validate(documents.load_json(path))
    except (OSError, ValueError):
        return None
