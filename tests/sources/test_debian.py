"""The debian source: packages of a small archive of our own, and the real ones."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.build.walk import Build
from imagebuilder.errors import SourceError
from imagebuilder.events import Event, Warned
from imagebuilder.recipe.load import load
from imagebuilder.sources import SOURCES, Context, Package, apt
from imagebuilder.sources.debian import DebianSource, known_users, merge_usr
from imagebuilder.sources.layer import Layer
from imagebuilder.sources.maintainer.accounts import usual_number
from imagebuilder.sources.state import state_folders
from imagebuilder.store import Store, canonical
from imagebuilder.tree import Kind, Tree, directory, file, symlink
from tests.sources.provided import provided

from .repository import Repository

pytestmark = pytest.mark.tools

DEBIAN = SOURCES["debian"]


def source(*packages: str, release: str = "bookworm") -> DebianSource:
    return DebianSource(type="debian", release=release, packages=packages)


# Accepts and refuses


def test_the_old_folders_are_merged_into_usr() -> None:
    nodes = {
        "/bin": directory(),
        "/bin/tool": file(b"tool"),
        "/lib": symlink("usr/lib"),
        "/lib64/ld.so": symlink("/lib/ld.so"),
        "/library": file(b""),
        "/usr/lib/x": file(b""),
    }
    assert list(merge_usr(nodes)) == ["/usr/bin", "/usr/bin/tool", "/usr/lib64/ld.so", "/library", "/usr/lib/x"]


@pytest.mark.parametrize(
    ("files", "users"),
    [
        ({}, {}),
        ({"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nodd\n\nno:x:a:b\n:x:1:1\n"}, {"root": (0, 0)}),
    ],
)
def test_users_by_name(files: dict[str, str], users: dict[str, tuple[int, int]]) -> None:
    assert known_users(Layer(Tree({path: file(text.encode()) for path, text in files.items()}))) == users


def test_an_unknown_package(repository: Repository, context: Context) -> None:
    with pytest.raises(SourceError, match=r'source.packages: .* "greter" .did you mean "greeter"'):
        DEBIAN.resolve(source("greter"), context)


# The description and the layer


def test_the_description_holds_every_package_by_hash_and_is_there_at_once(
    repository: Repository, context: Context
) -> None:
    described = DEBIAN.resolve(source("greeter"), context).key
    assert [row[:2] for row in described["packages"]] == [
        ("base-passwd", "1.0"),
        ("greeter", "1.5"),
        ("libgreet2", "2:3.1-4+b1"),
    ]
    again = Context(context.folder, context.store, context.say)
    first, second = (_seconds(partial(DEBIAN.resolve, source("greeter"), each)) for each in (_anew(again), again))
    assert DEBIAN.resolve(source("greeter"), again).key == described
    assert second * 20 < first  # no apt, no network


def _anew(context: Context) -> Context:
    return Context(context.folder, context.store, context.say, refresh=True)


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def test_refresh_asks_once_a_build(repository: Repository, context: Context, events: list[object]) -> None:
    again = _anew(context)
    DEBIAN.resolve(source("greeter"), again)
    said = len(events)
    DEBIAN.resolve(source("greeter"), again)
    assert said and len(events) == said


def test_the_layer_has_files_origins_and_packages(repository: Repository, context: Context) -> None:
    layer = provided(source("greeter"), context)
    assert layer.slim
    assert layer.origins["/usr/bin/greeter"] == "greeter"
    assert layer.origins["/usr/lib/greet/libgreet.so.2"] == "libgreet2"
    assert layer.tree["/lib"] == symlink("usr/lib")
    assert layer.tree.resolve("/lib/greet/libgreet.so.2") == "/usr/lib/greet/libgreet.so.2"
    assert "/DEBIAN" not in layer.tree and not [path for path in layer.tree if "control" in path]
    assert known_users(layer) == {"www-data": (33, 33)}
    assert [package.name for package in layer.packages] == ["base-passwd", "greeter", "libgreet2"]


def test_a_layer_comes_back_out_of_the_store(repository: Repository, context: Context) -> None:
    layer = provided(source("greeter"), context)
    document = layer.save(context.store)
    assert canonical(document)
    assert Layer.load(document, context.store) == layer


# The real ones


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A context whose store all tests with real packages share."""
    folder = tmp_path_factory.mktemp("real")
    return Context(folder, Store(folder / "store"), lambda event: None)


@pytest.mark.network
@pytest.mark.parametrize(
    ("release", "package", "program"),
    [
        ("bookworm", "nginx", "/usr/sbin/nginx"),
        ("bookworm", "redis-server", "/usr/bin/redis-server"),
        ("bookworm", "python3-minimal", "/usr/bin/python3"),
        ("trixie", "nginx", "/usr/sbin/nginx"),
    ],
)
def test_real_packages_unpack_to_what_dpkg_lists(shared: Context, release: str, package: str, program: str) -> None:
    layer = provided(source(package, release=release), shared)
    assert layer.tree.resolve(program)
    assert known_users(layer)["www-data"] == (33, 33)
    files = apt.fetch(release, layer.packages, store=shared.store, say=shared.say)
    for each in layer.packages:
        _compare(layer, each, files[each.name])


