"""Modes, owners and empty folders of what a recipe brings itself: kept, or said; the same whatever the umask is."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.build.outputs import write_root
from imagebuilder.build.steps.root import _tell_ungranted
from imagebuilder.build.walk import Build
from imagebuilder.errors import InputError
from imagebuilder.events import Event, Warned, silent
from imagebuilder.recipe.load import load
from imagebuilder.recipe.values import Capability
from imagebuilder.sources import Context
from imagebuilder.sources.build import BuildSource
from imagebuilder.sources.files import FilesSource
from imagebuilder.sources.layer import Layer
from imagebuilder.sources.maintainer.capabilities import encoded
from imagebuilder.store import Store
from imagebuilder.tree import Tree, file
from tests.sources.provided import provided


@pytest.fixture
def umask() -> Iterator[None]:
    """Tests may set it."""
    kept = os.umask(0o022)
    yield
    os.umask(kept)


def files(context: Context, *patterns: str, **more: Any) -> Layer:
    return provided(FilesSource(type="files", files=patterns, **more), context)


def built(context: Context, script: str, outputs: dict[str, str], **more: Any) -> Layer:
    (context.folder / "input").touch()
    source = BuildSource(type="build", inputs=("input",), command=("sh", "-c", script), outputs=outputs, **more)
    return provided(source, context)


def modes(tree: Tree) -> dict[str, int]:
    return {path: node.mode for path, node in tree.items()}


CHECKOUT = {"data/page": 0o644, "data/run": 0o755, "data/bin/tool": 0o4755, "data/empty": None}


def check_out(folder: Path, umask: int) -> None:
    """What git (or another tool) lays down under a umask: modes less its bits."""
    os.umask(umask)
    for name, mode in CHECKOUT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if mode is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_text(name)
            (folder / name).chmod(mode | 0o022 & ~umask if umask == 0o002 else mode & ~umask)


@pytest.mark.usefixtures("umask")
def test_a_checkout_gives_the_same_under_every_umask(tmp_path: Path) -> None:
    layers = []
    for number, umask in enumerate((0o022, 0o002, 0o077)):
        folder = tmp_path / str(number)
        folder.mkdir()
        check_out(folder, umask)
        events: list[Event] = []
        layers.append(files(Context(folder, Store(tmp_path / "store"), events.append), "data"))
        assert not [event for event in events if isinstance(event, Warned)]
    assert layers[0].tree == layers[1].tree == layers[2].tree
    found = modes(layers[0].tree)
    assert [found[f"/data/{name}"] for name in ("page", "run", "bin/tool", "empty")] == [0o644, 0o755, 0o4755, 0o755]


@pytest.mark.usefixtures("umask")
def test_a_file_that_was_closed_on_purpose_is_told(context: Context, events: list[Event]) -> None:
    for name in ("secret", "open"):
        (context.folder / name).write_text(name)
    (context.folder / "secret").chmod(0o600)
    assert modes(files(context, "*").tree)["/secret"] == 0o644
    (warning,) = [event.text for event in events if isinstance(event, Warned)]
    assert warning == 'secret: mode 0600 here, 0644 in the image; say it in the recipe to keep it (mode = "0600")'
    events.clear()
    assert modes(files(context, "secret", mode="0600").tree)["/secret"] == 0o600  # as the hint says
    assert not [event for event in events if isinstance(event, Warned)]


@pytest.mark.tools
@pytest.mark.usefixtures("umask")
def test_what_a_command_makes_keeps_its_modes_whatever_our_umask_is(context: Context) -> None:
    script = "mkdir -p d/empty d/shut; echo > d/plain; echo > d/su; chmod 4755 d/su; echo > d/shut/key; "
    script += "chmod 600 d/shut/key; chmod 2750 d/shut"
    for umask in (0o022, 0o077):
        os.umask(umask)
        found = modes(built(context, script, {"d": "/d"}).tree)
        assert {path: f"{mode:o}" for path, mode in found.items() if path != "/"} == {
            "/d": "755", "/d/empty": "755", "/d/plain": "644", "/d/shut": "2750", "/d/shut/key": "600", "/d/su": "4755"
        }  # fmt: skip
    assert modes(built(context, script, {"d": "/d"}, mode="0640").tree)["/d/shut"] == 0o750
    assert modes(built(context, "mkdir d", {"d": "/d"}).tree)["/d"] == 0o755


RECIPE = """
name = "modes"
version = "1"
summary = "modes and owners"
[[source]]
type = "build"
inputs = ["run.c"]
command = ["sh", "-c", "gcc -static -o run run.c && chmod 4755 run"]
outputs = { run = "/usr/bin/run" }
[[source]]
type = "files"
files = ["data"]
target = "/srv"
mode = "0640"
owner = "app:500"
[application]
command = "/usr/bin/run"
[ready]
exit = 0
"""

WITHOUT_FILES = RECIPE.replace('["run.c"]', '["recipe.toml"]').replace('["data"]', '["recipe.toml"]')


@pytest.mark.tools
def test_modes_and_owners_in_the_image(tmp_path: Path) -> None:
    (tmp_path / "data/empty").mkdir(parents=True)
    (tmp_path / "data/page").write_text("page")
    (tmp_path / "run.c").write_text("int main(void) { return 0; }")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    root = Build(load(tmp_path), Store(tmp_path / "store"), silent).root
    found = {path: (f"{node.mode:o}", node.uid, node.gid) for path, node in root.items()}
    assert found["/usr/bin/run"] == ("4755", 0, 0)
    assert found["/srv/data/page"] == ("640", 500, 500)
    assert found["/srv/data/empty"] == ("750", 500, 500)
    assert found["/srv"] == found["/srv/data"] == ("755", 0, 0)
    assert b"app:x:500:500:" in root["/etc/passwd"].content.read()
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("app:500", "aap"))
    with pytest.raises(InputError, match=r'source\.owner: no package of the image knows a user "aap"'):
        _ = Build(load(tmp_path), Store(tmp_path / "store"), silent).root


CAPABLE = replace(file(b"ping"), xattrs=(("security.capability", encoded("cap_net_raw,cap_net_admin+ep") or b""),))


@pytest.mark.parametrize(
    ("granted", "lacking"),
    [
        ((), ("net_admin", "net_raw")),
        (("net_raw",), ("net_admin",)),
        (("net_raw", "net_admin", "chown"), ()),
    ],
)
def test_file_capabilities_that_the_recipe_does_not_grant_are_told(
    granted: tuple[str, ...], lacking: tuple[str, ...]
) -> None:
    """With the key that grants them: written so, the warning is gone."""
    said: list[Event] = []
    tree = Tree({"/usr/bin/ping": CAPABLE, "/a": file(b"")})
    _tell_ungranted(tree, tuple(map(Capability, granted)), said.append)
    assert [event.text for event in said if isinstance(event, Warned)] == [
        "the file capabilities of /usr/bin/ping have no effect, since no program gains rights here: if the application "
        f"needs them, add capabilities = [{names}] to [application]"
        for names in [", ".join(f'"{name}"' for name in lacking)]
        if names
    ]


@pytest.mark.parametrize(("name", "lost"), [("cpio", True), ("erofs", False), ("tar", False)])
def test_attributes_that_a_format_has_no_room_for_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, lost: bool
) -> None:
    said: list[Event] = []
    (tmp_path / "recipe.toml").write_text(WITHOUT_FILES)
    build = Build(load(tmp_path), Store(tmp_path / "store"), said.append)
    monkeypatch.setattr(Build, "root", Tree({"/ping": CAPABLE}))
    write_root(build, name, tmp_path)
    expected = [f"{name} has no room for extended attributes: those of /ping are lost"] if lost else []
    assert [event.text for event in said if isinstance(event, Warned)] == expected
