"""The report of a test or a benchmark: ``imagebuilder.report/1``, which others script against.

What was not measured is null, never 0. Times are ms from spawning the machine, by the host's monotonic clock.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from imagebuilder import documents
from imagebuilder.arch import Firmware
from imagebuilder.errors import InputError
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.measure.budget import BudgetRow
from imagebuilder.measure.change import Change
from imagebuilder.measure.checks import OLDER
from imagebuilder.measure.compare import Comparison
from imagebuilder.measure.density import Density
from imagebuilder.measure.host import Host
from imagebuilder.measure.size import Size
from imagebuilder.measure.statistics import Summary
from imagebuilder.paths import MOST_EPOCH_S
from imagebuilder.words import counted, whole_number

SCHEMA: Literal["imagebuilder.report/1"] = "imagebuilder.report/1"


def _written(value: object) -> object:
    """A moment as text, and not as a number of seconds, which pydantic would take too."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))


Moment = Annotated[AwareDatetime, BeforeValidator(_written)]


def _renamed(name: object) -> object:
    """The name of a check, in a report made when it had another."""
    return OLDER.get(name, name) if isinstance(name, str) else name


def _limited(density: object) -> object:
    """A density as it is written today: older reports name the limiting resource ``gave``."""
    if isinstance(density, Mapping) and "gave" in density and "limited_by" not in density:
        return {"limited_by" if key == "gave" else key: value for key, value in density.items()}
    return density


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Startup(_Section):
    """From spawning the machine to the first real answer."""

    floor_ms: Summary
    """An empty machine of the same kind, from spawning it to QEMU's greeting, measured in turn with the image."""
    ready_ms: Summary
    """From spawning the machine to the first real answer."""
    phases_ms: dict[str, Summary | None]
    """The parts of ready_ms, in order; they add up to it in each run. null: the guest did not report its bounds."""
    floors: Summary | None = None
    """ready_ms as multiples of the floor that was measured beside it."""
    cpu_ms: Summary | None = None
    """The processor time of QEMU (user and system) from spawning it to ready: what a busy host disturbs less."""
    host_ms: Summary | None = None
    """The phase qmp, less the time in which QEMU was ready to run and had no processor: what the host adds to a start,
    whatever else it does."""
    instructions: Summary | None = None
    """Guest instructions from power-on to ready, counted in runs of their own."""
    clock_step_ms: float | None = None
    """The steps of the guest's clock where they were coarse (its kernel found no better clock than its timer in one of
    the starts): the phases after ``machine`` are then no truer than that. null: the clock was a good one."""
    initcalls_ms: dict[str, float] | None = None
    """What the kernel's own start spent, by initcall, largest first; from a run of its own."""
    bare_ms: Summary | None = None
    """From spawning the bare command line to the first real answer, in turn with ready_ms."""
    measuring: Change | None = None
    """ready_ms beside bare_ms, round by round: what measuring costs."""
    measuring_cpu: Change | None = None
    """cpu_ms beside that of the bare command line: the same on a host that has other work."""

    @property
    def times_floor(self) -> float:
        """How many times longer than an empty machine it takes: the median of the rounds' ratios, everywhere; of the
        medians only where an older report does not have it."""
        return self.floors.median if self.floors else self.ready_ms.median / self.floor_ms.median


class Memory(_Section):
    """What an instance takes when it is ready."""

    host_pss_bytes: int | None
    """Of the host: QEMU's proportional set size, of the run in the middle."""
    guest_used_bytes: int | None
    """In the guest: total less available, of the run in the middle."""
    minimum_bytes: int | None
    """The smallest machine in which the image still answers, in steps of 1 MiB."""
    guest_bytes: dict[str, int] | None = None
    """Where the guest's memory is, by kind (kernel, page cache, application, free, …), in the median run; less what is
    counted_twice, where that is given, they add up to the machine's memory."""
    host_bytes: dict[str, int] | None = None
    """QEMU's memory in the median run: rss, pss, private, and floor_pss, which an empty machine takes too."""


class Parts(_Section):
    """What the size is made of, each packed alone; they add up to the whole."""

    kernel: int
    """The kernel."""
    root: int
    """The root."""
    rest: int
    """The other files of the bundle."""

    @classmethod
    def of(cls, packed: Size | None) -> "Parts | None":
        """The parts of a size; of none when that is not known."""
        return cls(kernel=packed.kernel_bytes, root=packed.root_bytes, rest=packed.rest_bytes) if packed else None


