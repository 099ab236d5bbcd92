"""The bundle: a folder with kernel, root, command line and ``image.json``, which every other thing is made from.

``image.json`` (schema ``imagebuilder.image/1``) says what the files are, how to boot them and when the application is
ready. The digest covers what boots: kernel, root, command line and machine; not the name of the folder, nor the time.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import documents
from imagebuilder.errors import InputError, OutputError
from imagebuilder.store import Store, key_of, sha256_file

SCHEMA: Literal["imagebuilder.image/1"] = "imagebuilder.image/1"
IMAGE_JSON = "image.json"
CMDLINE = "cmdline"
# Roots that are no disks, and the format in which each is written.
IN_MEMORY: Mapping[str, str] = {"initramfs": "cpio", "memory": "erofs"}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KernelPart(_Part):
    """The kernel's file in the bundle."""

    name: str
    file: str
    bytes: int
    sha256: str
    most_cpus: int | None = None
    """How many processors it can use; null is not known."""


class RootPart(_Part):
    """The root's file in the bundle: one for the memory, or a read-only disk."""

    format: str
    file: str
    bytes: int
    sha256: str

    @property
    def is_disk(self) -> bool:
        """Whether the root is the first disk of the machine (else it is handed over as its initial ramdisk)."""
        return self.format not in IN_MEMORY


class DiskShape(_Part):
    """An empty scratch disk."""

    size_mib: int


class Boot(_Part):
    """How to boot: the machine that the image expects, and the command line words that depend on the accelerator."""

    machine: Literal["microvm", "q35"]
    acpi: bool
    memory_mib: int
    cpus: int
    network: bool = True
    egress: Literal["none", "full"] = "none"
    ports: tuple[int, ...] = ()
    disks: tuple[DiskShape, ...] = ()
    cmdline_tcg: str = ""
    cmdline_kvm: str = ""


class PackageLine(_Part):
    """One package that the image was made from."""

    name: str
    version: str
    sha256: str
    bytes: int


class ContentLine(_Part):
    """A group of files that was kept in the image, or dropped, and why."""

    name: str
    files: int
    bytes: int
    kept: bool
    why: str


class AlternativeLine(_Part):
    """One of Debian's alternatives that is in the image: the link, where it leads in the end, whose it is."""

    link: str
    target: str
    package: str


class Image(_Part):
    """``image.json``. ``ready``, ``budget`` and ``recipe`` are what the recipe says, in its own words; ``unmade``
    names by package what its maintainer script does when it is installed and was not done here."""

    schema_: Literal["imagebuilder.image/1"] = Field(SCHEMA, alias="schema")
    name: str
    version: str
    summary: str = ""
    digest: str = ""
    kernel: KernelPart
    root: RootPart
    cmdline: str
    boot: Boot
    ready: dict[str, Any]
    budget: dict[str, Any]
    recipe: dict[str, Any]
    packages: tuple[PackageLine, ...] = ()
    contents: tuple[ContentLine, ...] = ()
    alternatives: tuple[AlternativeLine, ...] = ()
    unmade: Mapping[str, tuple[str, ...]] = {}

    def sealed(self) -> "Image":
        """The image with its digest."""
        covered = (self.kernel.sha256, self.root.sha256, self.root.format, self.cmdline, self.boot.model_dump())
        return self.model_copy(update={"digest": key_of(covered)})

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
    def kernel(self) -> Path:
        """The kernel's file."""
        return self.folder / self.image.kernel.file

    @property
    def root(self) -> Path:
        """The root's file."""
        return self.folder / self.image.root.file

    def files(self) -> tuple[Path, ...]:
        """All that a user would store or send, in the order of their names."""
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
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{folder / IMAGE_JSON}: {where or 'the document'} is not what {SCHEMA} has there: {first['msg']}",
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


def standing(image: Image, folder: Path) -> Bundle | None:
    """The bundle in the folder, when it is what ``write`` would lay down there, byte by byte; else nothing."""
    try:
        bundle = Bundle.open(folder)
        same = all((folder / name).read_bytes() == content for name, content in _texts(image).items())
    except (InputError, OSError):
        return None  # none there, or a damaged one
    return bundle if same else None


def write(image: Image, folder: Path, store: Store) -> Bundle:
    """Lay the bundle down from the store's blobs: whole, by a rename, or not at all."""
    staging, old = (folder.parent / f".{folder.name}.{word}" for word in ("building", "old"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with store.lock(key_of(str(folder.absolute()))):
            for left in (staging, old):
                shutil.rmtree(left, ignore_errors=True)
            try:
                _refuse_own(folder)
                staging.mkdir()
                _fill(staging, image, store)
                if folder.exists():
                    folder.rename(old)
                staging.rename(folder)
            finally:
                for left in (staging, old):
                    shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror}", hint="free some space, or give --out"
        ) from error
    return Bundle(folder, image)


def _refuse_own(folder: Path) -> None:
    """A folder that holds other things than a bundle is somebody's own: a recipe, when --out is where recipes are."""
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if held and not held & {CMDLINE, IMAGE_JSON}:
        raise InputError(
            f"{folder} holds files that are no image: they are left as they are", hint="give another --out"
        )


def _fill(folder: Path, image: Image, store: Store) -> None:
    shutil.copyfile(store.blob(image.kernel.sha256), folder / image.kernel.file)
    shutil.copyfile(store.blob(image.root.sha256), folder / image.root.file)
    for name, content in _texts(image).items():
        (folder / name).write_bytes(content)


def _texts(image: Image) -> dict[str, bytes]:
    """The files of a bundle that are written from the description alone."""
    return {CMDLINE: f"{image.cmdline}\n".encode(), IMAGE_JSON: image.to_json()}
