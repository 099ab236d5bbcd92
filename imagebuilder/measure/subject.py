"""What is measured: an image of ours, or a foreign machine as a file describes it.

Such a machine (a distribution's cloud image, a unikernel) has no init of ours. Its phases are not known, and it is
ready when it answers or prints what the file says, seen from outside alone.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails

from imagebuilder import documents
from imagebuilder.arch import TARGET, MachineType
from imagebuilder.bundle import Bundle
from imagebuilder.errors import Problem, RecipeError
from imagebuilder.images import Medium
from imagebuilder.machine.launch import COLD, Launch
from imagebuilder.machine.spec import Accelerator, Disk, Forward, MachineSpec, spec_of
from imagebuilder.machine.template import Template
from imagebuilder.paths import is_file
from imagebuilder.recipe import fields
from imagebuilder.recipe.base import RecipeTable, mistake, mistake_at
from imagebuilder.recipe.locate import line_of, locate
from imagebuilder.recipe.messages import explain
from imagebuilder.recipe.model import Ready
from imagebuilder.recipe.values import Egress
from imagebuilder.words import shortened


def _readable(name: str, info: ValidationInfo) -> str:
    """A file that is there, from the folder of the description."""
    if isinstance(info.context, Path) and not is_file(info.context / name):
        raise mistake(f"there is no file '{shortened(name)}'", f"paths begin at {info.context}")
    return name


File = Annotated[str, Field(min_length=1), AfterValidator(_readable)]


# What other keys say, or what we rely on: given twice, one of both would have no effect.
OURS: Mapping[str, str] = {
    "type": "use machine.type",
    "acpi": "use machine.acpi",
    "accel": "use --accel",
    "memory-backend": "use machine.memory_mib",
    "kernel": "use boot.kernel",
    "initrd": "use boot.initrd",
    "append": "use boot.cmdline",
    "firmware": "use boot.firmware",
}


def _property(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise mistake(f"'{name}' is no name of a machine's property", 'as in { pit = "off", ioapic2 = false }')
    if name in OURS:
        raise mistake(f"'{name}' is not set here", OURS[name])
    return name


def _global(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*\.[A-Za-z][A-Za-z0-9_-]*", name):
        raise mistake(f"'{name}' is no DRIVER.PROPERTY", 'as in { "virtio-net-pci.mq" = false }')
    return name


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    if not isinstance(value, str | int) or not text or not text.isprintable():
        raise mistake("expected a text, a whole number, true or false")
    return text


def _cpu_model(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(,[A-Za-z0-9_.+=-]+)*", text):
        raise mistake(
            f"'{text}' is no model of a processor",
            f"as QEMU's -cpu has it: 'max,-smap' (`{TARGET.qemu} -cpu help`)",
        )
    return text


Setting = Annotated[str, BeforeValidator(_setting)]
Properties = dict[Annotated[str, AfterValidator(_property)], Setting]
GlobalProperties = dict[Annotated[str, AfterValidator(_global)], Setting]


class DiskFormat(StrEnum):
    """How a disk's file is written."""

    RAW = "raw"
    QCOW2 = "qcow2"


class ForeignDisk(RecipeTable):
    """A disk of the machine. Its file is never changed: what the guest writes is gone with it."""

    file: File
    """The file with its content."""
    format: DiskFormat = DiskFormat.RAW
    """How the file is written."""


class Hardware(RecipeTable):
    """The virtual machine."""

    type: MachineType = MachineType.Q35
    """QEMU's machine."""
    memory_mib: fields.Mebibytes = 256
    """Its memory in MiB."""
    cpus: fields.Count = 1
    """Its virtual processors."""
    ports: tuple[fields.Port, ...] = ()
    """TCP ports of the guest that can be reached from the host; the one of [ready] is added by itself."""
    network: fields.Yes = True
    """Whether it has a network."""
    egress: Egress = Egress.NONE
    """What it can reach, as machine.egress of a recipe."""
    acpi: fields.Yes = True
    """Whether it has ACPI tables; a microvm without them names its devices on the kernel's command line."""
    cpu_model: Annotated[str, AfterValidator(_cpu_model)] | None = None
    """The processor, as QEMU's -cpu has it; else the one that our own guests get."""
    properties: Properties = Field(default_factory=dict)
    """Properties of QEMU's machine (-M), such as { pit = "off" }; true is on, false is off."""
    global_properties: GlobalProperties = Field(default_factory=dict)
    """Properties of its devices (-global), each DRIVER.PROPERTY."""


class ForeignStart(RecipeTable):
    """What the machine starts. Without a kernel its firmware starts the first disk."""

    kernel: File | None = None
    """A kernel that QEMU can load."""
    initrd: File | None = None
    """Its initial file system."""
    cmdline: fields.Line = ""
    """Its command line; no word is added."""
    firmware: File | None = None
    """Another firmware than QEMU's own."""


