"""What an application that failed complains of, and its packages have, but its image lacks: which files to include.

An image holds what the application's program needs; what it opens by name while it runs is the recipe's to name. When
it says that such a file is missing, the results of the build's steps, which the cache keeps, tell where it is.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from imagebuilder.closure import globs, scripts
from imagebuilder.errors import OutputError
from imagebuilder.store import Store, key_of
from imagebuilder.tree import EMPTY, Blob, Kind, Node, Tree, resolve_in
from imagebuilder.words import to_add

MOST_NAMED = 4
MOST_CHARACTERS, MOST_MATCHES = 4000, 8  # of a line, and in it
MOST_JARS, LARGEST_JAR_BYTES = 200, 32 << 20
LARGEST_CONFIGURATION_BYTES = 1 << 20
INCLUDES = re.compile(rb"^[ \t]*include(?:_?dir)?[ \t]+[\"']?(/[\w./@+~-]*\*[\w.*-]*)", re.IGNORECASE | re.MULTILINE)
"""A line of a configuration that reads all files of a pattern: of nginx, redis, haproxy and others; those that find
none say nothing."""
PROGRAMS = ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin")
PATH = re.compile(r"(?<![\w./~$@-])(/[\w.@+~-]+(?:/[\w.@+~:-]+)*)")
SEARCHED = re.compile(r"perl(?:5|-base)?|(?:vendor|site)_(?:perl|ruby)|ruby|lib|\d+(?:\.\d+)+|[\w-]+-linux[\w-]*")
"""The last folder of a path on which Perl and Ruby look for modules; ``lib`` is a gem's."""
NODE_FOLDER = re.compile(r"/(?:nodejs|node_modules)/")
GONE = re.compile(
    r"no such file|not found|cannot (?:find|open|access|read|load|stat|execute)|can't (?:find|open|load|stat)|unable to"
    r"|could not|couldn't|failed to|does not exist|doesn't exist|missing|\bENOENT\b|FileNotFoundException|NoSuchFile",
    re.IGNORECASE,
)
Found = Iterator[str]


@dataclass(frozen=True)
class Contents:
    """What an image has, and what its sources had for it: nodes by path. ``packages`` names whose a path is,
    ``exclude`` are the recipe's globs."""

    image: Tree
    sources: Mapping[str, Node]
    packages: Mapping[str, str] = field(default_factory=dict)
    exclude: Sequence[str] = ()

    def left_out(self, path: str) -> bool:
        """Whether the sources have what the image lacks."""
        return self.image.resolve(path) is None and resolve_in(self.sources, path) is not None

    def ending(self, *ends: str) -> Found:
        """What is left out, by the end of its path."""
        return (path for path in self.sources if path.endswith(ends) and self.left_out(path))

    def below(self, path: str) -> Found:
        """The files in a folder of the sources."""
        real = f"{resolve_in(self.sources, path) or path}/"
        return (
            each for each in self.sources if each.startswith(real) and self.sources[each].kind is not Kind.DIRECTORY
        )

    def empty(self, path: str) -> bool:
        """Whether the image lacks this folder of the sources, which is there to have files made in it."""
        return self.left_out(path) and next(self.below(path), None) is None

    def whole(self, folder: str, path: str) -> str:
        """The path, or all of its folder, a language's modules, when the image has none of them: they need one another,
        and one at a time would be a failed start for each."""
        begin = f"{folder}/"
        kept = any(each.startswith(begin) for each, node in self.image.items() if node.kind is not Kind.DIRECTORY)
        return path if kept else folder

    def owner(self, path: str) -> str:
        """The package of a file, or of the first one in a folder."""
        real = resolve_in(self.sources, path) or path
        known = (self.packages[each] for each in (path, real, *self.below(path)) if each in self.packages)
        return next(known, "a source")


def advice(lines: Iterable[str], contents: Contents) -> Iterator[str]:
    """What to do about the files that the lines say are missing; nothing where no source has them."""
    said = [line[:MOST_CHARACTERS] for line in lines]
    wanted = dict.fromkeys(path for line in said for path in _wanted(line, contents))
    excluded = {path: glob for path in wanted if (glob := globs.matches(path, contents.exclude))}
    for path, glob in islice(excluded.items(), 1):
        yield f'exclude = ["{glob}"] under [source] keeps {path} out of the image'
    if named := [path for path in wanted if path not in excluded][:MOST_NAMED]:
        owners = dict.fromkeys(map(contents.owner, named))
        have = "have" if len(owners) > 1 else "has"
        yield f"{' and '.join(owners)} {have} what the image lacks: {to_add(named, 'include', 'source')}"
    yield from islice(dict.fromkeys(hint for line in said for hint in _programs(line, contents)), 1)


