"""``imagebuilder new --from``: the recipe of a container image, which says how it is started."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import InputError
from imagebuilder.events import Say
from imagebuilder.oci.reference import parse
from imagebuilder.paths import is_file, real
from imagebuilder.recipe.fields import LINE, VERSION
from imagebuilder.recipe.load import load
from imagebuilder.recipe.lookup import FILE
from imagebuilder.recipe.new import made
from imagebuilder.sources import SOURCES, Context, Defaults
from imagebuilder.sources.oci import OciSource
from imagebuilder.store import Store
from imagebuilder.words import counted, shortened

COPIED = "image"  # what a layout or an archive is called beside the recipe
INDEX = "index.json"
ENDS = "ready = { exit = 0 }  # it exposes no port; of a server: ready = { tcp = { port = 80 } }"


@dataclass(frozen=True, slots=True)
class Taken:
    """The files that were written, ``recipe.toml`` first, and what the image says of its application."""

    files: tuple[Path, ...]
    said: Defaults

    @property
    def lines(self) -> tuple[str, ...]:
        """The same for a user, without what is default."""
        application, ports = self.said.application, self.said.ports
        command = " ".join(map(shortened, (application["command"], *application["arguments"])))
        environment = counted(len(application["environment"]), "variable")
        lines = [f"command      {command}", f"user         {application['user']}", f"environment  {environment}"]
        lines.append(f"directory    {application['directory']}")
        lines += [f"stop signal  {application['stop_signal']}"] if "stop_signal" in application else []
        return (*lines, f"ports        {', '.join(map(str, ports)) or 'none'}")


def new_from_image(name: str, parent: Path, image: str, store: Store, *, say: Say, tag: str | None = None) -> Taken:
    """Write the folder ``parent/name`` with the recipe of a container image: one of a registry, or an OCI layout or an
    archive of ``docker save``, which is copied beside the recipe, and of which ``tag`` is the image.

    Raises what ``new_recipe`` and the source raise, InputError for an image that names no program; then nothing is
    left. The layers are in the store afterwards.
    """
    local = _is_local(image)
    if tag is not None and not local:
        raise InputError("--tag is for a layout or an archive: the tag of a registry's image is part of its name")
    origin = real(Path(image)) if local else Path()
    place = {"path": origin.name, **({"tag": tag} if tag else {})} if local else {"image": str(parse(image))}
    source = OciSource.model_construct(None, type="oci", image=place.get("image"), path=place.get("path"), tag=tag)
    found: list[Defaults] = []

    def write(folder: Path) -> None:
        said = SOURCES[source.type].resolve(source, Context(origin.parent, store, say, name=name)).defaults
        if "command" not in said.application:
            raise InputError(
                f"{shortened(image)} names no program, neither as Entrypoint nor as Cmd",
                hint="make an image that names one, or write the recipe with command under [application]",
            )
        beside = {"path": _copied(origin, folder)} if local else {}
        (folder / FILE).write_text(_text(name, image, {**place, **beside}, said))
        load(folder)
        found.append(said)

    files = made(name, parent, write)
    return Taken(tuple(files), found[0])


def _is_local(image: str) -> bool:
    """Whether a layout or an archive is meant: what is there as one, or is written as a path."""
    path = Path(image)
    return is_file(path) or is_file(path / INDEX) or bool(re.match(r"\.{0,2}/", image))


def _copied(origin: Path, folder: Path) -> str:
    """What a copy of an archive, or of a layout's index and contents, is called. Raises InputError."""
    try:
        if is_file(origin):
            shutil.copyfile(origin, folder / f"{COPIED}.tar")
            return f"{COPIED}.tar"
        for path in (origin / INDEX, origin / "oci-layout", *sorted((origin / "blobs").glob("*/*"))):
            if is_file(path):
                copied = folder / COPIED / path.relative_to(origin)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copied)
        return COPIED
    except PermissionError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error


def _text(name: str, image: str, place: Mapping[str, str], said: Defaults) -> str:
    """The recipe: four lines, and how one sees that it is ready where the image does not tell."""
    tag = place.get("tag", image).partition("@")[0].rpartition("/")[2].rpartition(":")[2]
    version = tag if re.fullmatch(VERSION, tag) and ("tag" in place or f":{tag}" in image) else "1"
    source = ", ".join(f"{key} = {_quoted(value)}" for key, value in {"type": "oci", **place}.items())
    summary = f"The container image {image}"
    lines = [
        f"name = {_quoted(name)}",
        f"version = {_quoted(version)}",
        f"summary = {_quoted(summary if re.fullmatch(LINE, summary) else 'A container image')}",
        f"source = {{ {source} }}",
    ]
    if not said.ports:
        lines.append(ENDS)
    elif said.ports[1:]:
        others = ", ".join(map(str, said.ports[1:]))
        lines.append(f"ready = {{ tcp = {{ port = {said.ports[0]} }} }}  # it exposes {others} too")
    return "\n".join([*lines, ""])


_quoted: Callable[[str], str] = json.dumps  # a text of JSON is one of TOML
