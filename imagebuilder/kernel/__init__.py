"""Kernels: what each one is, and how it comes to be there (ready-built, from a package, or compiled)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebuilder.errors import KernelError
from imagebuilder.events import Note, Say
from imagebuilder.kernel import config
from imagebuilder.kernel.definition import KernelDefinition, fragment, key, list_definitions, load_definition
from imagebuilder.kernel.kernel import Kernel
from imagebuilder.store import Store
from imagebuilder.tree import Tree

__all__ = [
    "Kernel",
    "KernelDefinition",
    "asks_for",
    "build",
    "check_wishes",
    "completed",
    "fragment",
    "key",
    "list_definitions",
    "load_definition",
    "provide",
    "verify",
]


def provide(definition: KernelDefinition, *, extra_fragments: Sequence[Path] = (), store: Store, say: Say) -> Kernel:
    """The kernel: out of its package, ready-built, from the store, or compiled, whichever is quickest.

    Raises KernelError, ToolMissing or ToolFailed.
    """
    from imagebuilder.kernel import prebuilt

    if definition.package is None:
        image = prebuilt.unpacked(definition, store, extra_fragments)
        if image is not None:
            return Kernel(definition, image, image.name, Tree())
        name = prebuilt.name_of(definition, extra_fragments)
        say(Note(f"the kernel {name} has no ready-built image of this definition: it is compiled"))
    return build(definition, extra_fragments=extra_fragments, store=store, say=say)


def completed(
    definition: KernelDefinition, extra_fragments: Sequence[Path], wishes: Mapping[str, tuple[str, str]]
) -> tuple[Path, ...]:
    """The further fragments, and those for ``wishes`` (as in ``check_wishes``) with which it is kept ready-built."""
    there = config.merge((*definition.fragments, *extra_fragments))
    ready = {path.stem: path for variant in definition.variants for path in variant}
    missing = {
        remedy: ready[remedy] for symbol, (_, remedy) in wishes.items() if symbol not in there and remedy in ready
    }
    return (*extra_fragments, *missing.values())


def check_wishes(
    definition: KernelDefinition, extra_fragments: Sequence[Path], wishes: Mapping[str, tuple[str, str]]
) -> None:
    """Raise KernelError when a compiled kernel lacks a symbol; ``wishes``: symbol → who needs it, fragment with it."""
    if definition.package is not None:
        return
    merged = config.merge((*definition.fragments, *extra_fragments))
    for symbol, (who, remedy) in wishes.items():
        if symbol not in merged or merged[symbol].value == "n":
            message = f"{who} needs CONFIG_{symbol}, which the kernel {definition.name} has not"
            raise KernelError(message, hint=f'fragments = ["{remedy}"] under [kernel] brings it')


def asks_for(definition: KernelDefinition, extra_fragments: Sequence[Path], symbol: str) -> str | None:
    """What the fragments ask of a symbol; None when they do not name it (or the kernel is not compiled here)."""
    wish = config.merge((*definition.fragments, *extra_fragments)).get(symbol)
    return wish.value if wish and definition.package is None else None


def build(definition: KernelDefinition, *, extra_fragments: Sequence[Path] = (), store: Store, say: Say) -> Kernel:
    """The kernel as compiled here (or taken out of its package): from the store when that was done before."""
    from imagebuilder.kernel import compile, packaged

    if definition.package is not None:
        if extra_fragments:
            message = f"the kernel {definition.name} comes ready from a package: it takes no fragments"
            raise KernelError(message, hint="use a kernel that is compiled, such as micro")
        return packaged.provide(definition, store=store, say=say)
    built = compile.compiled(definition, extra_fragments, store=store, say=say)
    return Kernel(definition, store.blob(built.digest), built.digest, Tree())


def verify(definition: KernelDefinition, extra_fragments: Sequence[Path] = (), *, store: Store, say: Say) -> None:
    """Compile the kernel again, from nothing, and compare. Raises KernelError when the bytes differ."""
    from imagebuilder.kernel import verifying

    verifying.verify(definition, extra_fragments, store=store, say=say)
