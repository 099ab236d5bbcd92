"""The image in one format, as one file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from imagebuilder import bundle
from imagebuilder.images.format import Artifact, ImageFormat
from imagebuilder.sources.kind import Context
from imagebuilder.store import Store

if TYPE_CHECKING:
    from imagebuilder.build.steps.bundle import BundleResult


@dataclass(frozen=True)
class ImageInputs:
    """The format, and the time of all that has none of its own, in seconds since 1970."""

    row: ImageFormat
    epoch_s: int

    @property
    def format(self) -> str:
        """The format's name."""
        return self.row.name

    def describe(self) -> Any:
        """All that the file depends on."""
        return {"format": self.format, "epoch_s": self.epoch_s}


@dataclass(frozen=True)
class ImageResult:
    """What was made. Its file is the store's content of its hash; who lays it down says where."""

    artifact: Artifact

    def save(self, _store: Store) -> dict[str, Any]:
        """As a step's result."""
        return self.artifact.describe()

    @classmethod
    def load(cls, document: Mapping[str, Any], _store: Store) -> Self:
        """As a step's result."""
        return cls(Artifact.load(document))

    @classmethod
    def contents(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """As a step's result."""
        return [document["sha256"]]


def modules(inputs: ImageInputs) -> tuple[str, ...]:
    """What does it: this, and the format's own module alone."""
    return __name__, inputs.row.write.__module__


def run(inputs: ImageInputs, needs: "tuple[BundleResult]", context: Context) -> ImageResult:
    """Write it."""
    (described,) = needs
    row, image = inputs.row, described.image
    with context.store.scratch() as scratch:
        laid = bundle.write(image, scratch / image.name, context.store)
        path = scratch / f"{image.name}{row.suffix}"
        artifact = row.write(laid, path, epoch_s=inputs.epoch_s)
        context.store.put_file(path)
    return ImageResult(replace(artifact, file=Path(path.name)))
