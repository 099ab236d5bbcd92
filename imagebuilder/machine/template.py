"""Templates: an instance that was brought to its first answer, stopped and kept, so that others begin where it was.

::

    <cache>/templates/<key>/template.json   what it was made of, and how to go on from it
                            memory          the guest's memory; every clone maps it and changes only its own pages
                            state           the devices, as QEMU writes them
                            kernel          in the kernel's place: a clone's is in its memory already
                            disk0, disk1 …  the root, and scratch disks as they were
                            used            a lock: who holds it uses the template; its time is that of the last use

The key is the hash of all that a clone must have in common with its template (``Circumstances``). A template that
differs in anything is stale: QEMU would refuse its state, or worse, take it.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, get_args, get_origin

from imagebuilder import documents, process
from imagebuilder.bundle import Bundle
from imagebuilder.cache import USED, held
from imagebuilder.errors import InputError
from imagebuilder.machine.spec import (
    PROGRAM,
    Accelerator,
    Disk,
    Forward,
    MachineSpec,
    MachineType,
    MemoryFile,
    argv,
    check_network,
    spec_of,
)
from imagebuilder.recipe.values import Egress
from imagebuilder.store import Store, key_of, sha256

SCHEMA = "imagebuilder.template/1"
TEMPLATE_JSON, MEMORY, STATE, KERNEL = "template.json", "memory", "state", "kernel"
FOLDER = "templates"
CPUINFO = Path("/proc/cpuinfo")


class TemplateStale(InputError):
    """There is a template of this image, and it was made in other circumstances."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a clone has in common with its template. The labels are those of the sentence that says what differs."""

    image: str
    """The digest of the image."""
    machine: str
    """Machine, accelerator, memory, processors and scratch disks."""
    words: str
    """The hash of what QEMU and the kernel are told besides: devices, CPU model, command line."""
    qemu: str
    """QEMU's version, in its own words."""
    cpu: str
    """The host's processor: the guest has measured its clock, and may have seen its features."""
    warm: str
    """What is asked before it is kept."""

    @property
    def key(self) -> str:
        """The name of the template."""
        return key_of([SCHEMA, asdict(self)])


SENTENCES: Mapping[str, str] = {
    "image": "the image has changed since",
    "machine": "it is another machine ({old}; now {new})",
    "words": "QEMU or the kernel is told something else than then",
    "qemu": "it was made by {old}, and this is {new}",
    "cpu": "it was made on another processor ({old}; this is {new})",
    "warm": "the recipe's [template] has changed since",
}


@dataclass(frozen=True)
class Template:
    """A template on disk."""

    folder: Path
    name: str
    circumstances: Circumstances
    guest_ns: int
    """The guest's monotonic clock at which it stands still, or less than that by up to ``unsure_ns``."""
    unsure_ns: int
    machine: MachineType
    accelerator: Accelerator
    memory_mib: int
    cpus: int
    acpi: bool
    network: bool
    ports: tuple[int, ...]
    disks: tuple[str, ...]
    """What its disks are: ``root`` or ``scratch``."""
    ready: dict[str, Any]
    hook: str | None = None
    signal: int = 0
    egress: Egress = Egress.NONE
    """What its clones reach, as the instance could."""
    made: str = ""
    """When it was made (UTC, ISO 8601)."""
    sha256: dict[str, str] = field(default_factory=dict)
    """What its files must be; none are known of a template from before that was written down."""

    @cached_property
    def state(self) -> bytes:
        """The devices, as QEMU writes them. Raises InputError when they are damaged."""
        state = (self.folder / STATE).read_bytes()
        if self.sha256.get(STATE, sha256(state)) != sha256(state):
            hint = f"imagebuilder template create {self.name}"
            raise InputError(f"the template {self.folder} is damaged: its {STATE} is not what was kept", hint=hint)
        return state

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return sum(path.stat().st_blocks * 512 for path in self.folder.iterdir())

    @property
    def last_used_s(self) -> float:
        """When somebody last asked for it, or cloned it (Unix time); 0 when it was removed meanwhile."""
        with suppress(FileNotFoundError):
            return (self.folder / USED).stat().st_mtime
        return 0.0

    def spec(self, forwards: tuple[Forward, ...] = ()) -> MachineSpec:
        """The machine of a clone; ``forwards`` say at which host ports its ports are. Raises InputError where there is
        no network."""
        check_network(self.name, forwards, network=self.network)
        asked = {forward.guest_port: forward for forward in forwards}
        return MachineSpec(
            machine=self.machine,
            accelerator=self.accelerator,
            kernel=self.folder / KERNEL,
            memory_mib=self.memory_mib,
            cpus=self.cpus,
            disks=tuple(self._disk(number, kind) for number, kind in enumerate(self.disks)),
            forwards=(*(asked.pop(port, Forward(None, port)) for port in self.ports), *asked.values()),
            acpi=self.acpi,
            network=self.network,
            egress=self.egress,
            name=self.name,
            foreign=True,  # its kernel has read its command line
            memory_file=MemoryFile(self.folder / MEMORY),
            incoming=True,
        )

    def _disk(self, number: int, kind: str) -> Disk:
        return Disk(path=self.folder / f"disk{number}", snapshot=kind == "scratch")

    @contextmanager
    def used(self) -> Iterator[Self]:
        """While it is used nobody removes it."""
        with _held(self.folder, fcntl.LOCK_SH) as descriptor:
            os.utime(descriptor)
            yield self

    def describe(self) -> dict[str, Any]:
        """``template.json``."""
        values = {key: value for key, value in asdict(self).items() if key != "folder"}
        return {"schema": SCHEMA, "key": self.circumstances.key, **values}

    @classmethod
    def read(cls, folder: Path) -> "Template":
        """A template on disk. Raises InputError when it is none, or one of another version of imagebuilder."""
        try:
            document = documents.load_json(folder / TEMPLATE_JSON)
            if not isinstance(document, dict):
                raise ValueError("it is no table")
            if document.pop("schema") != SCHEMA:
                raise ValueError("its schema is another one")
            document.pop("key")
            return _checked(
                cls(
                    folder=folder,
                    circumstances=Circumstances(**document.pop("circumstances")),
                    machine=MachineType(document.pop("machine")),
                    accelerator=Accelerator(document.pop("accelerator")),
                    egress=Egress(document.pop("egress", Egress.NONE)),
                    ports=tuple(document.pop("ports")),
                    disks=tuple(document.pop("disks")),
                    **document,
                )
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} holds no template that can be used ({error})", hint="imagebuilder template create NAME"
            ) from error


