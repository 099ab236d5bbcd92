"""What a recipe may hold. The texts under the fields are the descriptions of its JSON Schema.

Paths in the image are absolute; paths beside the recipe are relative to its folder. Validate with the recipe's folder
as the context (``Recipe.model_validate(document, context=folder)``): then the files that it names must be there.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails

from imagebuilder.recipe import fields
from imagebuilder.recipe.base import RecipeTable, found, mistake, mistake_at
from imagebuilder.recipe.cross_checks import (
    exactly_one,
    listened_for_in_vain,
    repeated,
    repeated_paths,
    unreachable,
    warmed_in_vain,
)
from imagebuilder.recipe.docstrings import docstrings
from imagebuilder.recipe.values import (
    AUTO_KERNEL,
    NONROOT,
    Capability,
    CloneSignal,
    Egress,
    FileKind,
    HelperReadyKind,
    LimitName,
    PrepareKind,
    ReadyKind,
    Restart,
    RootFormat,
    StopSignal,
)
from imagebuilder.sources import SOURCES
from imagebuilder.sources.kind import SourceTable
from imagebuilder.transforms.options import BindOptions, ByteCodeOptions, SlimOptions


def _one_of(*keys: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in keys]})


if TYPE_CHECKING:
    Source = SourceTable
else:
    Source = Annotated[Union[tuple(kind.model for kind in SOURCES.values())], Field(discriminator="type")]  # noqa: UP007


def _several(raw: Any) -> Any:
    """One [source] is written as a table, several are a list of tables."""
    if isinstance(raw, Mapping | RecipeTable):
        return [raw]
    if not isinstance(raw, list | tuple):
        raise mistake(f"expected a table [source], or several [[source]], found {found(raw)}")
    return raw


def _told_by_sources(make: Callable[[], Any]) -> Any:
    """A field that must be given, unless a kind of source may know it."""
    return Field(default_factory=make) if any(kind.tells_application for kind in SOURCES.values()) else Field()


class Application(RecipeTable):
    """The one program that the image is for."""

    command: fields.ImagePath = _told_by_sources(str)
    """The program: its absolute path in the image."""
    arguments: tuple[fields.Text, ...] = ()
    """Its arguments."""
    environment: Mapping[fields.Variable, fields.Text] = {}
    """Its environment, which is otherwise empty."""
    user: fields.User = NONROOT
    """Whom it runs as: a name, "uid", "uid:gid" or "name:uid"; default an ordinary user of the number 65532."""
    capabilities: tuple[Capability, ...] = ()
    """What of root's rights it and its children have, by the names of capabilities(7) without CAP_; root has no others
    either."""
    directory: fields.ImagePath = "/"
    """Its working directory."""
    stop_signal: StopSignal = StopSignal.TERM
    """The signal that asks it to end."""
    stop_grace_ms: fields.Milliseconds = 5000
    """How long it may take to end before it is killed, in ms."""
    limits: Mapping[LimitName, fields.LimitValue] = {}
    """Resource limits: a number, "unlimited" or "soft:hard"."""
    secrets: tuple[fields.SecretName, ...] = Field(default=(), max_length=16)
    """Names of secrets that it needs (``run --secret NAME=FILE``): each is the file /run/credentials/NAME, in memory,
    which its user alone reads; CREDENTIALS_DIRECTORY names the folder."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """No capability and no secret twice."""
        for key in ("capabilities", "secrets"):
            given = raw.get(key)
            yield from repeated(list(enumerate(given)), key) if isinstance(given, list | tuple) else ()


class FileEntry(RecipeTable):
    """A file, folder or link that is added to the image; it stands over what the sources brought."""

    model_config = _one_of(*FileKind)

    path: fields.ImagePath
    """Where it stands in the image."""
    source: fields.FileBeside | None = None
    """A file beside the recipe, copied as it is."""
    template: fields.FileBeside | None = None
    """A jinja2 template beside the recipe; it sees the variables of [variables], and the recipe as "recipe"."""
    text: str | None = None
    """The content itself."""
    directory: Literal[True] | None = None
    """true: an empty folder."""
    symlink: fields.Text | None = Field(default=None, min_length=1)
    """A symbolic link to this path."""
    mode: fields.Mode = Field(default_factory=str)
    """The permissions in octal; else "0755" for folders and sources that may be executed, "0644" for other files."""
    owner: fields.User = "root"
    """The owner: a name, "uid", "uid:gid" or "name:uid"."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """One content; no mode where there can be none."""
        yield from exactly_one(raw, FileKind)
        if "symlink" in raw and "mode" in raw:
            yield mistake_at(("mode",), "a symbolic link has no mode of its own", "leave it out")

    @property
    def kind(self) -> FileKind:
        """Which of the five it is."""
        return next(kind for kind in FileKind if getattr(self, kind.value) is not None)

    @model_validator(mode="after")
    def _with_mode(self, info: ValidationInfo) -> Self:
        if not self.mode:
            folder = info.context if isinstance(info.context, Path) else None
            object.__setattr__(self, "mode", self._usual_mode(folder))  # frozen for everybody else
        return self

    def _usual_mode(self, folder: Path | None) -> str:
        """Whether a source may be executed counts; the rest of its mode is a matter of the user's umask."""
        if self.kind is FileKind.SYMLINK:
            return "0777"
        runs = self.source and folder and (folder / self.source).stat().st_mode & 0o100
        return "0755" if runs or self.kind is FileKind.DIRECTORY else "0644"


