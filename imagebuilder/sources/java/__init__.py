"""A jar, or Java sources, with a runtime of the modules that it needs and an archive of the classes that it loads.

Debian's JDK makes both in a machine that prepares (``prepare.sh``): neither it nor the jar is run on this host, and of
the JDK nothing is in the image but what ``jlink`` took of it.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import ConfigDict, Field
from pydantic_core import InitErrorDetails

from imagebuilder.errors import SourceError
from imagebuilder.events import Note, step
from imagebuilder.recipe import fields
from imagebuilder.recipe.base import mistake_at
from imagebuilder.recipe.cross_checks import exactly_one
from imagebuilder.sources import debian
from imagebuilder.sources.files import collect
from imagebuilder.sources.kind import Context, Defaults, Locked, Material, SourcePrepare, SourceTable
from imagebuilder.store import sha256_file
from imagebuilder.tree import Blob, Node, Tree, file
from imagebuilder.words import some

if TYPE_CHECKING:
    from imagebuilder.sources.java.jar import Jar
    from imagebuilder.sources.layer import Layer

RUNTIME = "/opt/java"
CLASS_DATA = f"{RUNTIME}/lib/application.jsa"
SCRIPT = "/prepare-java"
COMPILED = "/usr/src/application"
BUILT = "application.jar"  # what is compiled
BESIDE = ("libstdc++6", "zlib1g")  # the libraries of Debian's that a runtime is linked with
TOOLS = ("default-jdk-headless", "busybox-static")
JDK = re.compile(r"openjdk-(\d+)-jdk-headless")
CLASS = r"^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*$"
MODULE = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
HINT = "class_data = false under [source] leaves the archive of classes out, and starts nothing while it is built"


class Place(StrEnum):
    """Where the application's classes come from."""

    JAR = "jar"
    URL = "url"
    SOURCES = "sources"


