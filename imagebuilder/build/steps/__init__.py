"""The kinds of steps: one module each, and a row in ``STEPS``.

A step is ``run(inputs, needs, context)``: its typed inputs, the results of the steps it needs, and where things are
kept. It sees nothing else, so that all that its result depends on is in its key.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imagebuilder.build.steps import bundle, image, kernel, pack, prepare, root, sbom, slim, source
from imagebuilder.build.steps.result import Result
from imagebuilder.images import IMAGES
from imagebuilder.sources import SOURCES
from imagebuilder.sources.kind import Context
from imagebuilder.transforms.table import TRANSFORMS


class StepKind(StrEnum):
    """What a step makes."""

    SOURCE = "source"  # a Layer
    PREPARE = "prepare"  # a Layer, of what a command changed
    SLIM = "slim"  # the Tree that the application needs
    KERNEL = "kernel"  # the kernel's image and its modules
    ROOT = "root"  # the needed Tree with the recipe's files and the OS layer
    PACK = "pack"  # the root as one file
    BUNDLE = "bundle"  # the image's description
    SBOM = "sbom"  # the bill of materials, and how the image was made
    IMAGE = "image"  # the image as one file, in one format


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of step: what does it, and what it gives."""

    run: Callable[[Any, Any, Context], Result]
    result: type[Result]
    among: Callable[[Any], Iterable[str]] | None = None

    def contents(self, document: Mapping[str, Any]) -> Iterable[str]:
        """The digests of the contents that a kept result stands for."""
        return self.result.contents(document)

    def modules(self, inputs: Any) -> Iterable[str]:
        """The modules that do it: that of ``run``, or those that ``among`` names for its inputs."""
        return self.among(inputs) if self.among else (self.run.__module__,)


STEPS: Mapping[StepKind, Row] = {
    StepKind.SOURCE: Row(source.run, source.SourceResult, source.modules),
    StepKind.PREPARE: Row(prepare.run, source.SourceResult),
    StepKind.SLIM: Row(slim.run, slim.SlimResult, slim.modules),
    StepKind.KERNEL: Row(kernel.run, kernel.KernelResult),
    StepKind.ROOT: Row(root.run, root.RootResult, root.modules),
    StepKind.PACK: Row(pack.run, pack.PackResult),
    StepKind.BUNDLE: Row(bundle.run, bundle.BundleResult),
    StepKind.SBOM: Row(sbom.run, sbom.SbomResult),
    StepKind.IMAGE: Row(image.run, image.ImageResult, image.modules),
}
# All that steps are made of.
MODULES = (
    *(row.run.__module__ for row in STEPS.values()),
    *(kind.fetch.__module__ for kind in SOURCES.values()),
    *(row.write.__module__ for row in IMAGES.values()),
    *(row.apply.__module__ for row in TRANSFORMS.values()),
)
