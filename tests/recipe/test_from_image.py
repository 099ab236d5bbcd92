"""The recipe of a container image: what is written, that it is built, and that nothing is left where it cannot be."""

import gzip
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from imagebuilder.arch import TARGET
from imagebuilder.build.walk import Build
from imagebuilder.errors import ImagebuilderError, InputError
from imagebuilder.events import silent
from imagebuilder.recipe.from_image import Taken, new_from_image
from imagebuilder.recipe.load import load
from imagebuilder.store import Store, sha256
from tests.oci import registries
from tests.oci.registries import packed

TCP: Mapping[str, Any] = {"ExposedPorts": {"80/tcp": {}}}


def layout(folder: Path, application: Path, told: Mapping[str, Any]) -> Path:
    """An OCI layout of a program, whose configuration says this."""
    registries.image(folder, [packed({"app": application.read_bytes()})], {"Cmd": ["/app"], **told})
    return folder


def new(folder: Path, image: Path | str, *, tag: str | None = None) -> Taken:
    return new_from_image("mine", folder / "recipes", str(image), Store(folder / "store"), say=silent, tag=tag)


def test_four_lines_are_a_recipe_that_is_built(tmp_path: Path, application: Path) -> None:
    told = {"User": "7:8", "StopSignal": "SIGQUIT", "Env": ["A=b"], "WorkingDir": "/srv", "Cmd": ["/app", "say=hi"]}
    image = layout(tmp_path / "app", application, {**told, **TCP})
    taken = new(tmp_path, image)
    text = taken.files[0].read_text()
    assert len(text.splitlines()) == 4
    source = {"type": "oci", "path": "image"}
    summary = f"The container image {image}"
    assert tomllib.loads(text) == {"name": "mine", "version": "1", "summary": summary, "source": source}
    assert [*taken.lines] == [
        "command      /app say=hi",
        "user         7:8",
        "environment  3 variables",
        "directory    /srv",
        "stop signal  QUIT",
        "ports        80",
    ]
    bundle = Build(load(taken.files[0].parent), Store(tmp_path / "store"), silent).run(tmp_path / "out")
    assert bundle.ready.tcp is not None and bundle.ready.tcp.port == 80
    assert [*bundle.image.boot.ports] == [80]


@pytest.mark.parametrize(
    ("told", "last"),
    [
        ({"ExposedPorts": {"80/tcp": {}, "443/tcp": {}, "53/udp": {}}},
         "ready = { tcp = { port = 80 } }  # it exposes 443 too"),
        ({}, "ready = { exit = 0 }  # it exposes no port; of a server: ready = { tcp = { port = 80 } }"),
    ],
)  # fmt: skip
def test_what_an_image_does_not_tell_is_the_fifth_line(
    tmp_path: Path, application: Path, told: Mapping[str, Any], last: str
) -> None:
    taken = new(tmp_path, layout(tmp_path / "app", application, told))
    assert taken.files[0].read_text().splitlines()[4:] == [last]
    assert Build(load(taken.files[0].parent), Store(tmp_path / "store"), silent).plan


def test_a_tag_of_a_layout_is_the_version(tmp_path: Path, application: Path) -> None:
    text = new(tmp_path, layout(tmp_path / "app", application, TCP), tag="v1").files[0].read_text()
    assert 'version = "v1"' in text and 'source = { type = "oci", path = "image", tag = "v1" }' in text


def test_an_archive_is_copied(tmp_path: Path, application: Path) -> None:
    plain = gzip.decompress(packed({"app": application.read_bytes()}))
    config: dict[str, Any] = {"os": "linux", "architecture": TARGET.oci, "config": {"Cmd": ["/app"], **TCP}}
    config["rootfs"] = {"diff_ids": [f"sha256:{sha256(plain)}"]}
    row = {"Config": "c.json", "RepoTags": None, "Layers": ["l.tar"]}
    files = {"c.json": json.dumps(config).encode(), "l.tar": plain, "manifest.json": json.dumps([row]).encode()}
    (tmp_path / "app.tar").write_bytes(gzip.decompress(packed(files)))
    taken = new(tmp_path, tmp_path / "app.tar")
    assert [path.name for path in taken.files] == ["recipe.toml", "image.tar"]
    assert 'path = "image.tar"' in taken.files[0].read_text()
    (tmp_path / "app.tar").unlink()
    assert Build(load(taken.files[0].parent), Store(tmp_path / "other"), silent).plan


