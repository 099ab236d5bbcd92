"""Keep of the sources what the programs need, and what the recipe includes."""

from imagebuilder.transforms.kind import TransformContext, TransformResult
from imagebuilder.transforms.options import SlimOptions
from imagebuilder.tree import Tree


def apply(_tree: Tree, options: SlimOptions, given: TransformContext) -> TransformResult:
    """What is needed of all layers: the first transform, which makes one tree of them. Raises ClosureError."""
    from imagebuilder.closure.slimming import slim

    slimmed = slim(
        given.layers,
        roots=given.programs,
        include=options.include,
        exclude=options.exclude,
        off=options.needs_off,
        around=given.around,
    )
    return TransformResult(slimmed.tree, slimmed.groups, slimmed.warnings)