class MachineShape(_Section):
    """The machine in which the image was measured."""

    type: str
    """QEMU's machine."""
    memory_mib: int
    """Its memory."""
    cpus: int
    """Its processors."""
    format: str | None = None
    """The format of the disk that it was started from; null: the bundle, by its host."""
    firmware: Firmware | None = None
    """What started that disk."""

    @property
    def words(self) -> str:
        """In a sentence: ``q35 with 128 MiB and 1 CPU, from a disk (qcow2) by UEFI``."""
        started = f", from a disk ({self.format}) by {self.firmware.words}" if self.firmware else ""
        return f"{self.type} with {self.memory_mib} MiB and {counted(self.cpus, 'CPU')}{started}"

    @classmethod
    def of(cls, spec: MachineSpec) -> Self:
        """Of a machine."""
        name, firmware = (spec.medium.format, spec.medium.firmware) if spec.medium else (None, None)
        return cls(type=spec.machine.value, memory_mib=spec.memory_mib, cpus=spec.cpus, format=name, firmware=firmware)


class Check(_Section):
    """One thing that was tried."""

    name: Annotated[str, BeforeValidator(_renamed)]
    """builds, boots, gets_ready, or clones: the names of the tests that try the same (measure/checks.py)."""
    holds: bool | None
    """Whether it went well; null when it was not reached."""
    message: str | None = None
    """What went wrong, in one sentence."""


class ImageReport(_Section):
    """One image."""

    name: str
    """The recipe's name."""
    version: str | None = None
    """The application's version."""
    digest: str | None = None
    """What was measured: the digest of image.json."""
    kernel: str | None = None
    """The kernel's name."""
    root: str | None = None
    """The format of the root."""
    machine: MachineShape | None = None
    """The machine in which it was measured."""
    command: str | None = None
    """The bare QEMU command line of this machine: it can be pasted into a shell."""
    bytes: int | None = None
    """What one would store or send: the bundle packed with tar and zstd -19."""
    parts: Parts | None = None
    """What these bytes are made of."""
    allocated_bytes: int | None = None
    """What the bundle's files take on the disk of the host that measured."""
    contents_bytes: dict[str, int] | None = None
    """Where the bytes of kernel and root went before they were packed: kernel, init, application, libraries, data, and
    what the root's file system takes for itself."""
    startup: Startup | None = None
    """How fast it starts."""
    memory: Memory | None = None
    """What it takes."""
    density: Annotated[Density | None, BeforeValidator(_limited)] = None
    """How many of its clones were up at the same time, and what they took."""
    checks: tuple[Check, ...] = ()
    """What was tried."""
    budget: tuple[BudgetRow, ...] = ()
    """What was promised."""
    comparison: Comparison | None = None
    """It beside a reference: an older report, or another image of the same run."""
    warnings: tuple[str, ...] = ()
    """What is to be known of the figures before anything is concluded from them."""

    @property
    def holds(self) -> bool:
        """Whether nothing fell short."""
        return all(check.holds for check in self.checks) and all(row.holds for row in self.budget)


class Report(_Section):
    """The whole document."""

    model_config = ConfigDict(title="imagebuilder report")

    schema_: Literal["imagebuilder.report/1"] = Field(SCHEMA, alias="schema")
    """The kind of document and its version."""
    host: Host
    """The machine that measured. Figures of two machines, or of two accelerators, are not to be compared."""
    images: tuple[ImageReport, ...]
    """The images, in the order in which they were asked for."""
    pinned: tuple[int, ...] | None = None
    """The processors of the host to which all machines were kept; null: to none, as far as is known."""
    made: Moment | None = None
    """When the document was made."""

    @property
    def holds(self) -> bool:
        """Whether nothing of any image fell short."""
        return all(image.holds for image in self.images)

    def as_json(self) -> dict[str, Any]:
        """The document."""
        return self.model_dump(mode="json", by_alias=True)

    def to_bytes(self) -> bytes:
        """The document as a file, to be read by people too."""
        return json.dumps(self.as_json(), indent=1, ensure_ascii=False).encode() + b"\n"


def of(host: Host, images: Iterable[ImageReport], *, pinned: tuple[int, ...] | None = None) -> Report:
    """A document that is made now, or at ``$SOURCE_DATE_EPOCH`` where that is set."""
    return Report(schema=SCHEMA, host=host, images=tuple(images), pinned=pinned, made=_now())


def _now() -> datetime:
    given = whole_number(os.environ.get("SOURCE_DATE_EPOCH", ""), MOST_EPOCH_S)
    return datetime.fromtimestamp(int(time.time()) if given is None else given, UTC)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the document."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema(mode="serialization")}


def parse(document: Any, *, where: str = "the report") -> Report:
    """The report in a document. Raises InputError that says what is wrong with it; ``where`` names it."""
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema != SCHEMA:
        raise InputError(f"{where} is of schema {schema!r}, and only {SCHEMA!r} is understood: make it again")
    try:
        return Report.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{where}: {documents.mistake_in(error)}: make the report again") from error


def load(path: Path) -> Report:
    """The report in a file. Raises InputError."""
    try:
        document = documents.load_json(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except documents.Damaged as error:
        raise InputError(
            f"{path} is no JSON document: {error}: make the report again", hint="imagebuilder test NAME --json FILE"
        ) from error
    return parse(document, where=str(path))