class Prepare(RecipeTable):
    """A command that runs once, when the image is built, in a machine of its own that has all files of the sources, not
    only those that are kept; what it adds, changes and removes is so in the image. It runs as it would the next time:
    the clock begins at SOURCE_DATE_EPOCH (2026-01-01), random numbers come from a fixed seed."""

    model_config = _one_of(*PrepareKind)

    command: tuple[fields.Text, ...] = Field(default=(), min_length=1)
    """The program, by its path in the image or a name in PATH, and its arguments."""
    postinst: tuple[fields.Package, ...] = Field(default=(), min_length=1)
    """Instead of a command: packages of a source of the type "debian" whose own postinst scripts are run, as when they
    are installed."""
    user: fields.User = "root"
    """Whom it runs as: a name, "uid", "uid:gid" or "name:uid"."""
    environment: Mapping[fields.Variable, fields.Text] = {}
    """Variables besides PATH, HOME, LC_ALL, SOURCE_DATE_EPOCH and fixed seeds for Perl and Python."""
    directory: fields.ImagePath = "/"
    """Its working directory."""
    network: fields.Yes = False
    """Whether it reaches what the host reaches, but for the host's loopback and a cloud's metadata. Its clock is then
    the host's, and the same result the next time cannot be promised."""
    memory_mib: fields.Mebibytes = 512
    """The memory that it has, in MiB: three quarters of it can be written."""
    timeout_s: fields.Seconds = 600
    """After so many seconds of this host's it is ended, and the build has failed."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """A command or packages; a package's script runs as root."""
        yield from exactly_one(raw, PrepareKind)
        if "postinst" in raw and raw.get("user", "root") != "root":
            yield mistake_at(("user",), "a package's postinst runs as root", "leave it out")


