"""What a kernel is: the table ``kernels/NAME/kernel.toml`` as a value, and what it depends on.

A kernel is either *compiled* (``[source]`` and ``[config]``) or *packaged*: a distribution's own (``[package]``).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from imagebuilder import documents, paths
from imagebuilder.arch import ARCHITECTURES, Architecture, Firmware, ImageType, MachineType
from imagebuilder.errors import KernelError
from imagebuilder.events import Say, Warned, silent
from imagebuilder.kernel import config, patches
from imagebuilder.sources.hints import did_you_mean
from imagebuilder.store import key_of, sha256
from imagebuilder.words import printable

FILE = "kernel.toml"
MOST_SAID = 10  # mistakes of one file
REVISION = 2  # of how kernels are compiled: a new number makes every kernel a new one

Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Version = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9][A-Za-z0-9.+~:-]*$")]
ShortName = Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9._-]*$")]
Absolute = Annotated[str, StringConstraints(pattern="^/")]


# What a product is called in an image.
FILE_NAMES: Mapping[ImageType, str] = {ImageType.VMLINUX: ImageType.VMLINUX, ImageType.BZIMAGE: "vmlinuz"}


def _architecture(name: str) -> str:
    if name not in ARCHITECTURES:
        raise ValueError(f"{name!r} is not known: write {' or '.join(ARCHITECTURES)}")
    return name


class DefinitionTable(BaseModel):
    """A table of the definition."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(DefinitionTable):
    """Where the kernel's source is: a file in a distribution's package, or a URL. ``sha256`` is the tarball's."""

    sha256: Sha256
    url: Annotated[str, StringConstraints(pattern="^https?://")] | None = None
    release: ShortName | None = None
    package: ShortName | None = None
    version: Version | None = None
    file: Absolute | None = None

    @model_validator(mode="after")
    def _one_place(self) -> "Source":
        named = (self.release, self.package, self.version, self.file)
        if any(named) if self.url else None in named:
            raise ValueError("write either url, or all of release, package, version and file")
        return self


class Config(DefinitionTable):
    """What is switched on over ``allnoconfig``: fragments by name (later ones win), patches, words for the compiler.

    ``variants`` are further fragments, set by set, with which the kernel is kept prebuilt too. ``profile`` is an
    archive of what ran at starts, which lies in the source's tree when it is compiled (``arcs.py``).
    """

    fragments: Annotated[tuple[ShortName, ...], Field(min_length=1)]
    variants: tuple[Annotated[tuple[ShortName, ...], Field(min_length=1)], ...] = ()
    patches: tuple[ShortName, ...] = ()
    compiler_flags: tuple[str, ...] = ()
    profile: ShortName | None = None


class Package(DefinitionTable):
    """A distribution's ready kernel. ``modules`` are loaded with what they need, in this order."""

    release: ShortName
    name: ShortName
    version: Version
    image: Absolute
    modules: tuple[ShortName, ...] = ()


class Product(DefinitionTable):
    """A file that the kernel comes as, the machines that it runs on (the first is the one that images expect), and what
    starts it there."""

    file: ImageType
    machines: Annotated[tuple[MachineType, ...], Field(min_length=1)]
    firmware: Annotated[tuple[Firmware, ...], Field(min_length=1)]

    @property
    def file_name(self) -> str:
        """What it is called in an image."""
        return FILE_NAMES[self.file]

    @property
    def machine(self) -> MachineType:
        """The machine that images with it expect."""
        return self.machines[0]


class KernelBoot(DefinitionTable):
    """How the kernel is started. ``cmdline_tcg`` and ``cmdline_kvm`` are added for that accelerator."""

    acpi: bool
    cmdline: str
    cmdline_tcg: str = ""
    cmdline_kvm: str = ""