class JavaSource(SourceTable):
    """A jar, or Java sources, with a runtime of the modules that it needs, made of Debian's JDK."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["jar"]}, {"required": ["url", "sha256"]}, {"required": ["sources", "main"]}]
        }
    )

    type: Literal["java"]
    """The kind of source."""
    jar: fields.FileBeside | None = None
    """The jar beside the recipe; those that its manifest names come with it."""
    url: fields.DownloadUrl | None = None
    """Where the jar is downloaded from: https, or http of 127.0.0.1."""
    sha256: fields.Sha256 | None = None
    """Its SHA-256, in hexadecimal; of a URL it must be given."""
    sources: tuple[fields.GlobBeside, ...] | None = Field(default=None, min_length=1)
    """Paths or patterns beside the recipe of Java sources, which are compiled."""
    main: str | None = Field(default=None, pattern=CLASS, examples=["com.example.Main"])
    """The main class; default: the one that the jar's manifest says."""
    release: fields.Release
    """The Debian release whose JDK it is."""
    modules: tuple[Annotated[str, Field(pattern=MODULE)], ...] = Field(default=(), examples=[["jdk.crypto.ec"]])
    """Modules of the runtime besides those that jdeps finds, as of providers that are looked up by name."""
    options: tuple[fields.Line, ...] = ()
    """Options of the virtual machine, before the class."""
    arguments: tuple[fields.Text, ...] = ()
    """The application's own arguments."""
    class_data: fields.Yes = True
    """Whether it is started once while the image is built, for an archive of the classes that it loads."""
    target: fields.ImagePath = "/srv/app"
    """The folder in the image in which its jars stand."""
    memory_mib: fields.Mebibytes = 1024
    """The memory in which the runtime is made, in MiB."""
    timeout_s: fields.Seconds = 3600
    """How long that may take, in s of this host."""

    @classmethod
    def between(cls, raw: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """One place; a digest of what is downloaded; of sources the main class; names of modules."""
        yield from exactly_one(raw, Place)
        if raw.get("url") is not None and raw.get("sha256") is None:
            yield mistake_at(("sha256",), "what is downloaded needs its sha256", "as sha256sum prints it")
        if raw.get("sources") is not None and raw.get("main") is None:
            yield mistake_at(("main",), "this key is missing", "sources say no main class, as a jar's manifest does")


def implied(source: JavaSource) -> tuple[SourceTable, ...]:
    """The libraries that the runtime is linked with."""
    return (debian.DebianSource(type="debian", release=source.release, packages=BESIDE),)


def resolve(source: JavaSource, context: Context) -> Locked:
    """The jar and those that it names by hash, or the sources; a URL is downloaded, once: its manifest counts."""
    said, files = _application(source, context)
    main = source.main or (said.main if said else None)
    if main is None:
        name = source.jar or source.url
        message = f"source.{Place.JAR if source.jar else Place.URL}: {name} has no main class in its manifest"
        raise SourceError(message, hint='name it, as main = "com.example.Main" under [source]')
    jars = _class_path(source, said, files)
    key = {
        "type": source.type,
        "files": {path: node.describe() for path, node in files.items()},
        "taken_apart": bool(said and said.libraries),
        "target": source.target,
    }
    defaults = {"command": f"{RUNTIME}/bin/java", "arguments": _words(source, main, jars), "directory": source.target}
    return Locked(source, key, defaults=Defaults(defaults), made=(said, files, jars, main))


def fetch(locked: Locked, context: Context) -> "Layer":
    """The jars below ``target``; nothing yet of what is compiled. Raises SourceError for a damaged one."""
    from imagebuilder.sources.java import jar
    from imagebuilder.sources.layer import Layer, kept

    source: JavaSource = locked.source
    said: Jar | None = locked.made[0]
    files: dict[str, Node] = locked.made[1]
    if said is None:
        return Layer(Tree())
    name = _name(source)
    placed = {path: kept(_path(node), context.store) for path, node in files.items()}
    if said.libraries:
        with step(context.say, f"unpack-{source.type}", f"take {name} apart"), _path(files[name]).open("rb") as stream:
            placed = jar.taken_apart(stream, name, said, lambda data: kept(data, context.store))
    nodes = {f"{source.target.rstrip('/')}/{path}": file(content) for path, content in placed.items()}
    origins = {path: PurePosixPath(path).name for path in nodes}
    materials = {origins[path]: _material(origins[path], node.content.digest) for path, node in nodes.items()}
    return Layer(Tree(nodes), origins, materials=materials)


def prepare(locked: Locked, context: Context, url: str) -> SourcePrepare:
    """What makes the runtime: Debian's JDK, in a machine that has the jars, or the sources to compile."""
    source: JavaSource = locked.source
    said, files, jars, main = locked.made
    tools = debian.DebianSource(type="debian", release=source.release, packages=TOOLS)
    jdk, feature = _jdk(tools, context)
    inputs = {} if said else {f"{COMPILED}/{path}": node for path, node in files.items()}
    environment = {
        "SOURCES": "\n".join(inputs),
        "JARS": "\n".join(jars),
        "CLASS_PATH": ":".join(jars),
        "CLASS_DATA": CLASS_DATA if source.class_data else "",
        "MAIN": main,
        "MODULES": ",".join(source.modules),
        "FEATURE": feature,
        "URL": url,
    }
    script = file(Path(__file__).with_name("prepare.sh").read_bytes(), mode=0o755)
    return SourcePrepare(
        name=source.type,
        command=("/bin/busybox", "sh", SCRIPT, *_words(source, main, jars, archive=False)),
        environment=environment,
        tools=(tools,),
        files={SCRIPT: script, **inputs},
        made=(RUNTIME, *(() if said else jars)),
        package=jdk,
        memory_mib=source.memory_mib,
        timeout_s=source.timeout_s,
        hint=HINT if source.class_data else "",
    )


def _words(source: JavaSource, main: str, jars: tuple[str, ...], *, archive: bool = True) -> tuple[str, ...]:
    """The words behind ``java``; UsePerfData would write a file at each start."""
    archived = (f"-XX:SharedArchiveFile={CLASS_DATA}",) if archive and source.class_data else ()
    return ("-XX:-UsePerfData", *archived, *source.options, "-cp", ":".join(jars), main, *source.arguments)


def _application(source: JavaSource, context: Context) -> "tuple[Jar | None, dict[str, Node]]":
    """What the jar says, and the files by the path that they have from its folder; or none, and the sources."""
    from imagebuilder.sources import download
    from imagebuilder.sources.java import jar

    if source.sources is not None:
        return None, collect(context.folder, source.sources, key="source.sources")
    name = _name(source)
    path = context.folder / str(source.jar)
    if source.url is not None:
        path = download.blob(source.url, str(source.sha256), store=context.store, say=context.say)
    try:
        digest = sha256_file(path)
        if source.sha256 not in (None, digest):
            raise SourceError(f"{source.jar} has the sha256 {digest}, and the recipe expects {source.sha256}")
        with path.open("rb") as stream:
            said = jar.read(stream, name)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    return said, {name: file(Blob.at(path)), **_named(source, said, context)}


def _named(source: JavaSource, said: "Jar", context: Context) -> dict[str, Node]:
    """The jars that the manifest names, which are beside it; what is not there Java passes over, and so do we."""
    if not said.class_path or source.jar is None:
        if said.class_path:
            context.say(Note(f"{_name(source)} names jars beside it, which a URL has not: {some(said.class_path)}"))
        return {}
    folder = PurePosixPath(source.jar).parent
    there = [each for each in said.class_path if not each.endswith("/") and _is_beside(context.folder, folder, each)]
    lacking = [each for each in said.class_path if each not in there]
    if lacking:
        context.say(Note(f"{source.jar} names what is no file beside it, and is left out: {some(lacking)}"))
    found = collect(context.folder, [str(folder / each) for each in there], key="source.jar")
    inside = "" if str(folder) == "." else f"{folder}/"
    return {path.removeprefix(inside): node for path, node in found.items()}


def _is_beside(recipe: Path, folder: PurePosixPath, name: str) -> bool:
    """Whether a name of a class path is that of a file that can be meant; ``collect`` refuses links out of there."""
    path = PurePosixPath(name)
    plain = name.isprintable() and not set(name) & set(":*?[]{}") and not path.is_absolute() and ".." not in path.parts
    return plain and (recipe / folder / path).is_file()


def _class_path(source: JavaSource, said: "Jar | None", files: Mapping[str, Node]) -> tuple[str, ...]:
    """Where the jars stand in the image, in the order in which classes are looked for."""
    names = [BUILT]
    if said is not None:
        names = ["classes.jar", *(path.rpartition("/")[2] for path in said.libraries)] if said.libraries else [*files]
    return tuple(f"{source.target.rstrip('/')}/{name}" for name in names)


def _jdk(tools: debian.DebianSource, context: Context) -> tuple[str, str]:
    """The package of Debian's JDK, and its feature version."""
    choice = debian.resolve(tools, context).choice
    matches = [JDK.fullmatch(each.name) for each in (choice.packages if choice else ())]
    found = next((match for match in matches if match), None)
    if found is None:
        raise SourceError(f"source.release: Debian {tools.release} has no JDK in {TOOLS[0]}")
    return found[0], found[1]


def _name(source: JavaSource) -> str:
    """The jar's file name."""
    path = PurePosixPath(source.jar or urlsplit(str(source.url)).path)
    return path.name or BUILT


def _path(node: Node) -> Path:
    assert node.content.path is not None
    return node.content.path


def _material(name: str, digest: str) -> Material:
    """A jar for the bill of materials."""
    return Material(name, purl=f"pkg:generic/{quote(name, safe='')}?checksum=sha256:{digest}", sha256=digest)
