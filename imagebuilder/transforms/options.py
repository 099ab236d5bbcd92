"""The keys under ``[root]`` of each transform: a table of its own, of which the recipe's ``Root`` is made."""

from imagebuilder.recipe import fields
from imagebuilder.recipe.base import RecipeTable
from imagebuilder.recipe.values import Runtime


class SlimOptions(RecipeTable):
    """What is kept besides what the command needs."""

    include: tuple[fields.ImageGlob, ...] = ()
    """Files of any source to keep besides the command and the libraries it needs: absolute paths or patterns."""
    exclude: tuple[fields.ImageGlob, ...] = ()
    """Files of any source to leave out although they were kept: absolute paths or patterns."""
    needs_off: tuple[Runtime, ...] = ()
    """Of what imagebuilder knows by itself that it needs more than its libraries, as "python" its standard library:
    that of which the image shall have no more than the recipe includes."""


class ByteCodeOptions(RecipeTable):
    """What is compiled by the image's own Python."""

    byte_code: tuple[fields.ImageGlob, ...] = ()
    """Python modules that are kept and whose byte code is made, by the image's own interpreter: paths or patterns."""


class BindOptions(RecipeTable):
    """What is bound before it runs."""

    bind_libraries: fields.Yes = True
    """Whether libraries are bound to themselves when the image is built, so that less is looked up at each start; if
    not, they stay as the sources have them, and a library that is loaded later can take the place of theirs."""
