"""What a transform is, what it gets to see, and what it gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagebuilder.closure.groups import Group
from imagebuilder.recipe.base import RecipeTable
from imagebuilder.sources.layer import Layer
from imagebuilder.tree import Tree

if TYPE_CHECKING:
    from imagebuilder.closure.slimming import Around


class Stage(StrEnum):
    """When a transform is done."""

    SOURCES = "sources"  # on what the sources brought, before the recipe's files and the system are laid around it
    ROOT = "root"  # on all of the root but init


@dataclass(frozen=True)
class TransformContext:
    """What a transform sees besides its tree: the ``programs`` that must run, ``around`` the tree and of the
    application, an empty ``scratch`` folder, and in the first stage the ``layers`` of the sources."""

    programs: Sequence[str]
    around: "Around"
    scratch: Path
    layers: Sequence[Layer] = ()


@dataclass(frozen=True)
class TransformResult:
    """The tree as it is afterwards; what was kept, dropped or added and why; sentences that the user should read."""

    tree: Tree
    groups: tuple[Group, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transform:
    """A row of ``TRANSFORMS``: its keys under ``[root]``, when it is done, and what does it."""

    options: type[RecipeTable]
    stage: Stage
    apply: Callable[[Tree, Any, TransformContext], TransformResult]


@dataclass(frozen=True)
class ChosenTransform:
    """A transform with the values of its keys."""

    transform: Transform
    options: RecipeTable

    def describe(self) -> Any:
        """The values."""
        return self.options.model_dump(mode="json")


def transformed(tree: Tree, wanted: Mapping[str, ChosenTransform], given: TransformContext) -> TransformResult:
    """The tree after transforms, in their order. Raises what they raise."""
    done = TransformResult(tree)
    for name, each in wanted.items():
        scratch = given.scratch / name
        scratch.mkdir()
        made = each.transform.apply(done.tree, each.options, replace(given, scratch=scratch))
        done = TransformResult(made.tree, (*done.groups, *made.groups), (*done.warnings, *made.warnings))
    return done
