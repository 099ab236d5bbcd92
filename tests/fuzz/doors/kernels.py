"""Kernel definitions, fragments, what is kept prebuilt, and what is read out of a kernel with counters."""

import json
import lzma
from dataclasses import asdict
from pathlib import Path

from imagebuilder.arch import ImageType
from imagebuilder.kernel import arcs, config, prebuilt
from imagebuilder.kernel.definition import compile_inputs, key, load_definition
from imagebuilder.prebuilt import program as programs
from imagebuilder.prebuilt.shelf import RECORD
from imagebuilder.store import Store, key_of, sha256
from tests.fuzz.doors.door import ROOT, Door
from tests.kernel.counted import counted

KERNELS = tuple(
    (ROOT / "kernels" / name / "kernel.toml").read_bytes().replace(f'name = "{name}"'.encode(), b'name = "micro"')
    for name in ("micro", "debian-cloud")
)
FRAGMENT = b'# a\nCONFIG_A=y\nCONFIG_B="x"\n# CONFIG_C is not set\nCONFIG_D=0x10\nCONFIG_E=-5\n'
CONTENT, MICRO = b"content", load_definition("micro")
PROGRAM = programs.Program.of(ROOT, "program", schema="program/1", compiler="none", flags=("-O2",))


def _kernel(data: bytes, folder: Path) -> None:
    (folder / "micro").mkdir()
    (folder / "micro/kernel.toml").write_bytes(data)
    key(load_definition(folder / "micro"))


def _fragment(data: bytes, folder: Path) -> None:
    (folder / "a.config").write_bytes(data)
    requested = config.merge([folder / "a.config"])
    config.lost(requested, config.text(requested))


def _built(data: bytes, folder: Path) -> None:
    """Of a kernel and of a program: ``data`` is the record."""
    definition = MICRO.model_copy(update={"folder": folder / "micro"})
    place = prebuilt.folder_of(definition)
    place.mkdir(parents=True)
    for name in (prebuilt.FILES[ImageType.VMLINUX], prebuilt.SYMBOLS):
        (place / name).write_bytes(lzma.compress(CONTENT))
    (place / prebuilt.CONFIG).write_bytes(CONTENT)
    (place / RECORD).write_bytes(data)
    prebuilt.check_record(definition)
    program = PROGRAM.elsewhere(sources=folder, prebuilt=place)
    program.file.write_bytes(CONTENT)
    assert program.read() in (None, CONTENT)
    image = prebuilt.unpacked(definition, Store(folder / "cache"))
    assert image is None or image.read_bytes() == CONTENT


def _counted(data: bytes, folder: Path) -> None:
    (folder / "vmlinux").write_bytes(data)
    image = arcs.Image(folder / "vmlinux")
    units = arcs.units(image)
    begin, size = arcs.window(units)
    image.physical(begin)
    for unit in units:
        arcs.gcda(unit, [arcs.counts(each, bytes(size), begin) for each in unit.functions], hot=1)
        assert not Path(unit.file).is_absolute() and ".." not in Path(unit.file).parts, unit.file


def _record_of_kernel() -> bytes:
    digest, inputs = sha256(CONTENT), key_of(compile_inputs(MICRO))
    return json.dumps(
        asdict(prebuilt.KernelRecord("", inputs, digest, digest, "gcc", digest, len(CONTENT), 1))
    ).encode()


def _record_of_program() -> bytes:
    sources = key_of({})
    record = programs.ProgramRecord(sources, PROGRAM.flags, "gcc", None, sha256(CONTENT), len(CONTENT), PROGRAM.schema)
    return json.dumps(asdict(record)).encode()


ROWS = (
    Door("kernel", "kernel.toml", _kernel, KERNELS),
    Door("fragment", "a fragment of a kernel's configuration", _fragment, (FRAGMENT,)),
    Door("built", "records of what is kept prebuilt", _built, (_record_of_kernel(), _record_of_program())),
    Door("counted", "a kernel with counters", _counted, (counted(),)),
)
