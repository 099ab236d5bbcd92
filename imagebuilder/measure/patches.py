"""``python3 -m imagebuilder.measure.patches TREE KERNEL IMAGE...``: what each patch of a kernel gives.

The kernel is compiled in the folder TREE with its profile, once with all of its patches and once without each, and
these images are started with it: translated blocks (QEMU's ``info jit`` at the first answer), guest instructions
(``-icount``), memory that the guest uses, and the size of its ``vmlinux``. TREE stays, so that only what a patch
touches is compiled again, and what was measured is printed line by line. ``--without PATCH+PATCH`` leaves out these
together, and only them. All of it is under TCG: what a patch gives under KVM is not measured.

A patch that needs other options when it is left out names them in its message, as in ``Without: CONFIG_X=y``.
"""

import argparse
import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from imagebuilder import paths, process
from imagebuilder.arch import ImageType
from imagebuilder.bundle import Bundle
from imagebuilder.errors import KernelError, MachineError, ToolFailed
from imagebuilder.kernel import load_definition
from imagebuilder.kernel.compile import Make, unpack, unpack_archive
from imagebuilder.kernel.config import RequestedValue, merge
from imagebuilder.kernel.definition import KernelDefinition
from imagebuilder.kernel.series import Workspace, options
from imagebuilder.kernel.source import tarball
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, MachineSpec, spec_of
from imagebuilder.maintainer_cli import status_of, tell
from imagebuilder.measure import instructions
from imagebuilder.measure.startup import boot_once
from imagebuilder.recipe.model import Ready
from imagebuilder.store import Store

ELF = ImageType.VMLINUX
WANTED = "name a kernel that is compiled with patches"
BLOCKS = re.compile(r"TB count\s+(\d+)")
WITHOUT = re.compile(r"^Without: (.+)$", re.MULTILINE)
RUNS = 5  # of which the least counts: a busy host only adds to it


@dataclass(frozen=True, slots=True)
class Figures:
    """What one image's start comes to; memory is what its guest uses at the first answer."""

    blocks: int
    instructions: int
    memory_bytes: int


async def blocks(spec: MachineSpec, ready: Ready) -> int:
    """How many blocks QEMU has translated at the first answer. Raises NotReady, GuestFailed, MachineError."""
    async with Instance.start(spec) as instance:
        await instance.wait_ready(ready, None)
        said = await instance.monitor.execute("human-monitor-command", **{"command-line": "info jit"})
        instance.kill()
    found = BLOCKS.search(str(said))
    if found is None:
        raise MachineError("QEMU does not say how many blocks it has translated")
    return int(found[1])


def measured(bundle: Bundle, kernel: Path) -> Figures:
    """An image with another kernel. Raises what a start raises."""
    spec = replace(spec_of(bundle, accelerator=Accelerator.TCG), kernel=kernel)
    starts = [asyncio.run(boot_once(spec, bundle.ready)) for _ in range(RUNS)]
    used = [start.guest.used_bytes for start in starts if start.guest]
    return Figures(
        blocks=min([asyncio.run(blocks(spec, bundle.ready)) for _ in range(RUNS)]),
        instructions=min([asyncio.run(instructions.count(spec, bundle.ready)) for _ in range(RUNS)]),
        memory_bytes=min(used, default=0),
    )


@dataclass(frozen=True, slots=True)
class Bench:
    """A kernel in a tree of its own, compiled with one series after the other."""

    definition: KernelDefinition
    tree: Path
    store: Store

    def image(self, left_out: Sequence[Path] = ()) -> Path:
        """Its ``vmlinux`` without some patches. Raises KernelError when another patch builds on one of them."""
        source = tarball(self.definition, store=self.store, say=tell)
        everything = self.definition.patches
        if not self.tree.is_dir():
            unfinished = self.tree.with_name(f"{self.tree.name}.new")
            unfinished.mkdir(parents=True)
            unpack(source, unfinished, ()).rename(self.tree)
            unfinished.joinpath("source").rmdir()
            unfinished.rmdir()
            if self.definition.profile is not None:
                unpack_archive(self.definition.profile, self.tree)
        with self.store.scratch() as scratch:
            workspace = Workspace.of(self.tree, source, everything)
            workspace.become([each for each in everything if each not in left_out], scratch, everything)
        make = Make(self.tree, self.definition, ccache=False)
        make.configure(_requested(self.definition, left_out))
        make.run(ELF)
        image = self.tree.with_name(f"{self.tree.name}.{_name(left_out)}")
        process.run(["strip", "--strip-all", "--remove-section=.comment", "-o", image, self.tree / ELF])
        return image


