"""Prebuilt kernels, kept with their definition so that no compiler is needed.

::

    kernels/NAME/prebuilt/vmlinux.xz    the kernel, or as it packs itself: bzImage
    kernels/NAME/prebuilt/symbols.xz    the functions of its start by address, as in System.map
    kernels/NAME/prebuilt/config        its whole configuration
    kernels/NAME/prebuilt/record.json   what it was made from, and what it is
    kernels/NAME/prebuilt/FRAGMENT+…/   the same of the kernel with these further fragments
"""

import lzma
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ConfigDict, NonNegativeInt
from pydantic.dataclasses import dataclass

from imagebuilder import documents
from imagebuilder.arch import ImageType
from imagebuilder.errors import CacheError, KernelError
from imagebuilder.kernel import config
from imagebuilder.kernel.definition import KernelDefinition, compile_inputs, list_definitions
from imagebuilder.kernel.definition import name_of as name_of
from imagebuilder.prebuilt.shelf import FOLDER, Shelf, Unreadable
from imagebuilder.store import Store, key_of, sha256

if TYPE_CHECKING:
    from imagebuilder.kernel.compile import Built

SCHEMA = "imagebuilder.kernel/2"
SYMBOLS, CONFIG = "symbols.xz", "config"
# A kernel that unpacks itself is packed already.
FILES: Mapping[ImageType, str] = {ImageType.VMLINUX: f"{ImageType.VMLINUX}.xz", ImageType.BZIMAGE: ImageType.BZIMAGE}
MOST_IMAGE_BYTES, MOST_SYMBOLS_BYTES = 128 << 20, 16 << 20  # unpacked; ours have 5 MB and 0.1 MB
MOST_CONFIG_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid"))
class KernelRecord:
    """What a prebuilt kernel was made from and what it is. All digests are SHA-256; ``inputs`` covers the source,
    fragments, patches and flags, ``digest`` and ``bytes`` are those of the unpacked vmlinux, ``symbols`` is the digest
    of its unpacked symbols."""

    source: str
    inputs: str
    config: str
    symbols: str
    compiler: str
    digest: str
    bytes: NonNegativeInt
    objects: int
    schema: str = SCHEMA