class Foreign(RecipeTable):
    """A foreign machine."""

    name: fields.Name
    """Its name in reports: a-z, 0-9 and '-'."""
    version: fields.Version | None = None
    """What is in it."""
    machine: Hardware = Hardware()
    """The virtual machine."""
    boot: ForeignStart = ForeignStart()
    """What it starts."""
    disks: tuple[ForeignDisk, ...] = ()
    """Its disks, in order."""
    ready: Ready
    """How one sees that it is ready: http, tcp or console, as in a recipe."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """Something to start, and a sign that can be seen from outside."""
        boot, ready = raw.get("boot", {}), raw.get("ready", {})
        if not raw.get("disks") and isinstance(boot, dict) and not boot.get("kernel"):
            yield mistake_at(("boot", "kernel"), "there is nothing to start", "give boot.kernel or [[disks]]")
        if isinstance(ready, dict) and "exit" in ready:
            yield mistake_at(("ready", "exit"), "only our own init reports an exit status", "use http, tcp or console")


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to measure. ``bundle`` is the image when it is one of ours, ``template`` what its clones begin from,
    ``copied`` whether they are copies of a running one."""

    name: str
    spec: MachineSpec
    ready: Ready
    version: str | None = None
    bundle: Bundle | None = None
    template: Template | None = None
    copied: bool = False
    launch: Launch = COLD


def of_bundle(
    bundle: Bundle, accelerator: Accelerator, *, memory_mib: int | None = None, medium: Medium | None = None
) -> Subject:
    """An image of ours; several kernels of one recipe differ by their folders, and what firmware starts by that."""
    spec = spec_of(bundle, accelerator=accelerator, memory_mib=memory_mib, medium=medium)
    more = f".{medium.format}, {medium.firmware}" if medium else ""
    return Subject(f"{bundle.folder.name}{more}", spec, bundle.ready, bundle.image.version, bundle)


def of_template(template: Template, name: str, *, copied: bool = False) -> Subject:
    """Clones of a template. They keep no promise of the recipe: its budget is that of a cold start."""
    return Subject(name, template.spec(), template.ready, template=template, copied=copied, launch=template.launch())


def of_file(path: Path, accelerator: Accelerator) -> Subject:
    """A foreign machine. Raises RecipeError with every mistake of the file: its line, key, and what is right."""
    return foreign_subject(load(path), path.absolute().parent, accelerator)


def foreign_subject(foreign: Foreign, folder: Path, accelerator: Accelerator) -> Subject:
    """The machine of a description whose files begin at ``folder``."""
    hardware, boot, asked = foreign.machine, foreign.boot, foreign.ready.port
    ports = dict.fromkeys((*hardware.ports, *((asked,) if asked else ())))

    def at(name: str | None) -> Path | None:
        return None if name is None else folder / name

    spec = MachineSpec(
        machine=hardware.type,
        accelerator=accelerator,
        kernel=at(boot.kernel),
        initrd=at(boot.initrd),
        cmdline=boot.cmdline,
        memory_mib=hardware.memory_mib,
        cpus=hardware.cpus,
        disks=tuple(Disk(path=at(each.file), format=each.format.value, snapshot=True) for each in foreign.disks),
        forwards=tuple(Forward(None, port) for port in ports),
        network=hardware.network,
        egress=hardware.egress,
        channel=False,
        acpi=hardware.acpi,
        name=foreign.name,
        firmware=at(boot.firmware),
        foreign=True,
        cpu_model=hardware.cpu_model,
        properties=tuple(hardware.properties.items()),
        global_properties=tuple(hardware.global_properties.items()),
    )
    return Subject(foreign.name, spec, foreign.ready, foreign.version)


def load(path: Path) -> Foreign:
    """The description in a file. Raises RecipeError."""
    try:
        text, document = documents.toml_of(documents.read(path, documents.MOST_TOML_BYTES))
    except OSError as error:
        raise _one(path, f"it cannot be read: {error.strerror}") from error
    except documents.Damaged as error:
        raise RecipeError((Problem(path, error.line, "", str(error)),)) from error
    try:
        return Foreign.model_validate(document, context=path.absolute().parent)
    except ValidationError as error:
        lines = locate(text)
        found = []
        for each in error.errors(include_url=False):
            message, hint = explain(each)
            place = tuple(step for step in each["loc"] if step != "[key]")
            key = ".".join(step for step in place if isinstance(step, str))
            found.append(Problem(path, line_of(lines, place), key, message, hint))
        raise RecipeError(tuple(sorted(found, key=lambda problem: problem.line))) from error


def _one(path: Path, message: str) -> RecipeError:
    return RecipeError((Problem(path, 0, "", message),))
