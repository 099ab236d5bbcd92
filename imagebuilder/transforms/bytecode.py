"""Compile the Python modules that the recipe names, by the image's own Python."""

from imagebuilder.closure.groups import Group
from imagebuilder.sources.overlay import overlay
from imagebuilder.transforms.kind import TransformContext, TransformResult
from imagebuilder.transforms.options import ByteCodeOptions
from imagebuilder.tree import Kind, Tree

WHY = "byte code, so that nothing is compiled at start"


def apply(tree: Tree, options: ByteCodeOptions, given: TransformContext) -> TransformResult:
    """The tree with the byte code. Raises ClosureError and MachineLacks."""
    from imagebuilder.closure.bytecode import byte_code

    # Links of the packages lead into folders of the OS layer (/var/run).
    folders = given.around.below.filter(lambda _, node: node.kind is Kind.DIRECTORY)
    whole, _ = overlay(folders.merge(tree), given.around.above)
    made = byte_code(whole, options.byte_code, given.scratch)
    files = [node for node in made.values() if node.kind is Kind.FILE]
    size_bytes = sum(node.size_bytes for node in files)
    groups = (Group("imagebuilder: python", len(files), size_bytes, True, WHY),) if files else ()
    return TransformResult(Tree({**made, **tree}), groups)