@pytest.mark.tools
def test_an_image_of_a_registry(tmp_path: Path, application: Path) -> None:
    if missing := registries.missing_tools():
        pytest.skip(f"needs {', '.join(missing)}")
    layout(tmp_path / "app", application, TCP)
    with registries.registry(tmp_path / "registry") as running:
        running.push(tmp_path / "app", "t/app:1.2")
        name = f"{running.host}/t/app:1.2"
        taken = new(tmp_path, name)
        assert tomllib.loads(taken.files[0].read_text()) == {
            "name": "mine", "version": "1.2", "summary": f"The container image {name}",
            "source": {"type": "oci", "image": name},
        }  # fmt: skip
        assert Build(load(taken.files[0].parent), Store(tmp_path / "store"), silent).plan
        with pytest.raises(ImagebuilderError, match=r"has no tag 1\.3"):
            new_from_image("other", tmp_path / "r", f"{running.host}/t/app:1.3", Store(tmp_path / "s"), say=silent)
    assert not (tmp_path / "r").exists()


NO_PROGRAM = "names no program, neither as Entrypoint nor as Cmd"


@pytest.mark.parametrize(
    ("told", "words", "tag", "said"),
    [
        ({"Cmd": None}, "app", None, NO_PROGRAM),
        ({"Cmd": ["none"]}, "app", None, 'app: its entry point "none" is not in the image'),
        ({}, "app", "v2", "app has no tag v2"),
        ({}, "./none", None, "none is no OCI layout: index.json cannot be read"),
        ({}, "file", None, "file is no tar archive, or damaged"),
        ({}, "127.0.0.1:9/x", "v1", "--tag is for a layout or an archive"),
        ({}, "127.0.0.1:9/X", None, "has capitals, as no repository has"),
        ({}, "127.0.0.1:1/x", None, "127.0.0.1:1 cannot be reached: connection refused"),
    ],
)
def test_nothing_is_left_of_what_cannot_be_written(
    tmp_path: Path, application: Path, monkeypatch: pytest.MonkeyPatch,
    told: Mapping[str, Any], words: str, tag: str | None, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    layout(tmp_path / "app", application, told)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ImagebuilderError) as raised:
        new(tmp_path, words, tag=tag)
    assert said in raised.value.message and "\n" not in raised.value.message
    assert not (tmp_path / "recipes").exists()


def test_a_program_is_named_by_the_hint(tmp_path: Path, application: Path) -> None:
    image = layout(tmp_path / "app", application, {"Cmd": None, **TCP})
    with pytest.raises(InputError, match=NO_PROGRAM) as raised:
        new(tmp_path, image)
    assert raised.value.hint == "make an image that names one, or write the recipe with command under [application]"
    head = 'name = "by-hand"\nversion = "1"\nsummary = "x"\nsource = { type = "oci", path = "app" }\n'
    (tmp_path / "recipe.toml").write_text(f'{head}[application]\ncommand = "/app"\n')
    assert Build(load(tmp_path), Store(tmp_path / "store"), silent).planner.complete.application.command == "/app"


@pytest.mark.parametrize(
    ("ports", "has"), [([], "none"), (["80/tcp", "443/tcp"], "80, 443"), (["80/udp"], "none")], ids=str
)
def test_when_it_is_ready_is_written_by_the_hint(
    tmp_path: Path, application: Path, ports: Sequence[str], has: str
) -> None:
    layout(tmp_path / "app", application, {"ExposedPorts": {port: {} for port in ports}})
    head = 'name = "app"\nversion = "1"\nsummary = "x"\nsource = { type = "oci", path = "app" }\n'
    (tmp_path / "recipe.toml").write_text(head)
    with pytest.raises(InputError) as raised:
        _ = Build(load(tmp_path), Store(tmp_path / "store"), silent).plan
    said = f"the recipe app does not say when it is ready, and not one port does: it has {has}"
    assert raised.value.message == said and raised.value.hint
    for written in (
        raised.value.hint.removeprefix("write it, as ").removesuffix(" for a program that ends").split(", or ")
    ):
        (tmp_path / "recipe.toml").write_text(f"{head}{written}\n")
        assert Build(load(tmp_path), Store(tmp_path / "store"), silent).planner.complete.ready.is_told