class KernelDefinition(DefinitionTable):
    """One kernel. ``folder`` is where its ``kernel.toml`` stands."""

    name: ShortName
    summary: str
    arch: Annotated[str, AfterValidator(_architecture)]
    products: Annotated[tuple[Product, ...], Field(min_length=1)]
    boot: KernelBoot
    source: Source | None = None
    config: Config | None = None
    package: Package | None = None
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _for_its_machines(self) -> "KernelDefinition":
        known = self.architecture.machines
        for machine in (machine for product in self.products for machine in product.machines):
            if machine not in known:
                raise ValueError(f"products.machines: {self.arch} has no {machine}: write {' or '.join(known)}")
        return self

    @model_validator(mode="after")
    def _compiled_or_packaged(self) -> "KernelDefinition":
        if (self.source is None) == (self.config is None) != (self.package is None):
            return self
        raise ValueError("write either [source] and [config], or [package]")

    @model_validator(mode="after")
    def _one_file(self) -> "KernelDefinition":
        files = dict.fromkeys(product.file for product in self.products)
        if len(files) > 1:
            raise ValueError(f"products.file: one kernel comes as one file, not as {' and '.join(files)}")
        return self

    @property
    def file(self) -> ImageType:
        """How the file that it comes as is packed."""
        return self.products[0].file

    @property
    def architecture(self) -> Architecture:
        """What it runs on."""
        return ARCHITECTURES[self.arch]

    def product(self, firmware: Firmware, who: str = "") -> Product:
        """The file that a machine with this firmware starts. Raises KernelError for a kernel that has none; ``who``
        asks for one."""
        for product in self.products:
            if firmware in product.firmware:
                return product
        known = dict.fromkeys(each for product in self.products for each in product.firmware)
        words = f"the kernel {self.name} is started by {' or '.join(known)}, not by {firmware}"
        raise KernelError(f"{words}, as {who} is: take another kernel" if who else f"{words}: take another kernel")

    @cached_property
    def fragments(self) -> tuple[Path, ...]:
        """The files of its fragments, in order. Raises KernelError for one that is not there."""
        names = self.config.fragments if self.config else ()
        return tuple(self._shared("fragments", f"{name}.config") for name in names)

    @cached_property
    def patches(self) -> tuple[Path, ...]:
        """The files of its patches, in order. Raises KernelError for one that is not there."""
        names = self.config.patches if self.config else ()
        return tuple(self._shared("patches", f"{name}.patch") for name in names)

    @property
    def profile(self) -> Path | None:
        """The archive of what ran at starts, if it has one. Raises KernelError when it is not there."""
        name = self.config.profile if self.config else None
        return self._shared("profiles", f"{name}.tar.xz") if name else None

    @cached_property
    def variants(self) -> tuple[tuple[Path, ...], ...]:
        """The sets of further fragments with which it is kept prebuilt; the first is empty."""
        sets = self.config.variants if self.config else ()
        return ((), *(tuple(self._shared("fragments", f"{name}.config") for name in names) for names in sets))

    def _shared(self, kind: str, name: str) -> Path:
        """A file beside the definition, or shared by all kernels."""
        places = [self.folder, self.folder.parent / kind, *(folder / kind for folder in paths.search("kernels"))]
        for place in places:
            if paths.is_file(place / name):
                return place / name
        known = {path.name for place in places for path in place.glob(f"*{Path(name).suffix}")}
        raise KernelError(f"{self.folder / FILE}: there is no {name} in {kind}", hint=did_you_mean(name, known))


def load_definition(name_or_folder: str | Path) -> KernelDefinition:
    """The kernel in a folder, or the one of that name. Raises KernelError with all that is wrong with its file."""
    file = _find(name_or_folder)
    try:
        _, document = documents.toml_of(documents.read(file, documents.MOST_TOML_BYTES))
        definition = KernelDefinition.model_validate({**document, "folder": file.parent})
    except ValidationError as error:
        raise KernelError(f"{file}: {_all_said(error)}") from error
    except (OSError, ValueError) as error:
        raise KernelError(f"{file} cannot be read as TOML: {printable(str(error))}") from error
    if definition.name != file.parent.name:
        raise KernelError(f'{file}: the name "{definition.name}" is not that of its folder: write "{file.parent.name}"')
    return definition


