"""The bundle: a folder with kernel, root, command line and ``image.json``, which every other thing is made from.

``image.json`` (schema ``imagebuilder.image/1``) says what the files are, how to boot them and when the application is
ready. The digest covers what boots: kernel, root, command line and machine; not the name of the folder, nor the time.
"""

import os
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError

from imagebuilder import documents
from imagebuilder.arch import MachineType
from imagebuilder.errors import InputError, OutputError
from imagebuilder.recipe import fields, model
from imagebuilder.recipe.base import RecipeTable
from imagebuilder.recipe.describe import describe
from imagebuilder.recipe.values import StopSignal
from imagebuilder.store import Store, as_read, key_of, sha256_file

SCHEMA: Literal["imagebuilder.image/1"] = "imagebuilder.image/1"
IMAGE_JSON = "image.json"
CMDLINE = "cmdline"
USUAL_PARTS = ("vmlinu", "root.")  # how the names of a kernel and a root begin
# What stands beside an image, and is no part of what boots (``sbom``).
BESIDE = ("sbom.cdx.json", "sbom.spdx.json", "provenance.json")
NO_DOCUMENTS: Mapping[str, str] = {}
# Roots that are no disks, and the format in which each is written.
IN_MEMORY: Mapping[str, str] = {"initramfs": "cpio", "memory": "erofs"}


# A file's name: it stands in the bundle's folder and nowhere else.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=255)]
Size = Annotated[int, Field(ge=0)]


class RecipeView(RecipeTable):
    """The recipe that made an image, typed as far as images are asked for it. The rest is kept as it is written: a
    recipe of another version may have keys and kinds of sources that this one does not know."""

    model_config = ConfigDict(extra="allow")

    application: model.Application | None = None
    template: model.Template = model.Template()
    bench: model.Bench = model.Bench()

    @classmethod
    def of(cls, recipe: model.Recipe) -> Self:
        """The view of a recipe."""
        return cls.model_validate(describe(recipe))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that the application needs."""
        return self.application.secrets if self.application else ()

    @property
    def stop_signal(self) -> StopSignal:
        """The signal that asks the application to end."""
        return self.application.stop_signal if self.application else StopSignal.TERM


def _table(part: RecipeTable) -> dict[str, Any]:
    """A table of the recipe, in the one order of keys that the store's records have."""
    return as_read(part.model_dump(mode="json", exclude_none=True))


def _as_written(part: RecipeTable) -> dict[str, Any]:
    """The same without keys that were not set: a key that is new since then is not in an older image."""
    return as_read(part.model_dump(mode="json", exclude_none=True, exclude_unset=True))


