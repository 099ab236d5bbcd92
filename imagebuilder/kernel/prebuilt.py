"""Ready-built kernels, kept with their definition so that nobody waits for a compiler.

::

    kernels/NAME/prebuilt/vmlinux.xz    the kernel
    kernels/NAME/prebuilt/symbols.xz    the functions of its start by address, as in System.map
    kernels/NAME/prebuilt/config        its whole configuration
    kernels/NAME/prebuilt/record.json   what it was made from, and what it is
    kernels/NAME/prebuilt/FRAGMENT+…/   the same of the kernel with these further fragments
"""

import json
import lzma
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from imagebuilder import documents
from imagebuilder.errors import CacheError, KernelError
from imagebuilder.kernel import config
from imagebuilder.kernel.compile import Built
from imagebuilder.kernel.definition import KernelDefinition, compile_inputs, list_definitions
from imagebuilder.kernel.definition import name_of as name_of
from imagebuilder.store import Store, key_of, sha256, sha256_file

SCHEMA = "imagebuilder.kernel/2"
IMAGE, SYMBOLS, CONFIG, RECORD = "vmlinux.xz", "symbols.xz", "config", "record.json"
# The x86 filter makes jumps and calls alike, whose targets are relative: it saves 5 %.
FILTERS = ({"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME})


@dataclass(frozen=True, slots=True)
class Record:
    """What a ready-built kernel was made from and what it is. All digests are SHA-256; ``inputs`` covers the source,
    fragments, patches and flags, ``digest`` and ``bytes`` are those of the unpacked vmlinux, ``symbols`` is the digest
    of its unpacked symbols."""

    source: str
    inputs: str
    config: str
    symbols: str
    compiler: str
    digest: str
    bytes: int
    objects: int
    schema: str = SCHEMA


def folder_of(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> Path:
    """Where the ready-built kernel with these further fragments stands."""
    return definition.folder / "prebuilt" / "+".join(sorted(path.stem for path in extra_fragments))


def record_of(definition: KernelDefinition, built: Built, extra_fragments: Sequence[Path] = ()) -> Record:
    """The record of a kernel that was just compiled."""
    source = definition.source.sha256 if definition.source else ""
    return Record(
        source=source,
        inputs=key_of(compile_inputs(definition, extra_fragments)),
        config=built.config,
        symbols=built.symbols,
        compiler=built.compiler,
        digest=built.digest,
        bytes=built.bytes,
        objects=built.objects,
    )


def read_record(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> Record | None:
    """The record beside a ready-built kernel; nothing when there is none that makes sense."""
    try:
        record = Record(**documents.load_json(folder_of(definition, extra_fragments) / RECORD))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.schema == SCHEMA else None


def check_record(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> tuple[str, ...]:
    """A sentence for each thing that keeps the ready-built kernel from being used; none when it fits its definition."""
    record, name = read_record(definition, extra_fragments), name_of(definition, extra_fragments)
    if record is None:
        return (f"the kernel {name} has no ready-built image, or none with a readable record",)
    found = []
    if record.inputs != key_of(compile_inputs(definition, extra_fragments)):
        found.append(f"the ready-built {name} was made from another source, configuration, patch or flag")
    folder = folder_of(definition, extra_fragments)
    try:
        image, symbols = _unpack(folder / IMAGE), _unpack(folder / SYMBOLS)
    except KernelError as error:
        return (*found, error.message)
    if (sha256(image), len(image)) != (record.digest, record.bytes):
        found.append(f"the ready-built {name} is not the one of its record")
    if sha256(symbols) != record.symbols:
        found.append(f"the symbols beside the ready-built {name} are not those of its record")
    if _digest(folder / CONFIG) != record.config:
        found.append(f"the configuration beside the ready-built {name} is not the one of its record")
    return tuple(found)


def unpacked(definition: KernelDefinition, store: Store, extra_fragments: Sequence[Path] = ()) -> Path | None:
    """The ready-built kernel in the store; nothing when there is none for this definition.

    Raises KernelError when it claims to fit and is damaged.
    """
    variant = equal_variant(definition, extra_fragments)
    record = None if variant is None else read_record(definition, variant)
    if record is None or variant is None:
        return None
    try:
        return store.blob(record.digest)
    except CacheError:
        folder = folder_of(definition, variant)
        image = _unpack(folder / IMAGE)
        if sha256(image) != record.digest:
            hint = f"restore {folder}, or remove it and the kernel is compiled"
            message = f"the ready-built kernel {name_of(definition, variant)} is damaged"
            raise KernelError(message, hint=hint) from None
        return store.blob(store.put(image))


def equal_variant(definition: KernelDefinition, extra_fragments: Sequence[Path]) -> tuple[Path, ...] | None:
    """The further fragments of the ready-built kernel that these further fragments would give again: they may stand in
    another order, or ask for what it has anyway."""
    if definition.package is not None:
        return None
    wanted = config.merge((*definition.fragments, *extra_fragments))
    for variant in definition.variants:
        record = read_record(definition, variant)
        if record is None or record.inputs != key_of(compile_inputs(definition, variant)):
            continue
        asked = config.merge((*definition.fragments, *variant))
        if all(symbol in wanted and wanted[symbol].value == wish.value for symbol, wish in asked.items()):
            text = _text(folder_of(definition, variant) / CONFIG)
            if sha256(text.encode()) == record.config and not config.lost(wanted, text):
                return variant
    return None


def symbols_of(digest: str) -> str | None:
    """The functions of the start of a ready-built kernel, given the digest of its vmlinux; of others nothing is known.

    The lines are those of ``System.map``. Raises KernelError when they are damaged.
    """
    for definition in list_definitions():
        for extra in definition.variants:
            record = read_record(definition, extra)
            if record is not None and record.digest == digest:
                return _unpack(folder_of(definition, extra) / SYMBOLS).decode()
    return None


def write(definition: KernelDefinition, built: Built, store: Store, extra_fragments: Sequence[Path] = ()) -> Record:
    """Keep a compiled kernel as the ready-built one of its definition and these further fragments."""
    record = record_of(definition, built, extra_fragments)
    folder = folder_of(definition, extra_fragments)
    folder.mkdir(exist_ok=True, parents=True)
    for name, digest in ((IMAGE, built.digest), (SYMBOLS, built.symbols)):
        packed = lzma.compress(store.read(digest), format=lzma.FORMAT_XZ, filters=list(FILTERS))
        (folder / name).write_bytes(packed)
    (folder / CONFIG).write_bytes(store.read(built.config))
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n")
    return record


def _unpack(path: Path) -> bytes:
    try:
        return lzma.decompress(path.read_bytes(), format=lzma.FORMAT_XZ)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise KernelError(f"the ready-built kernel {path} is missing or damaged: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""