def list_definitions(say: Say = silent) -> tuple[KernelDefinition, ...]:
    """All kernels that can be asked for by name, by name; the user's own hide those that ship. One whose definition is
    wrong is left out, with a warning."""
    found = []
    for name in _names():
        try:
            found.append(load_definition(name))
        except KernelError as error:
            say(Warned(str(error)))
    return tuple(found)


def fragment(name: str, *, beside: Path) -> Path:
    """A piece of configuration: a file beside a recipe, or one that kernels share, by its name. Raises KernelError."""
    if paths.is_file(beside / name):
        return beside / name
    shared = {path.stem: path for path in shared_fragments()}
    if name not in shared:
        raise KernelError(f"there is no kernel fragment {name!r}", hint=did_you_mean(name, shared))
    return shared[name]


def shared_fragments() -> list[Path]:
    """The pieces of configuration that kernels share, in the order of their names."""
    found = [path for folder in paths.search("kernels") for path in folder.glob("fragments/*.config")]
    return sorted(found, key=lambda path: path.stem)


def key(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> str:
    """What an image with this kernel depends on: all that is in the definition. Fast, and without a compiler."""
    document = definition.model_dump(mode="json")
    return key_of({"kernel": document, "inputs": compile_inputs(definition, extra_fragments)})


def name_of(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> str:
    """What the kernel with these further fragments is called: ``micro``, ``micro+smp``."""
    return "+".join([definition.name, *sorted(path.stem for path in extra_fragments)])


def compile_inputs(definition: KernelDefinition, extra_fragments: Sequence[Path] = ()) -> Mapping[str, Any]:
    """What the compiled bytes depend on besides the compiler: nothing of how the kernel is described and started, no
    comment of a fragment, and nothing that a patch says about itself."""
    merged = config.merge((*definition.fragments, *extra_fragments))
    inputs: dict[str, Any] = {
        "revision": REVISION,
        "arch": definition.arch,
        "source": definition.source.sha256 if definition.source else None,
        "flags": definition.config.compiler_flags if definition.config else (),
        "config": {symbol: each.value for symbol, each in merged.items()},
        "patches": [sha256(patches.changes(path)) for path in definition.patches],
    }
    if definition.file is not ImageType.VMLINUX:
        inputs["file"] = definition.file
    if definition.profile is not None:
        inputs["profile"] = patches.digest(definition.profile)
    return inputs


def _find(name_or_folder: str | Path) -> Path:
    given = Path(name_or_folder)
    for folder in (*(folder / given for folder in paths.search("kernels")), given):
        if paths.is_file(folder / FILE):
            return (folder / FILE).absolute()
    hint = did_you_mean(given.name, _names()) or f"known are {', '.join(_names())}"
    raise KernelError(f"there is no kernel {str(given)!r}", hint=hint)


def _names() -> list[str]:
    return sorted({path.parent.name for folder in paths.search("kernels") for path in folder.glob(f"*/{FILE}")})


def _all_said(wrong: ValidationError) -> str:
    """What is wrong, of very much the first."""
    said = [_said(error) for error in wrong.errors(include_url=False, include_input=False)]
    more = f"; and {len(said) - MOST_SAID} more" if len(said) > MOST_SAID else ""
    return "; ".join(said[:MOST_SAID]) + more


def _said(error: Any) -> str:
    """One of pydantic's errors: the key, and what is wrong."""
    words = {"extra_forbidden": "this key is not known", "missing": "this key is missing"}
    said = words.get(error["type"], error["msg"].removeprefix("Value error, "))
    return f"{documents.shown(error['loc'])}: {said}" if error["loc"] else said
