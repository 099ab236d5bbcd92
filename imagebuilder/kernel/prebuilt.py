"""Ready-built kernels, kept with their definition so that nobody waits for a compiler.

::

    kernels/NAME/prebuilt/vmlinux.xz    the kernel
    kernels/NAME/prebuilt/config        its whole configuration
    kernels/NAME/prebuilt/record.json   what it was made from, and what it is
"""

import json
import lzma
from dataclasses import asdict, dataclass
from pathlib import Path

from imagebuilder.errors import CacheError, KernelError
from imagebuilder.kernel.compile import Built
from imagebuilder.kernel.definition import KernelDefinition, compile_inputs
from imagebuilder.store import Store, key_of, sha256

SCHEMA = "imagebuilder.kernel/1"
# The x86 filter makes jumps and calls alike, whose targets are relative: it saves 5 %.
FILTERS = ({"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME})


@dataclass(frozen=True, slots=True)
class Record:
    """What a ready-built kernel was made from and what it is. All digests are SHA-256; ``inputs`` covers the source,
    fragments, patches and flags, ``digest`` and ``bytes`` are those of the unpacked vmlinux."""

    source: str
    inputs: str
    config: str
    compiler: str
    digest: str
    bytes: int
    objects: int
    schema: str = SCHEMA


def folder_of(definition: KernelDefinition) -> Path:
    """Where the ready-built kernel stands."""
    return definition.folder / "prebuilt"


def record_of(definition: KernelDefinition, built: Built) -> Record:
    """The record of a kernel that was just compiled."""
    source = definition.source.sha256 if definition.source else ""
    return Record(
        source=source,
        inputs=key_of(compile_inputs(definition)),
        config=built.config,
        compiler=built.compiler,
        digest=built.digest,
        bytes=built.bytes,
        objects=built.objects,
    )


def read_record(definition: KernelDefinition) -> Record | None:
    """The record beside a ready-built kernel; nothing when there is none that makes sense."""
    try:
        record = Record(**json.loads((folder_of(definition) / "record.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.schema == SCHEMA else None


def check_record(definition: KernelDefinition) -> tuple[str, ...]:
    """A sentence for each thing that keeps the ready-built kernel from being used; none when it fits its definition."""
    record = read_record(definition)
    if record is None:
        return (f"the kernel {definition.name} has no ready-built image, or none with a readable record",)
    found = []
    if record.inputs != key_of(compile_inputs(definition)):
        found.append(f"the ready-built {definition.name} was made from another source, configuration, patch or flag")
    try:
        image = _image(definition)
    except KernelError as error:
        return (*found, error.message)
    if (sha256(image), len(image)) != (record.digest, record.bytes):
        found.append(f"the ready-built {definition.name} is not the one of its record")
    try:
        config = sha256((folder_of(definition) / "config").read_bytes())
    except OSError:
        config = ""
    if config != record.config:
        found.append(f"the configuration beside the ready-built {definition.name} is not the one of its record")
    return tuple(found)


def unpacked(definition: KernelDefinition, store: Store) -> Path | None:
    """The ready-built kernel in the store; nothing when there is none for this definition.

    Raises KernelError when it claims to fit and is damaged.
    """
    record = read_record(definition)
    if record is None or record.inputs != key_of(compile_inputs(definition)):
        return None
    try:
        return store.blob(record.digest)
    except CacheError:
        image = _image(definition)
        if sha256(image) != record.digest:
            hint = f"restore {folder_of(definition)}, or remove it and the kernel is compiled"
            raise KernelError(f"the ready-built kernel {definition.name} is damaged", hint=hint) from None
        return store.blob(store.put(image))


def write(definition: KernelDefinition, built: Built, store: Store) -> Record:
    """Keep a compiled kernel as the ready-built one of its definition."""
    record = record_of(definition, built)
    folder = folder_of(definition)
    folder.mkdir(exist_ok=True)
    packed = lzma.compress(store.read(built.digest), format=lzma.FORMAT_XZ, filters=list(FILTERS))
    (folder / "vmlinux.xz").write_bytes(packed)
    (folder / "config").write_bytes(store.read(built.config))
    (folder / "record.json").write_text(json.dumps(asdict(record), indent=2) + "\n")
    return record


def _image(definition: KernelDefinition) -> bytes:
    path = folder_of(definition) / "vmlinux.xz"
    try:
        return lzma.decompress(path.read_bytes(), format=lzma.FORMAT_XZ)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise KernelError(f"the ready-built kernel {path} is missing or damaged: {error}") from error