def folder_of(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> Path:
    """Where the prebuilt kernel with these further fragments stands."""
    return definition.folder / FOLDER / "+".join(sorted(path.stem for path in extra_fragments))


def shelf_of(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> Shelf[KernelRecord]:
    """The same with the kernel and its record."""
    return Shelf(folder_of(definition, extra_fragments), KernelRecord, SCHEMA)


def record_of(definition: KernelDefinition, built: "Built", extra_fragments: Sequence[Path] = ()) -> KernelRecord:
    """The record of a kernel that was just compiled."""
    source = definition.source.sha256 if definition.source else ""
    return KernelRecord(
        source=source,
        inputs=key_of(compile_inputs(definition, extra_fragments)),
        config=built.config,
        symbols=built.symbols,
        compiler=built.compiler,
        digest=built.digest,
        bytes=built.bytes,
        objects=built.objects,
    )


def read_record(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> KernelRecord | None:
    """The record beside a prebuilt kernel; nothing when there is none that makes sense."""
    return shelf_of(definition, extra_fragments).record()


def check_record(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> tuple[str, ...]:
    """A sentence for each thing that keeps the prebuilt kernel from being used; none when it fits its definition."""
    record, name = read_record(definition, extra_fragments), name_of(definition, extra_fragments)
    if record is None:
        return (f"the kernel {name} has no prebuilt image, or none with a readable record",)
    found = []
    if record.inputs != key_of(compile_inputs(definition, extra_fragments)):
        found.append(f"the prebuilt {name} was made from another source, configuration, patch or flag")
    shelf = shelf_of(definition, extra_fragments)
    try:
        image, symbols = _image(shelf, definition, record), _unpack(shelf, SYMBOLS, MOST_SYMBOLS_BYTES)
    except KernelError as error:
        return (*found, error.message)
    if (sha256(image), len(image)) != (record.digest, record.bytes):
        found.append(f"the prebuilt {name} is not the one of its record")
    if sha256(symbols) != record.symbols:
        found.append(f"the symbols beside the prebuilt {name} are not those of its record")
    if not shelf.holds(CONFIG, record.config, MOST_CONFIG_BYTES):
        found.append(f"the configuration beside the prebuilt {name} is not the one of its record")
    return tuple(found)


def unpacked(definition: KernelDefinition, store: Store, extra_fragments: Sequence[Path] = ()) -> Path | None:
    """The prebuilt kernel in the store; nothing when there is none for this definition.

    Raises KernelError when it claims to fit and is damaged.
    """
    variant = equal_variant(definition, extra_fragments)
    record = None if variant is None else read_record(definition, variant)
    if record is None or variant is None:
        return None
    try:
        return store.blob(record.digest)
    except CacheError:
        shelf = shelf_of(definition, variant)
        image = _image(shelf, definition, record)
        if sha256(image) != record.digest:
            hint = f"restore {shelf.folder}, or remove it and the kernel is compiled"
            message = f"the prebuilt kernel {name_of(definition, variant)} is damaged"
            raise KernelError(message, hint=hint) from None
        return store.blob(store.put(image))


def configuration(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> str:
    """The whole configuration of a prebuilt kernel; empty when there is none that fits its record."""
    record = read_record(definition, extra_fragments)
    text = _text(folder_of(definition, extra_fragments) / CONFIG)
    return text if record is not None and sha256(text.encode()) == record.config else ""


def equal_variant(definition: KernelDefinition, extra_fragments: Sequence[Path]) -> tuple[Path, ...] | None:
    """The further fragments of the prebuilt kernel that these further fragments would give again: they may stand in
    another order, or ask for what it has anyway."""
    if definition.package is not None:
        return None
    wanted = config.merge((*definition.fragments, *extra_fragments))
    for variant in definition.variants:
        record = read_record(definition, variant)
        if record is None or record.inputs != key_of(compile_inputs(definition, variant)):
            continue
        asked = config.merge((*definition.fragments, *variant))
        if all(symbol in wanted and wanted[symbol].value == each.value for symbol, each in asked.items()):
            text = configuration(definition, variant)
            if text and not config.lost(wanted, text):
                return variant
    return None


def symbols_of(digest: str) -> str | None:
    """The functions of the start of a prebuilt kernel, given the digest of its vmlinux; of others nothing is known.

    The lines are those of ``System.map``. Raises KernelError when they are damaged.
    """
    for definition in list_definitions():
        for extra in definition.variants:
            record = read_record(definition, extra)
            if record is not None and record.digest == digest:
                shelf = shelf_of(definition, extra)
                symbols = _unpack(shelf, SYMBOLS, MOST_SYMBOLS_BYTES)
                if sha256(symbols) != record.symbols:
                    raise KernelError(
                        f"the symbols {shelf.folder / SYMBOLS} are damaged: they are not those of their record"
                    )
                return symbols.decode()
    return None


def options_of(digest: str) -> dict[str, str]:
    """The whole configuration of a prebuilt kernel, given the digest of its vmlinux: the values by symbol, ``n`` is
    left out; of others nothing is known, and it is empty."""
    for definition in list_definitions():
        for extra in definition.variants:
            record = read_record(definition, extra)
            if record is not None and record.digest == digest:
                found = config.values(configuration(definition, extra))
                return {symbol: value for symbol, value in found.items() if value != "n"}
    return {}


def write(
    definition: KernelDefinition, built: "Built", store: Store, extra_fragments: Sequence[Path] = ()
) -> KernelRecord:
    """Keep a compiled kernel as the prebuilt one of its definition and these further fragments."""
    record = record_of(definition, built, extra_fragments)
    digests = {FILES[definition.file]: built.digest, SYMBOLS: built.symbols, CONFIG: built.config}
    # The architecture's filter saves 5 %.
    filters = [{"id": definition.architecture.xz_filter}, {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    files = {name: store.read(digest) for name, digest in digests.items()}
    shelf_of(definition, extra_fragments).keep(record, files, filters=filters)
    return record


def _image(shelf: Shelf[KernelRecord], definition: KernelDefinition, record: KernelRecord) -> bytes:
    return _unpack(shelf, FILES[definition.file], min(record.bytes, MOST_IMAGE_BYTES))


def _unpack(shelf: Shelf[KernelRecord], name: str, most_bytes: int) -> bytes:
    try:
        return shelf.read(name, most_bytes)
    except Unreadable as error:
        raise KernelError(f"the prebuilt kernel {error}") from error


def _text(path: Path) -> str:
    try:
        return documents.read(path, MOST_CONFIG_BYTES).decode()
    except (OSError, ValueError):
        return ""