class HelperReady(RecipeTable):
    """How init sees that a helper is ready: exactly one of port, file, line."""

    model_config = _one_of(*HelperReadyKind)

    port: fields.Port | None = None
    """Something listens on this TCP port of the guest."""
    file: fields.ImagePath | None = None
    """This path is there, as that of a Unix socket."""
    line: fields.Line | None = Field(default=None, min_length=1)
    """A line that it prints holds this text. What it prints then goes through a pipe: a program may keep its lines back
    that would print them at once to a terminal."""
    timeout_s: fields.Seconds = 30
    """After so many seconds of the guest's the machine is ended."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """One way to see it."""
        yield from exactly_one(raw, HelperReadyKind)

    @property
    def kind(self) -> HelperReadyKind:
        """Which of the three it is."""
        return next(kind for kind in HelperReadyKind if getattr(self, kind.value) is not None)


class Helper(RecipeTable):
    """A process that runs beside the application: it is started before it, and has to be ready first. When the
    application ends, so do its helpers; a helper that ends for good ends the machine."""

    command: fields.Command
    """The program: its absolute path in the image, and its arguments."""
    name: fields.Line = Field(default_factory=str, max_length=64)
    """What it is called when something goes wrong; default the last part of its path."""
    user: fields.User = NONROOT
    """Whom it runs as: a name, "uid", "uid:gid" or "name:uid"; default an ordinary user of the number 65532. It has
    none of root's rights."""
    environment: Mapping[fields.Variable, fields.Text] = Field(default={}, max_length=64)
    """Its environment, which is otherwise empty."""
    restart: Restart = Restart.NEVER
    """Whether it is started again when it fails (an exit status other than 0, or a signal), a tenth of a second later;
    not when it failed five times in a row within ten seconds of its start."""
    ready: HelperReady | None = None
    """What is waited for before the next helper is started, and the application; else its start is enough."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name:
            object.__setattr__(self, "name", self.command[0].rpartition("/")[2])  # frozen for everybody else
        return self


class Kernel(RecipeTable):
    """The kernel that the image boots."""

    name: fields.KernelName = AUTO_KERNEL
    """A kernel definition: a folder of kernels/; auto: the prebuilt micro, or standard where the recipe needs more
    (processors, an IPv6 address to listen on, a file system, a fragment)."""
    fragments: tuple[fields.Fragment, ...] = ()
    """Kernel configuration fragments: files beside the recipe, or names of shared ones (kernels/fragments), as in
    "ipv6". With any that no prebuilt kernel has, the kernel is compiled for this recipe."""
    cmdline: fields.Line = ""
    """Words that are added to the kernel's command line."""


class Root(SlimOptions, ByteCodeOptions, BindOptions):
    """The image's root file system."""

    format: RootFormat = RootFormat.AUTO
    """How it is stored: an initramfs, an image that is used where it lies in memory, a read-only disk (both with a
    tmpfs over them), or whichever suits its size (auto)."""
    writable: fields.Yes | None = None
    """Whether the application writes outside of mounts; if not, it is used as it is, without a tmpfs over it. Default:
    whether its user may write to a file or folder of it."""
    keep: fields.KeepBeside | None = None
    """A list beside the recipe of the files that the application opens, which ``imagebuilder trace`` writes: of sources
    that are slimmed these are kept, and not all that an interpreter could need."""
    pages: fields.PagesBeside | None = None
    """A list beside the recipe of the pages that a start uses, which ``imagebuilder learn`` writes: a disk then has
    just these read ahead, and not the beginning of the program and its libraries."""
    mounts: tuple[fields.MountLine, ...] = ()
    """File systems to mount before the application starts: "TYPE TARGET OPTIONS", options as in fstab."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """No list of pages for a root that is in memory already."""
        if "pages" in raw and raw.get("format") in (RootFormat.INITRAMFS, RootFormat.MEMORY):
            said = f'a root in memory (format = "{raw["format"]}") reads nothing ahead'
            yield mistake_at(("pages",), said, 'leave it out, or write format = "erofs"')


class Disk(RecipeTable):
    """An empty scratch disk."""

    size_mib: fields.Mebibytes
    """Its size in MiB."""


class Machine(RecipeTable):
    """The virtual machine that the image expects."""

    memory_mib: fields.Mebibytes = 64
    """Its memory in MiB."""
    cpus: fields.Count = 1
    """Its virtual processors."""
    network: fields.Yes = True
    """Whether it has a network: a card, and the loopback."""
    egress: Egress = Egress.NONE
    """What the guest can reach: "none" is nothing but who connects to its ports; "full" is what the host reaches,
    but for the host's loopback and a cloud's metadata."""
    ports: tuple[fields.Port, ...] = ()
    """TCP ports of the guest that can be reached from the host; the one of [ready] is added by itself."""
    disks: tuple[Disk, ...] = ()
    """Empty scratch disks: /dev/vda and so on, behind the root disk when there is one."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """No port twice, and none without a network."""
        ports = raw.get("ports")
        if ports and raw.get("network") is False:
            yield mistake_at(("ports",), "a machine without a network has no ports", "leave one of both out")
        if raw.get("egress") == Egress.FULL and raw.get("network") is False:
            yield mistake_at(("egress",), "a machine without a network reaches nothing", "leave one of both out")
        yield from repeated(list(enumerate(ports)), "ports") if isinstance(ports, list | tuple) else ()


class Http(RecipeTable):
    """Ready when an HTTP request is answered as expected."""

    port: fields.Port
    """The guest's TCP port."""
    path: fields.UrlPath = "/"
    """What is asked for."""
    status: fields.HttpStatus = 200
    """The status that the answer must have."""
    body: fields.Text | None = Field(default=None, min_length=1)
    """A text that the answer's body must contain."""


