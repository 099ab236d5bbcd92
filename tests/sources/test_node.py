"""Node projects: what is taken from a registry, checked and unpacked, what is left out, how the project is started."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.errors import SourceError
from imagebuilder.events import Event, Note, Warned
from imagebuilder.sources import SOURCES, Context, node, with_implied
from imagebuilder.sources.debian import DebianSource
from imagebuilder.sources.kind import Locked
from imagebuilder.sources.layer import Layer
from imagebuilder.sources.node import NodeSource
from imagebuilder.sources.npm.lock import Described, Wanted
from imagebuilder.sources.npm.package import unpacked
from imagebuilder.sources.npm.registry import Registry, _parsed, configured
from imagebuilder.sources.npm.start import defaults
from imagebuilder.store import Store
from imagebuilder.tree import Blob, Kind

from .npm import NpmRegistry, package, packed, project, serving


@pytest.fixture
def registry() -> Iterator[NpmRegistry]:
    with serving() as found:
        yield found


@pytest.fixture
def said() -> list[Event]:
    return []


@pytest.fixture
def context(tmp_path: Path, said: list[Event]) -> Context:
    return Context(tmp_path, Store(tmp_path / "cache"), said.append)


def source(**values: Any) -> NodeSource:
    return NodeSource.model_validate({"type": "node", "release": "trixie", "project": "app", **values})


def made(context: Context, **values: Any) -> tuple[Locked, Layer]:
    locked = node.resolve(source(**values), context)
    return locked, node.fetch(locked, context)


def wanted(name: str = "a", version: str = "1.0.0", **values: Any) -> Wanted:
    usual: dict[str, Any] = {"place": f"node_modules/{name}", "resolved": None, "bins": {}, "has_script": False}
    digest = {"algorithm": "sha512", "digest": "00" * 64}
    return Wanted(**{**usual, **digest, "name": name, "version": version, **values})


# What is in the image


def test_a_project_with_its_packages_and_their_programs(
    tmp_path: Path, context: Context, registry: NpmRegistry
) -> None:
    tool = packed(
        {
            "odd/package.json": '{"name": "@s/b"}',
            "odd/cli.js": "#!/usr/bin/env node\n",
            "odd/lib/x.js": "",
            "odd/y": "",
        },
        executable=["odd/y"],
        links={"odd/link": "/etc/passwd"},
    )
    packages = {
        "node_modules/a": registry.add("a", "1.0.0", package("a")),
        "node_modules/@s/b": {
            **registry.add("@s/b", "1.2.0", tool),
            "bin": {"tool": "./cli.js", "../up": "cli.js"},
            "license": "MIT",
        },
        "node_modules/a/node_modules/c": registry.add("c", "2.0.0", package("c", "2.0.0")),
    }
    folder = project(tmp_path / "app", registry, packages)
    (folder / "node_modules/dev").mkdir(parents=True)
    (folder / "node_modules/dev/index.js").write_text("not of production")
    (folder / ".env").write_text("SECRET=1")
    locked, layer = made(context)
    files = {path: node for path, node in layer.tree.items() if node.kind is not Kind.DIRECTORY}
    base = "/srv/app/node_modules"
    assert sorted(files) == sorted([
        "/srv/app/package.json", "/srv/app/server.js",
        f"{base}/.bin/tool", f"{base}/.bin/up", f"{base}/@s/b/cli.js", f"{base}/@s/b/lib/x.js",
        f"{base}/@s/b/package.json", f"{base}/@s/b/y",
        f"{base}/a/index.js", f"{base}/a/package.json",
        f"{base}/a/node_modules/c/index.js", f"{base}/a/node_modules/c/package.json",
    ])  # fmt: skip
    assert files[f"{base}/.bin/tool"].target == "../@s/b/cli.js"
    modes = {path.rpartition("/")[2]: files[f"{base}/@s/b/{path}"].mode for path in ("cli.js", "lib/x.js", "y")}
    assert modes == {"cli.js": 0o755, "x.js": 0o644, "y": 0o755}
    assert {(each.uid, each.gid) for each in files.values()} == {(0, 0)}
    assert [(each.name, each.version) for each in layer.packages] == [("@s/b", "1.2.0"), ("a", "1.0.0"), ("c", "2.0.0")]
    assert locked.choice is not None
    assert not layer.slim
    material = layer.materials[layer.origins[f"{base}/@s/b/y"]]
    assert (material.purl, material.licences) == ("pkg:npm/%40s/b@1.2.0", ("MIT",))
    assert material.sha256 == hashlib.sha256(tool).hexdigest()


def test_what_the_store_has_is_not_asked_for_again(tmp_path: Path, context: Context, registry: NpmRegistry) -> None:
    project(tmp_path / "app", registry, {"node_modules/a": registry.add("a", "1.0.0", package("a"))})
    first = made(context)
    registry.asked.clear()
    again = Context(context.folder, context.store, context.say, lock=[first[0].choice] if first[0].choice else [])
    assert made(again)[1].tree == first[1].tree
    assert registry.asked == []


def test_a_cold_cache_gives_the_same(tmp_path: Path, context: Context, registry: NpmRegistry) -> None:
    project(tmp_path / "app", registry, {"node_modules/a": registry.add("a", "1.0.0", package("a"))})
    other = Context(context.folder, Store(tmp_path / "other"), context.say)
    first, second = made(context), made(other)
    assert (first[0].key, first[0].choice, first[1].tree) == (second[0].key, second[0].choice, second[1].tree)


def test_what_is_for_other_systems_and_what_is_not_run_is_told(
    tmp_path: Path, context: Context, registry: NpmRegistry, said: list[Event]
) -> None:
    tarball = package("a", **{"prebuilds/linux-x64/a.node": "", "prebuilds/darwin-arm64/a.node": "", "a.musl.node": ""})
    packages = {
        "node_modules/a": {**registry.add("a", "1.0.0", tarball), "hasInstallScript": True},
        "node_modules/a/node_modules/mac": {"version": "1.0.0", "integrity": "", "optional": True, "os": ["darwin"]},
    }
    project(tmp_path / "app", registry, packages)
    _, layer = made(context)
    assert [path for path in layer.tree if path.endswith(".node")] == [
        "/srv/app/node_modules/a/prebuilds/linux-x64/a.node"
    ]
    notes = [event.text for event in said if isinstance(event, Note | Warned)]
    assert "left out, as they are for other systems: mac" in notes
    assert any(text.startswith("not run are the install scripts of a 1.0.0: ") for text in notes)


def test_the_files_that_the_recipe_names(tmp_path: Path, context: Context, registry: NpmRegistry) -> None:
    folder = project(tmp_path / "app", registry, {})
    (folder / "other.js").write_text("")
    (tmp_path / "outside").write_text("")
    _, layer = made(context, files=["app/*.json", "app/other.js"], target="/app")
    assert {path for path in layer.tree if path.startswith("/app/")} == {
        "/app/package.json", "/app/package-lock.json", "/app/other.js"
    }  # fmt: skip
    with pytest.raises(SourceError, match="outside is not in the project's folder app"):
        made(context, files=["outside"])


def test_debians_node_comes_before_it() -> None:
    debian, own = with_implied([source()])
    assert isinstance(debian, DebianSource)
    assert (debian.release, debian.packages, own) == ("trixie", ("nodejs",), source())
    assert with_implied([debian, source()]) == (debian, source())


# What is refused


def refusal(context: Context) -> str:
    with pytest.raises(SourceError) as refused:
        made(context)
    assert refused.value.message.isprintable()
    return refused.value.message


def test_another_tarball_than_the_lock_has(tmp_path: Path, context: Context, registry: NpmRegistry) -> None:
    entry = registry.add("a", "1.0.0", package("a"))
    registry.add("a", "1.0.0", package("a", evil="x"))
    project(tmp_path / "app", registry, {"node_modules/a": entry})
    assert "has the sha512" in refusal(context)


def test_a_package_that_the_registry_lacks(tmp_path: Path, context: Context, registry: NpmRegistry) -> None:
    entry = registry.add("a", "1.0.0", package("a"))
    registry.files.clear()
    project(tmp_path / "app", registry, {"node_modules/a": entry})
    assert "the server answers 404" in refusal(context)


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("package.json", "project must name the folder of a Node project"),
        ("package-lock.json", "`npm install --package-lock-only` writes it"),
    ],
)
def test_a_project_that_is_none(
    tmp_path: Path, context: Context, registry: NpmRegistry, missing: str, sentence: str
) -> None:
    (project(tmp_path / "app", registry, {}) / missing).unlink()
    assert sentence in refusal(context)


def test_workspaces(tmp_path: Path, context: Context, registry: NpmRegistry) -> None:
    project(tmp_path / "app", registry, {}, workspaces=["x"])
    assert "has workspaces, which are not taken" in refusal(context)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"no archive", "is no tarball of npm, or a damaged one"),
        (package("a")[:60], "is no tarball of npm, or a damaged one"),
        (package("b"), "is another package: its package.json says 'b'"),
        (packed({"package/index.js": ""}), "has no package.json that can be read"),
        (packed({"package/package.json": "{"}), "has no package.json that can be read"),
        (packed({"package/../../etc/passwd": ""}), "would be written outside its place"),
        (packed({"/etc/passwd": ""}), "would be written outside its place"),
    ],
)
def test_a_tarball_that_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(SourceError) as refused:
        unpacked(io.BytesIO(data), wanted(), Blob.of_content)
    assert sentence in refused.value.message
    assert refused.value.message.isprintable()


# The registry

AT_OTHER = "https://o.example/npm/a/-/a-1.0.0.tgz"


def test_a_token_is_sent_to_the_registry_that_it_is_for(
    tmp_path: Path, context: Context, registry: NpmRegistry
) -> None:
    registry.token = "word"
    folder = project(tmp_path / "app", registry, {"node_modules/a": registry.add("a", "1.0.0", package("a"))})
    assert "401" in refusal(context)
    with (folder / ".npmrc").open("a") as stream:
        stream.write(f"{registry.url.removeprefix('http:')}:_authToken=word\n")
    assert "/srv/app/node_modules/a/index.js" in made(context)[1].tree


@pytest.mark.parametrize(
    ("values", "package", "url"),
    [
        ({"registry": "https://r.example/npm"}, wanted(), "https://r.example/npm/a/-/a-1.0.0.tgz"),
        ({"@s:registry": "https://s.example"}, wanted("@s/b"), "https://s.example/@s/b/-/b-1.0.0.tgz"),
        ({"@s:registry": "https://s.example"}, wanted(resolved=AT_OTHER), AT_OTHER),
        ({"registry": "https://r.example/"}, wanted(resolved=AT_OTHER), "https://r.example/a/-/a-1.0.0.tgz"),
        ({"registry": "https://r.example/", "replace-registry-host": "never"}, wanted(resolved=AT_OTHER), AT_OTHER),
        ({"registry": "https://r.example"}, wanted(resolved="https://o.example/a.tgz"), "https://o.example/a.tgz"),
    ],
)
def test_where_a_package_is(values: dict[str, str], package: Wanted, url: str) -> None:
    assert Registry(values).url(package) == url


def test_nobody_says_where_a_package_is() -> None:
    with pytest.raises(SourceError, match=r"where a is says neither .*: set npm_config_registry to the address"):
        Registry().url(wanted())


@pytest.mark.tools
def test_where_no_file_names_a_registry_npm_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    npm = tmp_path / "npm"
    npm.write_text('#!/bin/sh\n[ "$*" = "config get registry" ] && echo https://npm.example/\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert configured(tmp_path).url(wanted()) == "https://npm.example/a/-/a-1.0.0.tgz"
    npm.write_text("#!/bin/sh\nexit 1\n")
    assert "registry" not in configured(tmp_path).values
    (tmp_path / ".npmrc").write_text("registry=https://r.example\n")
    assert configured(tmp_path).url(wanted()) == "https://r.example/a/-/a-1.0.0.tgz"


def test_lines_of_npmrc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "secret")
    lines = [
        "# no",
        "; no",
        "registry = 'https://r.example/'",
        "//r.example/:_authToken=${WORD}",
        "flag",
        "x=${NO_SUCH}",
    ]
    values = _parsed(lines)
    assert values == {"registry": "https://r.example/", "//r.example/:_authToken": "secret", "x": "${NO_SUCH}"}
    assert Registry(values).headers("https://r.example/a/-/a.tgz") == {"Authorization": "Bearer secret"}
    assert Registry(values).headers("https://other.example/a.tgz") == {}


# How it is started


@pytest.mark.parametrize(
    ("described", "files", "arguments"),
    [
        ({"scripts": {"start": "node server.js --port 80"}}, [], ["server.js", "--port", "80"]),
        ({"scripts": {"start": "tool serve"}}, [], ["/srv/app/node_modules/t/cli.js", "serve"]),
        ({"scripts": {"start": "node a.js && node b.js"}, "main": "lib"}, ["lib/index.js"], ["lib/index.js"]),
        ({"main": "./app"}, ["app.js"], ["app.js"]),
        ({"main": "gone.js"}, ["index.js"], ["index.js"]),
        ({}, ["index.js", "server.js"], ["server.js"]),
        ({}, ["other.js"], None),
        ({"scripts": {"start": "unknown"}}, [], None),
        ({"scripts": {"start": "node 'open"}}, [], None),
    ],
)
def test_how_a_project_is_started(described: dict[str, Any], files: list[str], arguments: list[str] | None) -> None:
    found = defaults(Described.model_validate(described), "/srv/app", files, {"tool": "node_modules/t/cli.js"})
    assert found.get("arguments") == arguments
    assert found.get("command") == (None if arguments is None else "/usr/bin/node")


def test_the_environment_of_a_start_script() -> None:
    described = Described.model_validate({"scripts": {"start": "NODE_ENV=test PORT=80 node x.js"}})
    assert defaults(described, "/srv/app", [], {})["environment"] == {"NODE_ENV": "test", "PORT": "80"}


def test_what_is_known_of_the_application(tmp_path: Path, context: Context, registry: NpmRegistry) -> None:
    project(tmp_path / "app", registry, {}, scripts={"start": "node server.js"})
    assert node.resolve(source(), context).defaults.application == {
        "command": "/usr/bin/node",
        "arguments": ["server.js"],
        "directory": "/srv/app",
        "environment": {"NODE_ENV": "production"},
    }
    assert SOURCES["node"].tells_application


def test_the_key_follows_what_counts(tmp_path: Path, context: Context, registry: NpmRegistry) -> None:
    folder = project(tmp_path / "app", registry, {"node_modules/a": registry.add("a", "1.0.0", package("a"))})
    before = node.resolve(source(), context).key
    (folder / ".npmrc").write_text(f"registry={registry.url}?other\n")
    assert node.resolve(source(), context).key == before
    assert registry.url not in json.dumps(before)
    (folder / "server.js").write_text("other")
    assert node.resolve(source(), context).key != before
