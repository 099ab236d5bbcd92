"""Bind libraries to themselves, where nothing else in the image could take their place."""

from imagebuilder.transforms.kind import TransformContext, TransformResult
from imagebuilder.transforms.options import BindOptions
from imagebuilder.tree import Tree


def apply(tree: Tree, options: BindOptions, given: TransformContext) -> TransformResult:
    """The tree with its libraries bound, unless the recipe has them left."""
    from imagebuilder.closure.binding import bound

    return TransformResult(bound(tree, given.around.environment) if options.bind_libraries else tree)