def _name(left_out: Sequence[Path]) -> str:
    return "+".join(each.stem for each in left_out) or "all"


def _requested(definition: KernelDefinition, left_out: Sequence[Path]) -> Mapping[str, RequestedValue]:
    """What its fragments ask, but for what these patches bring, and with what is needed without them."""
    requested = dict(merge(definition.fragments))
    for patch in left_out:
        instead = WITHOUT.search(patch.read_text())
        pairs = [word.removeprefix("CONFIG_").split("=", 1) for word in (instead[1].split() if instead else ())]
        requested = {symbol: each for symbol, each in requested.items() if symbol not in options(patch)}
        requested |= {symbol: RequestedValue(value, patch) for symbol, value in pairs}
    return requested


def line(name: str, image: Path, found: Mapping[str, Figures], base: Mapping[str, Figures], base_image: Path) -> str:
    """What is more without the patch, in words for its message."""
    parts = [
        f"{title} {each.blocks - base[title].blocks:+,} blocks of {base[title].blocks:,}, "
        f"{each.instructions - base[title].instructions:+,} instructions of {base[title].instructions:,}, "
        f"{(each.memory_bytes - base[title].memory_bytes) // 1024:+,} KiB used"
        for title, each in found.items()
    ]
    return f"{name}: {'; '.join(parts)}; {ELF} {image.stat().st_size - base_image.stat().st_size:+,} bytes"


def main(words: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python3 -m imagebuilder.measure.patches", description="what patches give")
    parser.add_argument("tree", type=Path, help="a folder to compile in, which stays")
    parser.add_argument("kernel", help="a kernel that has patches")
    parser.add_argument("images", type=Path, nargs="+", help="images to start with it")
    more = "leave out these together, and only them; may be given several times"
    parser.add_argument("--without", action="append", metavar="PATCH[+PATCH…]", help=more)
    return status_of(partial(_measure, parser.parse_args(words), Store(paths.cache_dir())))


def _measure(given: argparse.Namespace, store: Store) -> None:
    if not (definition := load_definition(given.kernel)).patches:
        raise KernelError(f"{WANTED}, not {given.kernel}")
    sets = _sets(definition, given.without)
    bundles = [Bundle.open(image) for image in given.images]  # before minutes of compiling
    bench = Bench(definition, given.tree.absolute(), store)
    base_image = bench.image()
    base = {bundle.image.name: measured(bundle, base_image) for bundle in bundles}
    print(f"all patches: {base}, {ELF} {base_image.stat().st_size:,} bytes", flush=True)
    for patches in sets:
        try:
            image = bench.image(patches)
            found = {bundle.image.name: measured(bundle, image) for bundle in bundles}
            print(line(_name(patches), image, found, base, base_image), flush=True)
        except (KernelError, MachineError, ToolFailed) as error:
            print(f"{_name(patches)}: cannot be left out: {error.message}", flush=True)


def _sets(definition: KernelDefinition, asked: Sequence[str] | None) -> list[list[Path]]:
    """What is left out, one after the other. Raises KernelError for a patch that the kernel does not have."""
    known = {patch.stem: patch for patch in definition.patches}
    names = [each.split("+") for each in asked] if asked else [[name] for name in known]
    for name in (name for each in names for name in each if name not in known):
        raise KernelError(f"the kernel {definition.name} has no patch {name!r}: it has {', '.join(known)}")
    return [[known[name] for name in each] for each in names]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