def unread(contents: Contents) -> Iterator[str]:
    """What to do about an application that says nothing, and does nothing: what the image's configuration includes by
    a pattern, of which a source has files and the image none."""
    read = dict.fromkeys(each for file in contents.image.items() for each in _patterns(*file))
    left_out = {pattern: found for _, pattern in read if (found := _matched(pattern, contents))}
    for file in dict.fromkeys(file for file, pattern in read if pattern in left_out):
        patterns = [pattern for by, pattern in read if by == file and pattern in left_out][:MOST_NAMED]
        owners = dict.fromkeys(contents.owner(left_out[each]) for each in patterns)
        have = "have" if len(owners) > 1 else "has"
        yield (
            f"{file} reads {' and '.join(patterns)}, of which {' and '.join(owners)} {have} some, and the image none: "
            + to_add(patterns, "include", "source")
        )


def _patterns(path: str, node: Node) -> Iterator[tuple[str, str]]:
    """The patterns of files that a file of the image's configuration includes, each with that file's path."""
    if not path.startswith("/etc/") or node.kind is not Kind.FILE or node.size_bytes > LARGEST_CONFIGURATION_BYTES:
        return
    with suppress(OSError, OutputError):
        for match in INCLUDES.finditer(node.content.read()):
            yield path, match[1].decode()


def _matched(pattern: str, contents: Contents) -> str | None:
    """A file of the sources that a pattern reads, where the image has none."""
    if any(map(globs.matcher(pattern).fullmatch, contents.image)):
        return None
    return next((each for each in filter(globs.matcher(pattern).fullmatch, contents.sources)), None)


def complains(lines: Iterable[str]) -> bool:
    """Whether a line says that something is missing."""
    return any(pattern.search(line[:MOST_CHARACTERS]) for line in lines for pattern in (GONE, *ROWS))


def keep(store: Store, image: str, *, sources: Sequence[str], root: str, exclude: Sequence[str]) -> None:
    """Remember of which results of steps an image (its digest) is made, where the cache can be written."""
    made = {"sources": [*sources], "root": root, "exclude": [*exclude]}
    if store.record(key(image)) != made:
        with suppress(OutputError):
            store.keep(key(image), made)


def load(store: Store, image: str) -> Contents | None:
    """What an image has and what its sources had; nothing when the cache does not know any more."""
    made = store.record(key(image))
    root = store.record(made["root"]) if made else None
    layers = [store.record(step) for step in made["sources"]] if made else []
    if made is None or root is None or None in layers:
        return None
    sources: dict[str, Node] = {}
    packages: dict[str, str] = {}
    for layer in filter(None, layers):
        sources |= _nodes(layer["tree"], store)
        packages |= layer["origins"]
    return Contents(Tree(_nodes(root["tree"], store)), sources, packages, made["exclude"])


def key(image: str) -> str:
    """The key of the record of an image (its digest)."""
    return key_of(["contents of an image", image])


def _nodes(document: Mapping[str, Mapping[str, Any]], store: Store) -> dict[str, Node]:
    """A tree's nodes as far as one asks for them here: no content is read, or has to be there."""
    return {
        path: Node(
            Kind(entry["kind"]),
            entry["mode"],
            content=_content(entry["sha256"], entry["bytes"], store) if "sha256" in entry else EMPTY,
            target=entry.get("target", ""),
        )
        for path, entry in document.items()
    }


def _content(digest: str, size_bytes: int, store: Store) -> Blob:
    return Blob(digest, size_bytes, path=store.place(digest))


# What a line asks for


def _wanted(line: str, contents: Contents) -> Found:
    for pattern, row in ROWS.items():
        for match in islice(pattern.finditer(line), MOST_MATCHES):
            yield from islice(row(match[1], contents), 1)
    for path in _paths(line):
        folder = path.rpartition("/")[0]
        if contents.left_out(path):
            yield path
        elif folder and contents.image.resolve(path) is None and contents.empty(folder):
            yield folder


def _paths(line: str) -> list[str]:
    """The paths in a line that says that something is missing."""
    found = islice(PATH.finditer(line), MOST_MATCHES) if GONE.search(line) else ()
    return [match[1].rstrip(".:,") for match in found]


def _library(name: str, contents: Contents) -> Found:
    return contents.ending(f"/{name}")