class Tcp(RecipeTable):
    """Ready when a TCP connection is accepted and, if asked for, answers as expected."""

    port: fields.Port
    """The guest's TCP port."""
    send: str | None = Field(default=None, min_length=1)
    """What is sent, as UTF-8."""
    expect: str | None = Field(default=None, min_length=1)
    """A text that the answer must contain."""


class Ready(RecipeTable):
    """How one sees that the application is ready: exactly one of http, tcp, console, exit."""

    model_config = _one_of(*ReadyKind)

    http: Http | None = None
    """An HTTP request is answered."""
    tcp: Tcp | None = None
    """A TCP connection is accepted, or answers."""
    console: fields.Expression | None = Field(default=None, min_length=1)
    """A line of the console matches this regular expression (it is searched for, not anchored)."""
    exit: fields.ExitStatus | None = None
    """The application ends with this status."""
    timeout_s: fields.Seconds = 60
    """After so many seconds it counts as not ready."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """One way to see it."""
        yield from exactly_one(raw, ReadyKind)

    @property
    def kind(self) -> ReadyKind:
        """Which of the four it is."""
        return next(kind for kind in ReadyKind if getattr(self, kind.value) is not None)

    @property
    def is_told(self) -> bool:
        """Whether the recipe says it, and does not leave it to its sources."""
        return any(getattr(self, kind.value) is not None for kind in ReadyKind)

    @property
    def port(self) -> int | None:
        """The guest's port that is asked, if one is."""
        asked = self.http or self.tcp
        return asked.port if asked else None


class Template(RecipeTable):
    """How an instance becomes a template, and what its clones do first."""

    warm: tuple[fields.Text, ...] = ()
    """Asked before the instance is kept: paths for an HTTP application, what is sent to another one; nothing given is
    what [ready] asks."""
    hook: fields.ImagePath | None = None
    """A program of the image that each clone runs before the application goes on; it runs as the application's user."""
    signal: CloneSignal | None = None
    """A signal that the application of each clone gets when it goes on, so that it takes new random numbers and its
    /run/instance."""


class Bench(RecipeTable):
    """How ``imagebuilder bench --vs`` judges."""

    within_percent: fields.Count | None = None
    """A time to ready that differs by less, in percent, is the same; default 10."""


class Budget(RecipeTable):
    """What the recipe promises and ``imagebuilder test`` checks; what is not given is not checked."""

    image_bytes: fields.Count | None = None
    """The image as it is stored or sent: its bundle packed with tar and zstd -19, in bytes."""
    memory_mib: fields.Mebibytes | None = None
    """It gets ready in a machine with so little memory, in MiB."""
    startup_floors: fields.Count | None = None
    """From spawning the machine to ready, as a multiple of an empty machine's start in the same run."""
    guest_used_bytes: fields.Count | None = None
    """Memory that is used inside the guest when it is ready, in bytes."""
    host_pss_bytes: fields.Count | None = None
    """Memory that the machine takes from the host when it is ready (proportional set size), in bytes."""
    instructions: fields.Count | None = None
    """Guest instructions from power-on to ready, which are the same on a busy host; the median of five counts."""


