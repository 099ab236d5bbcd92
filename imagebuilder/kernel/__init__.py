"""Kernels: what each one is, and how it comes to be there (prebuilt, from a package, or compiled)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebuilder.errors import KernelError
from imagebuilder.events import Say
from imagebuilder.kernel import config
from imagebuilder.kernel import definition as definitions
from imagebuilder.kernel.choice import Choice, choose
from imagebuilder.kernel.definition import (
    KernelDefinition,
    fragment,
    list_definitions,
    load_definition,
    name_of,
    shared_fragments,
)
from imagebuilder.kernel.kernel import Kernel
from imagebuilder.store import Store, key_of
from imagebuilder.tree import Tree

__all__ = [
    "Choice",
    "Kernel",
    "KernelDefinition",
    "asks_for",
    "build",
    "bump",
    "check_cpus",
    "check_requirements",
    "choose",
    "completed",
    "fragment",
    "identity",
    "key",
    "list_definitions",
    "load_definition",
    "most_cpus",
    "name_of",
    "prebuilt_images",
    "provide",
    "verify",
]


def provide(definition: KernelDefinition, *, extra_fragments: Sequence[Path] = (), store: Store, say: Say) -> Kernel:
    """The kernel: out of its package, prebuilt, from the store, or compiled, whichever is quickest.

    Raises KernelError, ToolMissing or ToolFailed.
    """
    from imagebuilder.kernel import prebuilt

    if definition.package is None:
        image = prebuilt.unpacked(definition, store, extra_fragments)
        if image is not None:
            return Kernel(definition, image, image.name, Tree())
    return build(definition, extra_fragments=extra_fragments, store=store, say=say)


def key(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> str:
    """What an image with this kernel depends on: its definition, and which prebuilt image is taken. Fast, and
    without a compiler."""
    from imagebuilder.kernel import prebuilt

    variant = prebuilt.equal_variant(definition, extra_fragments)
    record = None if variant is None else prebuilt.read_record(definition, variant)
    return key_of([definitions.key(definition, extra_fragments), record.digest if record else None])


def identity(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> tuple[str, str, str | None]:
    """Its name with those of its further fragments, the hash of all that it is made of, and the digest of its
    prebuilt image, where there is one."""
    from imagebuilder.kernel import prebuilt

    variant = prebuilt.equal_variant(definition, extra_fragments)
    record = None if variant is None else prebuilt.read_record(definition, variant)
    name = definitions.name_of(definition, extra_fragments)
    return name, key(definition, extra_fragments), record.digest if record else None


def completed(
    definition: KernelDefinition,
    extra_fragments: Sequence[Path],
    requirements: Mapping[str, str],
    variant: Sequence[Path] = (),
) -> tuple[Path, ...]:
    """The further fragments, and those with which it is kept prebuilt that meet ``requirements`` (as in
    ``check_requirements``) or belong to the ``variant`` that was chosen."""
    there = config.merge((*definition.fragments, *extra_fragments))
    ready = [path for each in definition.variants for path in each]
    missing = [path for symbol in requirements if symbol not in there for path in ready if _brings(path, symbol)]
    chosen = [path for path in variant if not config.parse(path).keys() <= there.keys()]
    return (*extra_fragments, *dict.fromkeys((*missing, *chosen)))


def check_requirements(
    definition: KernelDefinition, extra_fragments: Sequence[Path], requirements: Mapping[str, str]
) -> None:
    """Raise KernelError when a compiled kernel lacks a symbol; ``requirements``: symbol → who needs it."""
    if definition.package is not None:
        return
    merged = config.merge((*definition.fragments, *extra_fragments))
    for symbol, who in requirements.items():
        if symbol not in merged or merged[symbol].value == "n":
            message = f"{who} needs CONFIG_{symbol}, which the kernel {definition.name} lacks"
            raise KernelError(message, hint=_remedy(symbol))


def _remedy(symbol: str) -> str:
    """Which shared fragment brings a symbol; else how one writes a fragment."""
    names = [path.stem for path in shared_fragments() if _brings(path, symbol)]
    if names:
        return f'add "{names[0]}" to fragments under [kernel]; a kernel that is not prebuilt is then compiled'
    return (
        f"write CONFIG_{symbol}=y, and what it depends on, into a file own.config beside the recipe, and add "
        '"own.config" to fragments under [kernel]; the kernel is then compiled'
    )


def _brings(fragment: Path, symbol: str) -> bool:
    return config.parse(fragment).get(symbol, "n") != "n"


def check_cpus(definition: KernelDefinition, extra_fragments: Sequence[Path], cpus: int) -> None:
    """Raise KernelError when the kernel cannot use so many processors."""
    most = most_cpus(definition, extra_fragments)
    if most is not None and cpus > most:
        hint = f"write {most} or less, or add a file with CONFIG_NR_CPUS=N to fragments under [kernel]"
        raise KernelError(f"machine.cpus = {cpus}: the kernel {definition.name} uses {most} at most", hint=hint)


def most_cpus(definition: KernelDefinition, extra_fragments: Sequence[Path]) -> int | None:
    """How many processors the kernel can use; None is not known: a distribution's kernel can use more than we have."""
    if definition.package is not None:
        return None
    if asks_for(definition, extra_fragments, "SMP") != "y":
        return 1
    number = asks_for(definition, extra_fragments, "NR_CPUS")
    return int(number) if number and number.isdecimal() else None


def asks_for(definition: KernelDefinition, extra_fragments: Sequence[Path], symbol: str) -> str | None:
    """What the fragments ask of a symbol; None when they do not name it (or the kernel is not compiled here)."""
    requested = config.merge((*definition.fragments, *extra_fragments)).get(symbol)
    return requested.value if requested and definition.package is None else None


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


def prebuilt_images(definition: KernelDefinition) -> dict[str, list[str]]:
    """The prebuilt images of a kernel by name, each with a sentence for everything that keeps it from being used;
    none for a kernel that comes out of a package."""
    from imagebuilder.kernel import prebuilt

    if definition.package is not None:
        return {}
    checked = {prebuilt.name_of(definition, extra): extra for extra in definition.variants}
    return {name: list(prebuilt.check_record(definition, extra)) for name, extra in checked.items()}


def bump(
    definition: KernelDefinition,
    *,
    version: str | None = None,
    package: str | None = None,
    release: str | None = None,
    only_series: bool = False,
    store: Store,
    say: Say,
) -> str:
    """Move a kernel's pin to the newest source that the archives have; returns what was done, in a sentence.

    ``only_series`` sees whether its patches fit, and leaves it at that. Raises KernelError and SourceError, with
    everything as it was.
    """
    from imagebuilder.kernel import bumping

    found = bumping.newest(definition, version=version, package=package, release=release, store=store, say=say)
    if not found.moved:
        return f"{definition.name} is at {found.source.version} already, the newest that the archives have"
    way = f"{definition.name}: {definition.source.version if definition.source else ''} → {found.source.version}"
    if only_series:
        bumping.check_series(found, store=store, say=say)
        return f"{way}: all {len(definition.patches)} patches fit; nothing was changed"
    bumping.run(found, store=store, say=say)
    return f"{way}: all {len(definition.patches)} patches fit, it is compiled, and the boot tests passed"


def verify(definition: KernelDefinition, extra_fragments: Sequence[Path] = (), *, store: Store, say: Say) -> None:
    """Compile the kernel again, from nothing, and compare. Raises KernelError when the bytes differ."""
    from imagebuilder.kernel import verifying

    verifying.verify(definition, extra_fragments, store=store, say=say)