def _python(name: str, contents: Contents) -> Found:
    """A module, or the folder of a package; ``a.b`` is b of a."""
    place = rf"(.*/(?:python3(?:\.\d+)?|lib-dynload|[a-z]+-packages))/{re.escape(name.replace('.', '/'))}"
    pattern = re.compile(rf"({place})(?:\.py|\.[\w-]+\.so|\.so|(/__init__)\.py)")
    found = filter(None, map(pattern.fullmatch, contents.ending(".py", ".so")))
    return (contents.whole(match[2], match[1] if match[3] else match[0]) for match in found)


def _node(name: str, contents: Contents) -> Found:
    if name.startswith("/"):
        return (name + end for end in ("", ".js", ".json", "/index.js") if contents.left_out(name + end))
    package = "/".join(name.split("/")[: 2 if name.startswith("@") else 1])
    found = contents.ending(f"/nodejs/{package}", f"/node_modules/{package}")
    return (path for path in found if len(NODE_FOLDER.findall(path)) == 1)  # in another's folder it is for that one


def _java(name: str, contents: Contents) -> Found:
    """The archives that have the class."""
    member = f"{name.replace('.', '/')}.class"
    return (path for path in islice(contents.ending(".jar"), MOST_JARS) if member in _members(contents.sources[path]))


def _members(node: Node) -> list[str]:
    import zipfile  # seldom needed

    with suppress(OSError, ValueError, zipfile.BadZipFile):
        if node.size_bytes <= LARGEST_JAR_BYTES:
            return zipfile.ZipFile(io.BytesIO(node.content.read())).namelist()
    return []


def _perl(name: str, contents: Contents) -> Found:
    return _loaded(contents, "perl", name, "")


def _ruby(name: str, contents: Contents) -> Found:
    return _loaded(contents, "ruby", name, ".rb", ".so")


def _loaded(contents: Contents, language: str, name: str, *ends: str) -> Found:
    """A module that stands in a folder which the language searches, not further below one: ``b.pm`` is not a/b.pm."""
    for path in contents.ending(*(f"/{name}{end}" for end in ends)):
        folder = path[: path.rindex(f"/{name}")]
        if f"/{language}" in path and SEARCHED.fullmatch(folder.rpartition("/")[2]):
            yield contents.whole(folder, path)


def _program(name: str, contents: Contents) -> Found:
    places = [f"{folder}/{name}" for folder in PROGRAMS]
    return iter(()) if any(map(contents.image.resolve, places)) else filter(contents.left_out, places)


# How a program reports that something is missing -> what has the name in that report.
ROWS: Mapping[re.Pattern[str], Callable[[str, Contents], Found]] = {
    re.compile(r"([\w.+-]+\.so[\w.]*): cannot open shared object file"): _library,
    re.compile(r"Error loading shared library ([\w.+-]+)"): _library,
    re.compile(r"No module named '?([A-Za-z_]\w*(?:\.\w+)*)"): _python,
    re.compile(r"Cannot find (?:module|package) '([^'.][^']*)'"): _node,
    re.compile(r"(?:ClassNotFoundException|NoClassDefFoundError): ([\w./$]+)"): _java,
    re.compile(r"Can't locate (\S+\.pm) in @INC"): _perl,
    re.compile(r"cannot load such file -- ([\w./-]+)"): _ruby,
    re.compile(r"\benv: \W?([\w.+-]+)\W?: No such file"): _program,
    re.compile(r"\b(?:ba|da)?sh: (?:line )?(?:\d+: )?([\w.+-]+): (?:command )?not found"): _program,
}


# Programs


def _programs(line: str, contents: Contents) -> Found:
    """Of a program that "is not found": the interpreter that is missing of one that is there, or its package."""
    for path in _paths(line):
        real = contents.image.resolve(path)
        if real is not None:
            yield from _interpreters(path, contents.image[real], contents)
        elif path.rpartition("/")[0] in PROGRAMS and not contents.left_out(path) and (remedy := scripts.remedy(path)):
            yield f"the image has no {path}: {remedy}"


def _interpreters(path: str, script: Node, contents: Contents) -> Found:
    try:
        words = scripts.first_line(script)
    except OSError:  # the cache has its content no longer
        return
    for program in scripts.interpreters(words, contents.image, ()) if words else ():
        if contents.image.resolve(program) is None:
            left_out = contents.left_out(program)
            remedy = to_add([program], "include", "source") if left_out else scripts.remedy(program)
            yield f"{path} is there, but not {scripts.shown(program)}, which its first line names" + (
                f": {remedy}" if remedy else ""
            )
