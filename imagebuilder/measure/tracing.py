"""``imagebuilder trace`` from Python: see in one start of the whole root which files an application opens.

``imagebuilder learn`` asks another question, of another machine: which pages of its files the image as it is sent uses.
"""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagebuilder import keep
from imagebuilder.build.walk import Build
from imagebuilder.bundle import Bundle
from imagebuilder.errors import MachineError
from imagebuilder.events import Say, silent, step
from imagebuilder.keep import MOST_TRACE_BYTES, KeepList
from imagebuilder.machine.accel import Accelerator
from imagebuilder.machine.given import Given
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import MIB_BYTES, Disk, MachineSpec, spec_of
from imagebuilder.machine.suspend import rest
from imagebuilder.machine.template_create import ask
from imagebuilder.measure.bench import Run
from imagebuilder.paths import cache_dir
from imagebuilder.platforms.linux.tracer import KERNEL_WORDS
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Recipe
from imagebuilder.recipe.values import RootFormat
from imagebuilder.store import Store
from imagebuilder.tree import Tree

USUAL = "keep.json"
KERNEL = "standard"  # with fanotify, which no small kernel needs
LEAST_MEMORY_MIB = 256
SLOWER = 4  # than a start of which nobody writes down anything
LOOKS, LOOK_S, MOST_LOOKS = 5, 0.02, 250  # until all that the answers lead to is done, at most 5 s


@dataclass(frozen=True, slots=True)
class Traced:
    """A list that was written, and of how many files of the sources."""

    recipe: Recipe
    file: Path
    found: KeepList
    source_files: int

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        counts = {"files": len(self.found.files), "source_files": self.source_files}
        return {"name": self.recipe.name, "file": str(self.file), **counts}


def traced(
    name: str | Path,
    accelerator: Accelerator,
    *,
    given: Given | None = None,
    store: Store | None = None,
    say: Say = silent,
    run: Run = asyncio.run,
) -> Traced:
    """Start a recipe's application once with all that its sources have, on the kernel ``standard``; wait until it is
    ready, ask what ``[template]`` has to warm it up, and write the list of the files that it opened. Raises what
    building and starting raise."""
    recipe, store = load(name), store or Store(cache_dir())
    build = Build(_whole(recipe), store, say, kernel_name=KERNEL, whole=True)
    with store.scratch() as scratch:
        bundle = build.run(scratch)
        disk = scratch / "trace.img"
        with disk.open("wb") as stream:
            stream.truncate(MOST_TRACE_BYTES)
        with step(say, f"trace {recipe.name}", f"see which files {recipe.name} opens"):
            run(_started(_machine(bundle, accelerator, disk, given), bundle, recipe))
        try:
            opened = keep.opened(disk.read_bytes())
        except ValueError as error:
            raise MachineError(f"{recipe.name}: {error}") from error
    sources: Tree = build.result(build.plan.slim).tree
    found = keep.keep_list(opened, sources)
    file = recipe.folder / (recipe.root.keep or USUAL)
    keep.write(found, file)
    return Traced(recipe, file, found, len(sources))


def _whole(recipe: Recipe) -> Recipe:
    """The recipe of the image that is traced: a list of before may be damaged."""
    root = {"keep": None, "pages": None, "format": RootFormat.EROFS}
    memory_mib = max(2 * recipe.machine.memory_mib, LEAST_MEMORY_MIB)
    return recipe.model_copy(
        update={
            "root": recipe.root.model_copy(update=root),
            "machine": recipe.machine.model_copy(update={"memory_mib": memory_mib}),
        }
    )


def _machine(bundle: Bundle, accelerator: Accelerator, disk: Path, given: Given | None) -> MachineSpec:
    spec = spec_of(bundle, accelerator=accelerator, given=given)
    device = f"/dev/vd{'abcdefghijklmnopqrstuvwxyz'[len(spec.disks)]}"
    written = Disk(path=disk, size_mib=MOST_TRACE_BYTES // MIB_BYTES, writable=True)
    return replace(spec, disks=(*spec.disks, written), cmdline=f"{spec.cmdline} {KERNEL_WORDS}{device}")


async def _started(spec: MachineSpec, bundle: Bundle, recipe: Recipe) -> None:
    async with Instance.start(spec) as instance:
        await instance.wait_ready(bundle.ready, float(SLOWER * bundle.ready.timeout_s))
        if bundle.ready.exit is not None:
            return
        for words in recipe.template.warm:
            await ask(instance, bundle.ready, words)
        await rest(instance, looks=LOOKS, look_s=LOOK_S, most_looks=MOST_LOOKS)
        await instance.terminate()  # what it opens to end in order counts too