def _untold(raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    """No command or no [ready], and no source that may know one, although there are kinds that may."""
    if Application.model_fields["command"].is_required():
        return
    sources, application = raw.get("source"), raw.get("application", {})
    rows = sources if isinstance(sources, list | tuple) else [sources]
    kinds = [row.get("type") if isinstance(row, Mapping) else getattr(row, "type", None) for row in rows]
    known = [SOURCES[kind] for kind in kinds if isinstance(kind, str) and kind in SOURCES]
    silent = known and not any(kind.tells_application for kind in known)
    if silent and isinstance(application, Mapping) and "command" not in application:
        place = ("application", "command") if "application" in raw else ("application",)
        yield mistake_at(place, "this key is missing", "no source of this recipe knows the program")
    if "ready" not in raw and not any(kind.tells_ports for kind in known):
        yield mistake_at(("ready",), "this key is missing", docstrings(Recipe)["ready"])


class Recipe(RecipeTable):
    """One application as a bootable image."""

    name: fields.Name
    """The image's name: a-z, 0-9 and '-'."""
    version: fields.Version
    """The application's version."""
    summary: fields.Line
    """What it is, in one line."""
    source: Annotated[
        tuple[Source, ...], BeforeValidator(_several, json_schema_input_type=Source | tuple[Source, ...])
    ] = Field(min_length=1)
    """Where the application comes from: [source], or several [[source]], of which the later stand over the earlier."""
    application: Application = _told_by_sources(Application)
    """The one program that the image is for."""
    files: tuple[FileEntry, ...] = ()
    """Files, folders and links to add."""
    prepare: tuple[Prepare, ...] = ()
    """Commands that run when the image is built, in their order, each in a machine of its own."""
    helper: tuple[Helper, ...] = Field(default=(), max_length=8)
    """Processes that run beside the application, in the order in which they are started."""
    variables: Mapping[fields.Variable, fields.Value] = {}
    """Values for the templates."""
    kernel: Kernel = Kernel()
    """The kernel that the image boots."""
    root: Root = Root()
    """The image's root file system."""
    machine: Machine = Machine()
    """The virtual machine that the image expects."""
    ready: Ready = _told_by_sources(Ready.model_construct)
    """How one sees that the application is ready: exactly one of http, tcp, console, exit. A
    container image that exposes one TCP port is ready when that port accepts a connection."""
    template: Template = Template()
    """How instances are cloned from a warm one."""
    budget: Budget = Budget()
    """What is promised and tested."""
    bench: Bench = Bench()
    """How a comparison with another image, or with an earlier one, is judged."""

    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The folder that the recipe's relative paths start from."""
        return self._folder

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """No two files at one path; no variable that hides the recipe."""
        files = raw.get("files")
        if isinstance(files, list | tuple):
            yield from repeated_paths(files)
        yield from _untold(raw)
        template, ready = raw.get("template"), raw.get("ready")
        if isinstance(template, Mapping) and isinstance(ready, Mapping) and isinstance(template.get("warm"), list):
            yield from warmed_in_vain(template["warm"], ready)
        machine = raw.get("machine")
        if isinstance(machine, Mapping) and machine.get("network") is False and isinstance(ready, Mapping):
            yield from unreachable(ready)
        if isinstance(machine, Mapping) and machine.get("network") is False and isinstance(raw.get("helper"), list):
            yield from listened_for_in_vain(raw["helper"])
        variables = raw.get("variables")
        if isinstance(variables, Mapping) and "recipe" in variables:
            yield mistake_at(("variables", "recipe"), "templates see the recipe itself under this name", "rename it")

    @model_validator(mode="after")
    def _completed(self, info: ValidationInfo) -> Self:
        """Remember the folder, and forward the port that readiness is asked at."""
        if isinstance(info.context, Path):
            self._folder = info.context
        port = self.ready.port
        if port is not None and port not in self.machine.ports:
            machine = self.machine.model_copy(update={"ports": (*self.machine.ports, port)})
            object.__setattr__(self, "machine", machine)  # frozen for everybody else
        return self