def _checked(template: Template) -> Template:
    """The template, when each value is of its type. Raises TypeError for one that is not."""
    for part in (template, template.circumstances):
        for each in fields(part):
            if not _is(getattr(part, each.name), each.type):
                raise TypeError(f"{each.name} is of another type")
    return template


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a type as it is annotated."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is(each, inner[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(inner[1] is Any or _is(each, inner[1]) for each in value.values())
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


@dataclass(frozen=True)
class Wanted:
    """The template that an image on a machine would have."""

    bundle: Bundle
    source: MachineSpec
    """The machine that is brought to its first answer: the image's own."""

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        accelerator: Accelerator,
        *,
        memory_mib: int | None = None,
        cpus: int | None = None,
        egress: Egress | None = None,
    ) -> Self:
        """The image as its machine expects it, or with other memory, processors and ways out."""
        return cls(bundle, spec_of(bundle, accelerator=accelerator, memory_mib=memory_mib, cpus=cpus, egress=egress))

    @property
    def recipe(self) -> dict[str, Any]:
        """What the recipe says of templates."""
        return dict(self.bundle.image.recipe.get("template", {}))

    @cached_property
    def circumstances(self) -> Circumstances:
        """What is so here and now. Raises ToolMissing."""
        source = self.source
        disks = " ".join(f"{disk.size_mib}M" for disk in source.scratch)
        shape = f"{source.machine} {source.accelerator} {source.memory_mib}M {source.cpus} CPU {disks}".strip()
        return Circumstances(
            image=self.bundle.image.digest,
            machine=shape,
            words=key_of(_words(source))[:12],
            qemu=qemu_says(),
            cpu=_cpu(),
            warm=key_of(self.recipe)[:12],
        )

    def find(self, store: Store) -> Template:
        """The template of this image on this machine. Raises TemplateStale for one of other circumstances, InputError
        when there is none at all."""
        folder = store.root / FOLDER / self.circumstances.key
        if folder.is_dir():
            with Template.read(folder).used() as template:
                return template
        name = self.bundle.image.name
        others = [template for template in templates(store) if template.name == name]
        if not others:
            raise InputError(f"there is no template of {name}", hint=f"imagebuilder template create {name}")
        nearest = min(others, key=lambda other: len(differences(other.circumstances, self.circumstances)))
        why = "; ".join(differences(nearest.circumstances, self.circumstances).values())
        raise TemplateStale(
            f"the template of {name} cannot be used: {why}",
            hint=f"imagebuilder template create {name}, or run with --refresh-template",
        )


def templates(store: Store) -> Iterator[Template]:
    """All templates, in the order of their names; what is none is passed over."""
    found = []
    for folder in sorted((store.root / FOLDER).glob("*/")):
        with suppress(InputError):
            found.append(Template.read(folder))
    yield from sorted(found, key=lambda template: (template.name, template.made))


def differences(old: Circumstances, new: Circumstances) -> dict[str, str]:
    """What differs, each in words."""
    was, now = asdict(old), asdict(new)
    return {
        key: sentence.format(old=was[key], new=now[key]) for key, sentence in SENTENCES.items() if was[key] != now[key]
    }


def remove(folder: Path) -> bool:
    """Remove a template; False when somebody uses it. Who is killed meanwhile leaves none by halves."""
    try:
        with _held(folder, fcntl.LOCK_EX | fcntl.LOCK_NB), Store(folder.parents[1]).scratch() as work:
            folder.rename(work / folder.name)
    except BlockingIOError:
        return False
    except InputError:
        pass  # somebody was faster
    return True


def qemu_says() -> str:
    """QEMU's version, in its own words: of two packages of one version both. Raises ToolMissing, ToolFailed."""
    return process.run([PROGRAM, "--version"], timeout_s=60).text.splitlines()[0].strip()


@contextmanager
def _held(folder: Path, how: int) -> Iterator[int]:
    """The lock, as a file descriptor. Raises InputError when the template is gone, BlockingIOError."""
    with ExitStack() as stack:
        try:
            descriptor = stack.enter_context(held(folder, how))
        except FileNotFoundError as error:
            message = f"the template {folder} was removed meanwhile"
            raise InputError(message, hint="imagebuilder template list") from error
        yield descriptor


def _words(spec: MachineSpec) -> list[str]:
    """QEMU's words but for what differs between machines that can be clones of each other: paths and ports."""
    bare = replace(
        spec,
        kernel=Path("kernel") if spec.kernel else None,
        initrd=Path("initrd") if spec.initrd else None,
        disks=tuple(replace(disk, path=Path("disk") if disk.path else None) for disk in spec.disks),
        forwards=(),
        memory_file=MemoryFile(Path(MEMORY), writable=True),
    )
    return argv(bare, wiring=None)


def _cpu() -> str:
    """The host's processor, as Linux names it."""
    for line in CPUINFO.read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