class _ImageObject(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KernelFile(_ImageObject):
    """The kernel's file in the bundle."""

    name: fields.Line
    file: FileName
    bytes: Size
    sha256: str
    most_cpus: fields.Count | None = None
    """How many processors it can use; null is not known."""


class RootFile(_ImageObject):
    """The root's file in the bundle: one for the memory, or a read-only disk."""

    format: str
    file: FileName
    bytes: Size
    sha256: str

    @property
    def is_disk(self) -> bool:
        """Whether the root is the first disk of the machine (else it is handed over as its initial ramdisk)."""
        return self.format not in IN_MEMORY


class DiskShape(_ImageObject):
    """An empty scratch disk."""

    size_mib: fields.Mebibytes


class BootSettings(_ImageObject):
    """How to boot: the machine that the image expects, and the command line words that depend on the accelerator."""

    machine: MachineType
    acpi: bool
    memory_mib: fields.Mebibytes
    cpus: fields.Count
    network: bool = True
    egress: Literal["none", "full"] = "none"
    ports: tuple[fields.Port, ...] = ()
    disks: tuple[DiskShape, ...] = ()
    cmdline_tcg: fields.Line = ""
    cmdline_kvm: fields.Line = ""


class PackageLine(_ImageObject):
    """One package that the image was made from."""

    name: str
    version: str
    sha256: str
    bytes: int


class ContentLine(_ImageObject):
    """A group of files that was kept in the image, or dropped, and why."""

    name: str
    files: int
    bytes: int
    kept: bool
    why: str


class AlternativeLine(_ImageObject):
    """One of Debian's alternatives that is in the image: the link, where it leads in the end, whose it is."""

    link: str
    target: str
    package: str


class Image(_ImageObject):
    """``image.json``. ``ready``, ``budget`` and ``recipe`` are what the recipe says; ``unmade`` names by package what
    its maintainer script does when it is installed and was not done here."""

    schema_: Literal["imagebuilder.image/1"] = Field(SCHEMA, alias="schema")
    name: fields.Name
    version: fields.Version
    summary: fields.Line = ""
    digest: str = ""
    kernel: KernelFile
    root: RootFile
    cmdline: fields.Line
    boot: BootSettings
    ready: Annotated[model.Ready, PlainSerializer(_table)]
    budget: Annotated[model.Budget, PlainSerializer(_table)]
    recipe: Annotated[RecipeView, PlainSerializer(_as_written)]
    packages: tuple[PackageLine, ...] = ()
    contents: tuple[ContentLine, ...] = ()
    alternatives: tuple[AlternativeLine, ...] = ()
    unmade: Mapping[str, tuple[str, ...]] = {}

    def sealed(self) -> "Image":
        """The image with its digest."""
        covered = (self.kernel.sha256, self.root.sha256, self.root.format, self.cmdline, self.boot.model_dump())
        return self.model_copy(update={"digest": key_of(covered)})

    def digests(self) -> dict[str, str]:
        """The SHA-256 of all that a machine needs, by the files' names and in their order."""
        made = {name: sha256(content).hexdigest() for name, content in _texts(self).items()}
        return dict(sorted({**made, self.kernel.file: self.kernel.sha256, self.root.file: self.root.sha256}.items()))

    def to_json(self) -> bytes:
        """``image.json``, to be read by people too."""
        import json

        return json.dumps(self.model_dump(by_alias=True), indent=1, ensure_ascii=False).encode() + b"\n"


class Bundle:
    """A bundle on disk, opened by ``open`` or written by ``write``."""

    def __init__(self, folder: Path, image: Image) -> None:
        self.folder = folder
        self.image = image

    @property
    def ready(self) -> model.Ready:
        """How one sees that the application is ready."""
        return self.image.ready

    @property
    def kernel(self) -> Path:
        """The kernel's file."""
        return self.folder / self.image.kernel.file

    @property
    def root(self) -> Path:
        """The root's file."""
        return self.folder / self.image.root.file

    def documents(self) -> tuple[Path, ...]:
        """What is known of the image and is not needed to boot it: its bill of materials and provenance."""
        return tuple(path for path in (self.folder / name for name in BESIDE) if path.is_file())

    def files(self) -> tuple[Path, ...]:
        """All that a machine needs, in the order of their names."""
        names = (CMDLINE, IMAGE_JSON, self.image.kernel.file, self.image.root.file)
        return tuple(self.folder / name for name in sorted(names))

    @classmethod
    def open(cls, folder: Path, *, check: bool = True) -> "Bundle":
        """Read a bundle; raises InputError when it is none or, with ``check``, when a file is not what it says."""
        try:
            image = Image.model_validate(documents.load_json(folder / IMAGE_JSON))
        except OSError as error:
            raise InputError(
                f"{folder} holds no image: {IMAGE_JSON} cannot be read ({error.strerror})",
                hint="imagebuilder build NAME",
            ) from error
        except documents.Damaged as error:
            raise InputError(
                f"{folder / IMAGE_JSON} is no JSON document: {error}", hint="build the image again"
            ) from error
        except ValidationError as error:
            raise InputError(
                f"{folder / IMAGE_JSON} is not what {SCHEMA} says: {documents.mistake_in(error)}",
                hint="build the image again",
            ) from error
        bundle = cls(folder, image)
        if check:
            bundle.check()
        return bundle

    def check(self) -> None:
        """Raises InputError when a file of the bundle is missing or is not the one that ``image.json`` names."""
        for path, digest in ((self.kernel, self.image.kernel.sha256), (self.root, self.image.root.sha256)):
            if not path.is_file() or sha256_file(path) != digest:
                raise InputError(f"{path} is not the file that {IMAGE_JSON} names: build the image again")


def standing(image: Image, folder: Path, documents: Mapping[str, str] = NO_DOCUMENTS) -> Bundle | None:
    """The bundle in the folder, when it is what ``write`` would lay down there, byte by byte; else nothing."""
    try:
        bundle = Bundle.open(folder)
        same = all((folder / name).read_bytes() == content for name, content in _texts(image).items())
        same = same and all(sha256_file(folder / name) == digest for name, digest in documents.items())
    except (InputError, OSError):
        return None  # none there, or a damaged one
    return bundle if same else None


def write(image: Image, folder: Path, store: Store, documents: Mapping[str, str] = NO_DOCUMENTS) -> Bundle:
    """Lay the bundle down from the store's blobs: whole, by a rename, or not at all. ``documents`` by name and digest
    stand beside it. What others put beside the image
    of before stays, and so does a link to its folder."""
    store.check_writable()
    named, folder = folder, Path(os.path.realpath(folder))
    staging, old = (folder.parent / f".{folder.name}.{word}" for word in ("building", "old"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with store.lock(key_of(str(folder))):
            if old.is_dir() and not folder.exists():  # who wrote was killed between two renames
                old.rename(folder)
            for left in (staging, old):
                shutil.rmtree(left, ignore_errors=True)
            try:
                _refuse_own(named)
                staging.mkdir()
                _fill(staging, image, store, documents)
                for path in _foreign(folder):
                    _share(path, staging / path.name)
                if folder.exists():
                    folder.rename(old)
                staging.rename(folder)
            finally:
                for left in (staging, old):
                    shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise OutputError.of(named, error, hint="free some space, or give --out") from error
    return Bundle(named, image)


def _refuse_own(folder: Path) -> None:
    """What is no bundle is the user's own: a recipe, when --out is where recipes are, or the program itself."""
    if not folder.is_dir() and os.path.lexists(os.path.realpath(folder)):
        raise InputError(f"{folder} is no folder: it is left as it is", hint="give another --out")
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if held and not held & {CMDLINE, IMAGE_JSON}:
        raise InputError(
            f"{folder} holds files that are no image: they are left as they are", hint="give another --out"
        )


def _foreign(folder: Path) -> list[Path]:
    """What stands in a bundle's folder and is no part of it."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    try:
        image = Bundle.open(folder, check=False).image
        parts = {image.kernel.file, image.root.file}
    except InputError:  # none there, or a damaged one
        parts = {path.name for path in found if path.name.startswith(USUAL_PARTS)}
    return [path for path in found if path.name not in {CMDLINE, IMAGE_JSON, *BESIDE, *parts}]


def _share(source: Path, target: Path) -> None:
    """The same file, link or folder of them at a second place."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=_share_file)
    else:
        _share_file(source, target)


def _share_file(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except PermissionError:  # a file system without hard links
        shutil.copy2(source, target, follow_symlinks=False)


def _fill(folder: Path, image: Image, store: Store, documents: Mapping[str, str]) -> None:
    shutil.copyfile(store.blob(image.kernel.sha256), folder / image.kernel.file)
    shutil.copyfile(store.blob(image.root.sha256), folder / image.root.file)
    for name, content in _texts(image).items():
        (folder / name).write_bytes(content)
    for name, digest in documents.items():
        shutil.copyfile(store.blob(digest), folder / name)


def _texts(image: Image) -> dict[str, bytes]:
    """The files of a bundle that are written from the description alone."""
    return {CMDLINE: f"{image.cmdline}\n".encode(), IMAGE_JSON: image.to_json()}
