"""``python3 -m imagebuilder.measure.profiling KERNEL IMAGE...``: what of a kernel runs at the starts of these images.

The kernel is compiled with counters (``kernel/arcs.py``), each image is started with it to its first answer, and what
was counted is kept as the kernel's profile: an archive of one file for each of its objects. The images must go on
after their first answer, when their memory is read.
"""

import asyncio
import io
import lzma
import sys
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from imagebuilder import paths
from imagebuilder.bundle import Bundle
from imagebuilder.errors import KernelError
from imagebuilder.kernel import load_definition
from imagebuilder.kernel.arcs import Image, ObjectCounters, counted, counts, gcda, units, window
from imagebuilder.kernel.compile import compiled
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, MachineSpec, spec_of
from imagebuilder.maintainer_cli import status_of, tell
from imagebuilder.recipe.model import Ready
from imagebuilder.store import Store

HOT = 16  # a branch that runs so often in all starts together is compiled for speed, others for size
MEMORY_MIB = 64  # at least: counters take two more
SLOWER = 4  # than an image promises
WANTED = "name a kernel whose [config] has a profile, and some images to start"

Counts = tuple[tuple[int, ...], ...]
"""Those of each function of an object."""


async def memory_at_ready(spec: MachineSpec, ready: Ready, *, begin: int, size: int, scratch: Path) -> bytes:
    """Start a machine; returns a piece of its physical memory at its first answer. Raises NotReady, GuestFailed."""
    async with Instance.start(spec) as instance:
        await instance.wait_ready(ready, float(SLOWER * ready.timeout_s))
        file = scratch / "memory"
        await instance.monitor.execute("pmemsave", val=begin, size=size, filename=str(file))
        instance.kill()
    return file.read_bytes()


def profile(kernel: Path, bundles: Sequence[Bundle], store: Store) -> bytes:
    """What the starts of these images run of a counted kernel, as an archive. Raises what a start raises."""
    image = Image(kernel)
    found = units(image)
    address, size = window(found)
    with store.scratch() as scratch:
        memories = [
            _start(bundle, kernel, begin=image.physical(address), size=size, scratch=scratch) for bundle in bundles
        ]
    return archive((unit.file, gcda(unit, _sums(unit, memories, address), hot=HOT)) for unit in found)


def archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar.xz of files, the same bytes for the same files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return lzma.compress(packed.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def _start(bundle: Bundle, kernel: Path, *, begin: int, size: int, scratch: Path) -> bytes:
    spec = spec_of(bundle, accelerator=Accelerator.TCG)
    spec = replace(spec, kernel=kernel, memory_mib=max(spec.memory_mib, MEMORY_MIB))
    ready = bundle.ready
    return asyncio.run(memory_at_ready(spec, ready, begin=begin, size=size, scratch=scratch))


def _sums(unit: ObjectCounters, memories: Sequence[bytes], begin: int) -> Counts:
    """The counts of all starts together."""
    return tuple(
        tuple(map(sum, zip(*(counts(function, memory, begin) for memory in memories), strict=True)))
        for function in unit.functions
    )


def main(words: Sequence[str]) -> int:
    """Make a kernel's profile again, beside its definition."""
    return status_of(partial(_write, words, Store(paths.cache_dir())))


def _write(words: Sequence[str], store: Store) -> None:
    name, images = (words[0] if words else ""), words[1:]
    if not images:
        raise KernelError(f"{WANTED}: {' '.join(words)}")
    definition = load_definition(name)
    if definition.config is None or definition.config.profile is None:
        raise KernelError(f"{WANTED}: {' '.join(words)}")
    bundles = [Bundle.open(Path(image)) for image in images]  # before minutes of compiling
    kernel = store.blob(compiled(counted(definition), store=store, say=tell).digest)
    content = profile(kernel, bundles, store)
    target = definition.folder.parent / "profiles" / f"{definition.config.profile}.tar.xz"
    target.parent.mkdir(exist_ok=True)
    unfinished = target.with_suffix(".new")
    unfinished.write_bytes(content)
    unfinished.replace(target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
