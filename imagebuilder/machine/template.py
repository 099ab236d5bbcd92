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
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self, get_args, get_origin

from pydantic import ValidationError

from imagebuilder import documents
from imagebuilder.arch import MachineType
from imagebuilder.bundle import Bundle
from imagebuilder.cache import USED, held
from imagebuilder.errors import InputError
from imagebuilder.machine.circumstances import SCHEMA, Circumstances, differences, here
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.spec import Accelerator, Disk, Forward, MachineSpec, check_network, spec_of
from imagebuilder.recipe import model
from imagebuilder.recipe.model import Ready
from imagebuilder.recipe.values import Egress
from imagebuilder.store import Store, as_read, sha256
from imagebuilder.words import printable

TEMPLATE_JSON, MEMORY, STATE, KERNEL = "template.json", "memory", "state", "kernel"
FOLDER = "templates"
MOST_STATE_BYTES = 64 << 20  # ours have some 30 KB


class TemplateStale(InputError):
    """There is a template of this image, and it was made in other circumstances."""


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
    ready: Ready
    """How one sees that a clone answers."""
    hook: str | None = None
    signal: int = 0
    egress: Egress = Egress.NONE
    """What its clones reach, as the instance could."""
    made: str = ""
    """When it was made (UTC, ISO 8601)."""
    sha256: dict[str, str] = field(default_factory=dict)
    """What its files must be; none are known of a template from before that was written down."""
    sizes: dict[str, int] = field(default_factory=dict)
    """How many bytes each of them has: what is not all there is known without reading it."""

    @cached_property
    def state(self) -> bytes:
        """The devices, as QEMU writes them. Raises InputError when they are damaged."""
        state = documents.read(self.folder / STATE, MOST_STATE_BYTES)
        whole = 0 < len(state) <= MOST_STATE_BYTES
        if not whole or self.sha256.get(STATE, sha256(state)) != sha256(state):
            hint = f"imagebuilder template create {self.name}"
            raise InputError(f"the template {self.folder} is damaged: its {STATE} is not what was kept", hint=hint)
        return state

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return sum(path.stat().st_blocks * 512 for path in self.folder.iterdir())

    @property
    def last_used_s(self) -> float:
        """When it was last asked for, or cloned (Unix time); 0 when it was removed meanwhile."""
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
        )

    def launch(self, *, host_cpus: tuple[int, ...] = ()) -> Launch:
        """How a clone is started; ``host_cpus`` are the processors of this host that it may use."""
        return Launch.cloned(self.folder / MEMORY, host_cpus=host_cpus)

    def _disk(self, number: int, kind: str) -> Disk:
        return Disk(path=self.folder / f"disk{number}", snapshot=kind == "scratch")

    @contextmanager
    def used(self) -> Iterator[Self]:
        """While it is used it is not removed."""
        with _held(self.folder, fcntl.LOCK_SH) as descriptor:
            with suppress(OSError):  # a cache that can only be read
                os.utime(descriptor)
            yield self

    def describe(self) -> dict[str, Any]:
        """``template.json``."""
        values = {key: value for key, value in asdict(self).items() if key != "folder"}
        values["ready"] = as_read(self.ready.model_dump(mode="json", exclude_none=True))
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
                    ready=Ready.model_validate(document.pop("ready")),
                    **document,
                )
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = documents.mistake_in(error) if isinstance(error, ValidationError) else printable(str(error))
            raise InputError(
                f"{folder} holds no template that can be used ({why})", hint="imagebuilder template create NAME"
            ) from error


def _checked(template: Template) -> Template:
    """The template, when each value is of its type, and each file there and as long as it was. Raises TypeError,
    ValidationError, ValueError, OSError for one that is not."""
    for part in (template, template.circumstances):
        for each in fields(part):
            if not _is(getattr(part, each.name), each.type):
                raise TypeError(f"{each.name} is of another type")
    found = {path.name: path.lstat() for path in template.folder.iterdir()}
    for name in [name for name, at in found.items() if not stat.S_ISREG(at.st_mode)]:
        raise ValueError(f"its {name} is no file")
    for name, size_bytes in template.sizes.items():
        if name not in found or found[name].st_size != size_bytes:
            raise ValueError(f"its {name} is damaged")
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
    def recipe(self) -> model.Template:
        """What the recipe says of templates."""
        return self.bundle.image.recipe.template

    @cached_property
    def circumstances(self) -> Circumstances:
        """What is so here and now. Raises ToolMissing."""
        image = self.bundle.image
        return here(self.source, image=image.digest, recipe=self.recipe)

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


def remove(folder: Path) -> bool:
    """Remove a template; False when it is in use. A process that is killed meanwhile leaves none half removed."""
    try:
        with _held(folder, fcntl.LOCK_EX | fcntl.LOCK_NB), Store(folder.parents[1]).scratch() as work:
            folder.rename(work / folder.name)
    except BlockingIOError:
        return False
    except InputError:
        pass  # another process was faster
    return True


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
