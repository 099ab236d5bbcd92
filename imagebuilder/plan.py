"""Recipe × kernel × format → Plan: what will be done, as data. A step's id is the hash of its inputs and of the steps
that it needs, so that the cache, and the answer to "what will be built again", need no further thought. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, partial
from typing import Any

from imagebuilder.store import key_of


class StepKind(StrEnum):
    """What a step makes."""

    SOURCE = "source"  # a Layer
    SLIM = "slim"  # the Tree that the application needs
    ROOT = "root"  # that Tree with the recipe's files and the OS layer
    PACK = "pack"  # the root as one file
    BUNDLE = "bundle"  # the image's description


@dataclass(frozen=True)
class Step:
    """One step: what it makes, out of what, after which others. ``code`` is the hash of what does it: a new version of
    it may give another result for the same inputs."""

    kind: StepKind
    code: str
    title: str
    inputs: Any
    needs: tuple["Step", ...] = ()

    @cached_property
    def id(self) -> str:
        """The hash of all that the step's result depends on."""
        return key_of([self.kind.value, self.code, self.inputs, [need.id for need in self.needs]])


@dataclass(frozen=True)
class Ingredients:
    """All that an image depends on, gathered before planning; JSON values, contents by their hash."""

    name: str
    code: str
    sources: Sequence[Any]
    application: Any
    roots: Sequence[str]
    include: Sequence[str]
    exclude: Sequence[str]
    files: Any
    init: str
    kernel: str
    root_format: str
    epoch_s: int
    recipe: Any
    byte_code: Sequence[str] = ()
    added: Any = ()
    """Of ``files`` what the application's closure depends on."""
    search: Any = None
    """Of the application's environment what says where programs and libraries are looked for."""
    pages: Any = None


@dataclass(frozen=True)
class Plan:
    """The steps to an image; ``bundle`` is the last, and all others hang below it."""

    bundle: Step

    def steps(self) -> Iterator[Step]:
        """Every step once, each after those it needs."""
        seen: set[str] = set()

        def walk(step: Step) -> Iterator[Step]:
            for need in step.needs:
                yield from walk(need)
            if step.id not in seen:
                seen.add(step.id)
                yield step

        return walk(self.bundle)

    def describe(self) -> list[dict[str, Any]]:
        """The plan as JSON."""
        return [
            {"id": step.id, "kind": step.kind.value, "title": step.title, "needs": [need.id for need in step.needs]}
            for step in self.steps()
        ]


def plan(given: Ingredients) -> Plan:
    """The steps that make the image."""
    step = partial(_step, given)
    sources = tuple(
        step(StepKind.SOURCE, f"source {number + 1} of {given.name}", described)
        for number, described in enumerate(given.sources)
    )
    wanted: dict[str, Any] = {name: [*getattr(given, name)] for name in ("roots", "include", "exclude", "byte_code")}
    wanted |= {"files": given.added, "search": given.search}
    slim = step(StepKind.SLIM, f"what {given.name} needs", wanted, sources)
    system = {"application": given.application, "files": given.files, "init": given.init, "kernel": given.kernel}
    system["root"] = given.recipe.get("root")
    system["network"] = given.recipe.get("machine", {}).get("network", True)
    system["hostname"] = given.name
    system["format"] = given.root_format
    system["pages"] = given.pages
    root = step(StepKind.ROOT, f"root of {given.name}", system, (slim,))
    pack = step(StepKind.PACK, f"pack {given.name}", {"format": given.root_format, "epoch_s": given.epoch_s}, (root,))
    return Plan(step(StepKind.BUNDLE, f"image {given.name}", {"kernel": given.kernel, "recipe": given.recipe}, (pack,)))


def _step(given: Ingredients, kind: StepKind, title: str, inputs: Any, needs: tuple[Step, ...] = ()) -> Step:
    return Step(kind, given.code, title, inputs, needs)
