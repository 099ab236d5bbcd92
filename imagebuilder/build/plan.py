"""What will be done, as data. A step's id is the hash of its inputs, of the code that does it and of the steps that it
needs, so that the cache, and the answer to "what will be built again", need no further thought. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imagebuilder.build.described import described
from imagebuilder.build.revision import Code
from imagebuilder.build.steps import STEPS, StepKind
from imagebuilder.build.steps.bundle import BundleInputs
from imagebuilder.build.steps.image import ImageInputs
from imagebuilder.build.steps.kernel import KernelInputs
from imagebuilder.build.steps.pack import PackInputs
from imagebuilder.build.steps.prepare import PrepareInputs
from imagebuilder.build.steps.root import RootInputs
from imagebuilder.build.steps.sbom import SbomInputs
from imagebuilder.build.steps.slim import SlimInputs
from imagebuilder.build.steps.source import SourceInputs
from imagebuilder.store import key_of


@dataclass(frozen=True)
class Step:
    """One step: what it makes, out of what, after which others. ``inputs`` is all that it gets to see besides their
    results, ``revision`` the hash of the code that does it: a new version may give another result for the same."""

    kind: StepKind
    title: str
    inputs: Any
    revision: str
    needs: tuple["Step", ...] = ()

    @cached_property
    def id(self) -> str:
        """The hash of all that the step's result depends on."""
        return key_of([self.kind.value, self.revision, described(self.inputs), [need.id for need in self.needs]])

    def describe(self) -> dict[str, Any]:
        """The step as JSON, without its inputs."""
        needs = [need.id for need in self.needs]
        return {"id": self.id, "kind": self.kind.value, "title": self.title, "needs": needs}


@dataclass(frozen=True)
class Inputs:
    """What the steps to an image get to see, each by itself; ``prepare_kernel`` is that of machines that prepare."""

    sources: Sequence[SourceInputs]
    slim: SlimInputs
    kernel: KernelInputs
    root: RootInputs
    pack: PackInputs
    bundle: BundleInputs
    sbom: SbomInputs
    images: Sequence[ImageInputs] = ()
    prepare: Sequence[PrepareInputs] = ()
    prepare_kernel: KernelInputs | None = None


@dataclass(frozen=True)
class Plan:
    """The steps to an image; all others hang below ``bundle``, and ``sbom`` and ``images`` (by their formats) are made
    of it."""

    sources: tuple[Step, ...]
    slim: Step
    root: Step
    bundle: Step
    sbom: Step
    images: Mapping[str, Step]

    @property
    def ends(self) -> tuple[Step, ...]:
        """The steps that a build asks for."""
        return self.bundle, self.sbom, *self.images.values()

    def steps(self) -> Iterator[Step]:
        """Every step once, each after those it needs."""
        seen: set[str] = set()

        def walk(step: Step) -> Iterator[Step]:
            for need in step.needs:
                yield from walk(need)
            if step.id not in seen:
                seen.add(step.id)
                yield step

        return (step for last in self.ends for step in walk(last))

    def describe(self) -> list[dict[str, Any]]:
        """The plan as JSON."""
        return [step.describe() for step in self.steps()]


def plan(name: str, inputs: Inputs, code: Code) -> Plan:
    """The steps that make the image of that name."""

    def step(kind: StepKind, title: str, inputs: Any, *needs: Step) -> Step:
        return Step(kind, title, inputs, code.revision(STEPS[kind].modules(inputs)), needs)

    sources = tuple(
        step(StepKind.SOURCE, f"source {number} of {name}", each) for number, each in enumerate(inputs.sources, 1)
    )
    layers = list(sources)
    if inputs.prepare_kernel is not None:
        machines = step(StepKind.KERNEL, f"kernel {inputs.prepare_kernel.name}", inputs.prepare_kernel)
        for each in inputs.prepare:
            tools = [
                step(StepKind.SOURCE, f"tools {number} of {each.title} of {name}", tool)
                for number, tool in enumerate(each.tools, 1)
            ]
            layers.append(step(StepKind.PREPARE, f"{each.title} of {name}", each, *layers, *tools, machines))
    slim = step(StepKind.SLIM, f"what {name} needs", inputs.slim, *layers)
    kernel = step(StepKind.KERNEL, f"kernel {inputs.kernel.name}", inputs.kernel)
    root = step(StepKind.ROOT, f"root of {name}", inputs.root, slim, kernel)
    pack = step(StepKind.PACK, f"pack {name}", inputs.pack, root)
    bundle = step(StepKind.BUNDLE, f"image {name}", inputs.bundle, slim, kernel, root, pack)
    sbom = step(StepKind.SBOM, f"bill of materials of {name}", inputs.sbom, bundle, kernel, root, *layers)
    images = {each.format: step(StepKind.IMAGE, f"{name} as {each.format}", each, bundle) for each in inputs.images}
    return Plan(sources, slim, root, bundle, sbom, images)
