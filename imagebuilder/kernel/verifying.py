"""Is a prebuilt kernel what it claims to be? Compile it again, from nothing, and compare bit for bit."""

from collections.abc import Sequence
from pathlib import Path

from imagebuilder.errors import KernelError
from imagebuilder.events import Say
from imagebuilder.kernel.compile import Built, compile_now
from imagebuilder.kernel.definition import KernelDefinition
from imagebuilder.kernel.prebuilt import check_record, name_of, read_record
from imagebuilder.store import Store


def verify(definition: KernelDefinition, extra_fragments: Sequence[Path] = (), *, store: Store, say: Say) -> str:
    """Compile and compare with the prebuilt kernel, or, where there is none, with a second compilation.

    Nothing of it comes from a cache of objects. Returns the digest; raises KernelError that says what differs.
    """
    if definition.package is not None:
        raise KernelError(f"the kernel {definition.name} comes ready from a package: there is nothing to compile again")
    record = read_record(definition, extra_fragments)
    if record is not None and (wrong := check_record(definition, extra_fragments)):
        hint = f"make it again: python3 -m imagebuilder.kernel {definition.name}"
        raise KernelError("; ".join(wrong), hint=hint)
    fresh = compile_now(definition, extra_fragments, store=store, say=say)
    expected = record or compile_now(definition, extra_fragments, store=store, say=say)
    if fresh.digest != expected.digest:
        name = name_of(definition, extra_fragments)
        raise KernelError(_difference(name, fresh, expected.compiler, expected.digest))
    return fresh.digest


def _difference(name: str, fresh: Built, compiler: str, digest: str) -> str:
    if fresh.compiler != compiler:
        because = f"it was compiled with {compiler}, this machine has {fresh.compiler}"
    else:
        because = "with the same compiler: the build is not reproducible here"
    return f"the kernel {name} compiles to {fresh.digest[:12]}, expected {digest[:12]}: {because}"