# Modes that a package's own script sets when it is installed.
INSTALLED = {"/etc/redis/redis.conf": "640"}


def _compare(layer: Layer, package: Package, deb: Path) -> None:
    """Every file that ``dpkg-deb --contents`` lists is there, with its mode and size."""
    for line in process.run(["dpkg-deb", "--contents", deb]).text.splitlines():
        mode, _, size, *_ = line.split()
        path = line.split(" ./", 1)[1].split(" -> ")[0]
        if not mode.startswith("-"):
            continue
        real = layer.tree.resolve(f"/{path}")
        assert real, f"{package.name}: {path}"
        node = layer.tree[real]
        assert node.kind is Kind.FILE
        expected = INSTALLED.get(f"/{path}", f"{_mode_bits(mode):o}")
        assert (f"{node.st_mode & 0o7777:o}", str(node.size_bytes)) == (expected, size)


def _mode_bits(letters: str) -> int:
    bits = sum(1 << (8 - place) for place, letter in enumerate(letters[1:]) if letter not in "-ST")
    special = {3: 0o4000, 6: 0o2000, 9: 0o1000}
    return bits | sum(bit for place, bit in special.items() if letters[place] in "sStT")


def test_maintainer_scripts_are_followed_when_packages_are_unpacked(repository: Repository, context: Context) -> None:
    repository.add(
        "scripted",
        files={"usr/bin/real-tool": b"#!/usr/bin/greet\n"},
        control={
            "postinst": "#!/bin/sh\nupdate-alternatives --install /usr/bin/tool tool /usr/bin/real-tool 1\n"
            "adduser --system --group scripted\nsome-tool /usr\n"
        },
    )
    repository.publish()
    layer = provided(source("scripted"), context)
    assert layer.tree.resolve("/usr/bin/tool") == "/usr/bin/real-tool"
    assert layer.origins["/etc/alternatives/tool"] == "scripted"
    assert {"www-data", "scripted"} <= known_users(layer).keys()
    assert layer.setup.unmade == {"scripted": ("some-tool",)}
    assert Layer.load(layer.save(context.store), context.store) == layer


def test_folders_of_packages_that_are_in_the_image_are_kept() -> None:
    tree = Tree(
        {"/var/lib/a": directory(mode=0o700, uid=7), "/run/b": directory(), "/usr/x": directory(), "/var/f": file(b"")}
    )
    tree = tree.put("/var/run", symlink("/run"))
    layer = Layer(tree, {"/var/lib/a": "a", "/run/b": "b", "/usr/x": "a", "/var/f": "a", "/var/run": "base-files"})
    assert state_folders([layer], Tree(), {"a"}) == {
        "/var/lib/a": directory(mode=0o700, uid=7),
        "/var/run": symlink("/run"),
    }
    assert "/var/lib/a" not in state_folders([layer], Tree({"/var/lib": symlink("/x")}), {"a"})


RECIPE = """
name = "scripted"
version = "1"
summary = "what scripts make, in an image"
source = { type = "debian", release = "bookworm", packages = ["whole"], include = ["/etc/made"] }
application = { command = "/usr/bin/tool", user = "whole" }
ready = { exit = 0 }
"""


def test_an_image_has_what_scripts_make(
    repository: Repository, context: Context, events: list[Event], tmp_path: Path
) -> None:
    (tmp_path / "tool.c").write_text("int main(void) { return 0; }")
    process.run(["gcc", "-static", "-o", tmp_path / "tool", tmp_path / "tool.c"])
    script = """#!/bin/sh
update-alternatives --install /usr/bin/tool tool /usr/lib/tools/tool 1
adduser --system --group --home /var/lib/whole whole
install -d -o whole -g whole -m 750 /var/lib/whole
echo made > /etc/made
some-tool /usr
"""
    files = {"usr/lib/tools/tool": (tmp_path / "tool").read_bytes()}
    repository.add("whole", files=files, modes={"usr/lib/tools/tool": 0o755}, control={"postinst": script})
    repository.publish()
    (tmp_path / "recipe.toml").write_text(RECIPE)
    build = Build(load(tmp_path), context.store, context.say)
    root = build.root
    assert root["/etc/made"].content.read() == b"made\n"
    assert root["/usr/bin/tool"] == symlink("/etc/alternatives/tool")
    passwd = root["/etc/passwd"].content.read().decode()
    number = usual_number("whole")
    assert f"whole:*:{number}:{number}::/var/lib/whole:" in passwd and "\nwww-data:*:33:33:" in passwd
    assert (root["/var/lib/whole"].mode, root["/var/lib/whole"].uid) == (0o750, number)
    image = build.run(tmp_path / "out").image
    assert [(line.link, line.target) for line in image.alternatives] == [("/usr/bin/tool", "/usr/lib/tools/tool")]
    assert image.unmade == {"whole": ("some-tool",)}
    sentence = "whole: not done here is what its postinst does: some-tool"
    assert [event.text for event in events if isinstance(event, Warned)].count(sentence) == 1
