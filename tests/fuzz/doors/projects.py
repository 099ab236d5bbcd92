"""Release archives and what language projects are made of."""

import gzip
import lzma
from io import BytesIO
from pathlib import Path

from imagebuilder.events import silent
from imagebuilder.sources import archive
from imagebuilder.sources.java import jar as jars
from imagebuilder.sources.npm import lock, package, start
from imagebuilder.sources.python import index, locks
from imagebuilder.sources.python import wheel as wheels
from imagebuilder.tree import Blob, Tree, file
from tests.fuzz.doors.door import Door
from tests.sources.jars import jar, nested
from tests.sources.npm import package as npm_package
from tests.sources.test_archive import SEVERAL, ZIPPED
from tests.sources.test_deb import tar
from tests.sources.test_npm_lock import entry
from tests.sources.test_npm_lock import lock as npm_lock
from tests.sources.test_python_locks import A, listed
from tests.sources.test_python_locks import packages as pylock
from tests.sources.wheels import PYTHON, wheel

ARCHIVES = (ZIPPED, tar(SEVERAL), gzip.compress(tar(SEVERAL), mtime=0), lzma.compress(tar(SEVERAL)))

PROJECT = lock.Described.model_validate({"name": "app", "dependencies": {"a": "^1"}})
NPM_LOCKS = (
    npm_lock({"node_modules/a": entry(bin={"a": "cli.js"}, os=["linux"])}, dependencies={"a": "^1"}),
    npm_lock(
        {"node_modules/a": entry(dependencies={"b": "1"}), "node_modules/a/node_modules/b": entry(optional=True)},
        dependencies={"a": "^1"},
        version=2,
    ),
)
NPM_PACKAGES = (npm_package("a"), npm_package("a", "1.0.0", **{"cli.js": "#!/usr/bin/env node", "lib/x.node": ""}))
NPM_PROJECTS = (b'{"name": "app", "main": "lib", "dependencies": {"a": "^1"}, "scripts": {"start": "A=1 node b.js"}}',)


def _archive(data: bytes, _folder: Path) -> None:
    nodes = archive.read(BytesIO(data), "odd.tar", Blob.of_content)
    Tree(nodes)
    source = archive.ArchiveSource(type="archive", path="odd.tar", strip=1)
    Tree(archive.shaped(nodes, source, "odd.tar"))


def _npm_lock(data: bytes, _folder: Path) -> None:
    lock.chosen(data, PROJECT, "package-lock.json")


def _npm_package(data: bytes, _folder: Path) -> None:
    wanted = lock.Wanted("node_modules/a", "a", "1.0.0", None, "sha512", "", {"tool": "./cli.js"}, has_script=False)
    nodes = package.unpacked(BytesIO(data), wanted, Blob.of_content)
    Tree({f"/srv/app/node_modules/a{path}": node for path, node in nodes.items()})
    Tree({f"/srv/app/{path}": node for path, node in package.links(wanted, nodes)})


def _npm_project(data: bytes, folder: Path) -> None:
    (folder / "package.json").write_bytes(data)
    start.defaults(lock.described(folder), "/srv/app", ("server.js",), {})


PYLOCKS = (pylock(listed("a", "a-1.0-py3-none-any.whl")).encode(),)
PAGES = (
    b'<!DOCTYPE html><html><body>\n<a href="../f/app-1.0-py3-none-any.whl#sha256=0a" data-yanked="">x</a><br/>\n',
    b'{"files": [{"filename": "app-1.0-py3-none-any.whl", "url": "../f/a.whl", "hashes": {"sha256": "0a"}}]}',
)
REQUIREMENTS = (f"a==1 ; python_version > '3' --hash=sha256:{A}\n".encode(),)
WHEELS = (wheel(), wheel(files={"app-1.0.dist-info/entry_points.txt": "[console_scripts]\napp = app:main\n"}))


def _wheel(data: bytes, _folder: Path) -> None:
    nodes = wheels.unpack(BytesIO(data), "app.whl", "app", "1.0", PYTHON, Blob.of_content)
    wheels.licences(nodes)
    Tree(nodes)


JARS = (jar({"Main-Class": "com.example.Main", "Class-Path": "lib/a.jar b.jar"}), nested())


def _jar(data: bytes, _folder: Path) -> None:
    said = jars.read(BytesIO(data), "app.jar")
    if said.libraries:
        found = jars.taken_apart(BytesIO(data), "app.jar", said, Blob.of_content)
        Tree({f"/srv/app/{path}": file(content) for path, content in found.items()})


def _pylock(data: bytes, folder: Path) -> None:
    (folder / "lock").write_bytes(data)
    locks.of_pylock(locks.read(folder / "lock"), "lock", PYTHON)


def _index(data: bytes, _folder: Path) -> None:
    kind = "application/json" if data.startswith(b"{") else "text/html"
    for offer in index.parsed(data, kind, "http://127.0.0.1/simple/app/"):
        index.is_of(offer.filename, "app")


def _requirements(data: bytes, folder: Path) -> None:
    (folder / "lock").write_bytes(data)
    locks.of_requirements(locks.read(folder / "lock"), "lock", PYTHON, silent)


ROWS = (
    Door("archive", "tar and zip archives", _archive, ARCHIVES),
    Door("npmlock", "package-lock.json", _npm_lock, NPM_LOCKS, (b'"link":true,', b'"os":["!linux"],', b'"dev":true,')),
    Door("npm", "tarballs of npm", _npm_package, NPM_PACKAGES),
    Door("jar", "jars", _jar, JARS, (b"Start-Class: a\r\n", b"Spring-Boot-Lib: lib/\r\n", b"\r\n ", b"Main-Class:")),
    Door("wheel", "wheels", _wheel, WHEELS),
    Door("pylock", "pylock.toml", _pylock, PYLOCKS),
    Door("requirements", "requirements with hashes", _requirements, REQUIREMENTS),
    Door("index", "pages of package indexes", _index, PAGES, (b"<![", b"<!--", b"http://[", b"#sha256=", b"</a")),
    Door("project", "package.json", _npm_project, NPM_PROJECTS, (b'"scripts":{"start":"node a"},', b'"workspaces":[]')),
)
