"""The transforms: one module each, and a row here, in which order they follow one another. Their keys stand under
``[root]``."""

from collections.abc import Mapping

from imagebuilder.transforms import bind, bytecode, slim
from imagebuilder.transforms.kind import Stage, Transform
from imagebuilder.transforms.options import BindOptions, ByteCodeOptions, SlimOptions

TRANSFORMS: Mapping[str, Transform] = {
    "slim": Transform(SlimOptions, Stage.SOURCES, slim.apply),
    "bytecode": Transform(ByteCodeOptions, Stage.SOURCES, bytecode.apply),
    "bind": Transform(BindOptions, Stage.ROOT, bind.apply),
}
