"""What ``build --format`` gives beside the bundle: the image in a format of ``IMAGES``, or the root alone in a file
system of ``FILESYSTEMS``, to look at with other tools. A format's file is ``OUT/NAME.SUFFIX``."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from imagebuilder.arch import Firmware
from imagebuilder.build.unchanged import Used
from imagebuilder.build.walk import Build
from imagebuilder.bundle import IMAGE_JSON, Bundle
from imagebuilder.errors import InputError, OutputError
from imagebuilder.events import Warned
from imagebuilder.filesystems import FILESYSTEMS, FileSystem
from imagebuilder.images import IMAGES, Media, Medium, direct
from imagebuilder.paths import source_date_epoch_s
from imagebuilder.process import looked_for
from imagebuilder.recipe.lookup import FILE, places
from imagebuilder.store import sha256_file
from imagebuilder.words import some


@dataclass(frozen=True, slots=True)
class Output:
    """What was written in one format; ``path`` is a file, or the bundle's folder."""

    format: str
    path: Path
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BuiltStep:
    """A step of a build that is done; ``cached`` when nothing had to be made."""

    id: str
    kind: str
    title: str
    cached: bool


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image as ``build --json`` has it."""

    name: str
    digest: str
    folder: Path
    artifacts: tuple[Output, ...]
    steps: tuple[BuiltStep, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What ``build --json`` prints."""

    images: tuple[BuiltImage, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """An image that was built: its bundle, what was written of it, and what machines start of that, by the format."""

    bundle: Bundle
    artifacts: tuple[Output, ...]
    steps: tuple[BuiltStep, ...]
    media: Mapping[str, Media] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files: the bundle's, and those of the formats."""
        others = (each.path for each in self.artifacts if each.path != self.bundle.folder)
        return (*self.bundle.files(), *self.bundle.documents(), *others)

    @property
    def image(self) -> BuiltImage:
        """As ``build --json`` has it."""
        image = self.bundle.image
        return BuiltImage(image.name, image.digest, self.bundle.folder, self.artifacts, self.steps)


def described(images: Iterable[Built]) -> Any:
    """What ``build --json`` prints of these."""
    return TypeAdapter(Document).dump_python(Document(tuple(each.image for each in images)), mode="json")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of that."""
    schema = TypeAdapter(Document).json_schema(mode="serialization")
    schema["$defs"]["Output"]["properties"]["format"]["enum"] = [*names()]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def names() -> tuple[str, ...]:
    """All formats; the first is that of a build which asks for none."""
    return (*IMAGES, *FILESYSTEMS)


def check(formats: Iterable[str]) -> None:
    """Raises InputError for a format that is not there."""
    for name in formats:
        if name not in names():
            raise InputError(f"there is no format {name!r}: write one of {', '.join(names())}")


def startable() -> tuple[str, ...]:
    """The formats that QEMU's firmware starts."""
    return tuple(name for name, row in IMAGES.items() if row.starts)


def firmware_of(name: str | None, firmware: Firmware | None) -> Firmware | None:
    """What starts an image in this format (None: the bundle): what was asked for, or else the first that can. Raises
    InputError, before anything is built, where it cannot be started so."""
    if name in (None, direct.NAME):
        if firmware not in (None, Firmware.DIRECT):
            raise InputError(f"disks alone start from {firmware.words}", hint=f"--format {startable()[0]}")
        return None
    row = IMAGES.get(name or "")
    if row is not None and not row.bootable:
        hint = f"--format {startable()[0]} has the same content"
        raise InputError(f"the format {name} is for an import: QEMU does not start it", hint=hint)
    if row is None or not row.starts:
        raise InputError(f"no machine starts the format {name!r}: write one of {', '.join(startable())}")
    if firmware is not None and firmware not in row.firmware:
        raise InputError(f"the format {name} is started by {' or '.join(each.words for each in row.firmware)}")
    return firmware or row.firmware[0]


def media(build: Build, out: Path, firmware: Iterable[Firmware] = ()) -> list[tuple[Bundle, Medium | None]]:
    """Build the image, and what machines start instead of the bundle: each of the build's formats, by each firmware
    (none: the first that can). Raises what ``firmware_of`` and ``built`` do."""
    given = tuple(firmware)
    wanted = [
        (name, firmware_of(name, each if name != direct.NAME else None))
        for name in build.formats
        for each in given or (None,)
    ]
    if given and not wanted:
        firmware_of(None, given[0])
    done = built(build, out)
    return [
        (done.bundle, Medium(name, done.media[name], starter) if starter else None)
        for name, starter in dict.fromkeys(wanted)
    ] or [(done.bundle, None)]


def built(build: Build, out: Path) -> Built:
    """Build the image into ``out/NAME``, and write it in the formats that the build asks for. Raises InputError, before
    anything is built, where a file of the user's stands in the place of one; and what the steps raise."""
    for name in build.formats:
        _refuse_own(build, name, out)
    bundle = build.run(out)
    written = [_output(build, bundle, name, out) for name in dict.fromkeys(build.formats or names()[:1])]
    media = {output.format: medium for output, medium in written if medium is not None}
    steps = tuple(
        BuiltStep(step.id, step.kind.value, step.title, step.id not in build.made) for step in build.plan.steps()
    )
    return Built(bundle, tuple(output for output, _ in written), steps, media)


def unchanged(done: Built) -> Built:
    """The same image as it would be built again: nothing has to be made."""
    return replace(done, steps=tuple(replace(each, cached=True) for each in done.steps))


def used(builds: Iterable[Build], done: Iterable[Built], names: Iterable[str]) -> Used:
    """What building these again, by the names that were given, would use."""
    builds, done = list(builds), list(done)
    written = [each.path for image in done for each in image.artifacts if each.path != image.bundle.folder]
    return Used(
        folders=[each for build in builds for each in (build.recipe.folder, build.kernel_choice.definition.folder)],
        looked_for=[*looked_for, *(str(place.absolute() / FILE) for each in names for place in places(Path(each)))],
        outputs=[*written, *(path for each in done for path in (*each.bundle.files(), *each.bundle.documents()))],
        results=[key for build in builds for key in build.results],
        contents=[digest for build in builds for digest in build.contents],
    )


def _output(build: Build, bundle: Bundle, name: str, out: Path) -> tuple[Output, Media | None]:
    if name in FILESYSTEMS:
        return write_root(build, name, out), None
    row = IMAGES[name]
    path = out / f"{build.folder_name}{row.suffix}"
    if row.is_bundle:
        artifact = row.write(bundle, path, epoch_s=source_date_epoch_s())
    else:
        artifact = build.write_image(name, path)
    return Output(name, path, artifact.bytes, artifact.sha256), row.media(artifact)


def write_root(build: Build, name: str, out: Path) -> Output:
    """Write the root alone in a file system. What stands in its place is replaced: ``built`` looks before. Raises
    OutputError, ToolMissing, and what the steps raise."""
    row = FILESYSTEMS[name]
    path = out / f"{build.folder_name}{row.suffix}"
    if row.xattrs is None and (lost := [path for path, node in build.root.items() if node.xattrs]):
        build.say(Warned(f"{name} has no room for extended attributes: those of {some(lost)} are lost"))
    row.write(build.root, path, epoch_s=source_date_epoch_s())
    return Output(name, path, path.stat().st_size, sha256_file(path))


def _refuse_own(build: Build, name: str, out: Path) -> None:
    """Raises InputError for what stands in the place of a format's file and is not ours: no file, or one that is
    of another format, or that has no image beside it, as ours have."""
    row = FILESYSTEMS.get(name) or IMAGES[name]
    path = out / f"{build.folder_name}{row.suffix}"
    if not row.suffix or not os.path.lexists(path):
        return
    if not path.is_file():
        why = "is no file"
    elif isinstance(row, FileSystem) and not _begins_as(path, row):
        why = f"is no {name}"
    elif not (out / build.folder_name / IMAGE_JSON).is_file():
        why = "has no image beside it, so that it is not of a build"
    else:
        return
    raise InputError(f"{path} {why}: it is left as it is", hint="give another --out")


def _begins_as(path: Path, row: FileSystem) -> bool:
    offset, magic = row.magic
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(len(magic)) == magic
    except OSError as error:
        raise OutputError.of(path, error) from error
