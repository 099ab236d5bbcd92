"""From a recipe's name to what clones begin from: its image is built, and its template made, where they are missing.

::

    template = await template_of("nginx")
    async with Cloner(template) as cloner, cloner.clone() as instance:
        ...
"""

import asyncio
from pathlib import Path

from imagebuilder.build.walk import Build
from imagebuilder.events import Say, silent
from imagebuilder.machine.accel import choose
from imagebuilder.machine.template import Template, Wanted
from imagebuilder.machine.template_create import found_or_made
from imagebuilder.paths import cache_dir
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

OUT = Path("out")


async def template_of(
    name: str | Path,
    *,
    accelerator: str = "auto",
    memory_mib: int | None = None,
    kernel: str | None = None,
    out: Path = OUT,
    store: Store | None = None,
    say: Say = silent,
) -> Template:
    """The template of the recipe ``name`` (a folder, or the name of one under ``recipes/``), as ``imagebuilder serve``
    has it: the image stands in ``out``, both are made where they are missing or stale.

    ``accelerator`` is auto, kvm or tcg; memory and kernel are the recipe's unless given; ``store`` is the user's cache.
    Raises RecipeError, InputError, ToolMissing, NotReady, GuestFailed, MachineError, OutputError.
    """
    return (await warm_template_of(name, accelerator, memory_mib, kernel, out, store, say))[0]


async def warm_template_of(
    name: str | Path,
    accelerator: str,
    memory_mib: int | None,
    kernel: str | None,
    out: Path,
    store: Store | None,
    say: Say,
) -> tuple[Template, tuple[str, ...]]:
    """The same, and what the recipe's ``[template]`` has asked to warm it up."""
    store = store or Store(cache_dir())
    wanted = await asyncio.to_thread(_wanted, name, accelerator, memory_mib, kernel, out, store, say)
    return await found_or_made(wanted, store, say=say), wanted.recipe.warm


def _wanted(
    name: str | Path, accelerator: str, memory_mib: int | None, kernel: str | None, out: Path, store: Store, say: Say
) -> Wanted:
    bundle = Build(load(name), store, say, kernel_name=kernel).run(out)
    return Wanted.of(bundle, choose(accelerator, store=store).accelerator, memory_mib=memory_mib)
