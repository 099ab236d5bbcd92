"""Container images as a source: what is built of them, how they are started, and what is refused, in a sentence."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import process
from imagebuilder.arch import TARGET
from imagebuilder.build.walk import Build
from imagebuilder.errors import ImagebuilderError, SourceError
from imagebuilder.events import Event, Warned, silent
from imagebuilder.oci import execution
from imagebuilder.oci.layout import Layout
from imagebuilder.oci.manifest import Execution, manifest_of
from imagebuilder.recipe.load import load
from imagebuilder.sources import Context, oci
from imagebuilder.sources.kind import Locked
from imagebuilder.sources.layer import Layer
from imagebuilder.sources.oci import OciSource
from imagebuilder.store import Store, sha256
from imagebuilder.tree import Blob, Tree, directory, file
from tests.oci import registries
from tests.oci.making import shown
from tests.oci.registries import MANIFEST, Image, Running, packed

INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
OTHER = "s390x"
PASSWD = b"root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv/web:/bin/sh\n"
GROUP = b"root:x:0:\nstaff:x:50:\n"
ABSOLUTE = "expected an absolute path, as in '/etc/app.conf'"
WITHIN = "expected an absolute path without '..'"
Edit = Callable[[dict[str, Any]], object]


def nothing(_: dict[str, Any]) -> None:
    """As it is."""


def layout(
    folder: Path, files: dict[str, bytes], *, config: Edit = nothing, manifest: Edit = nothing, index: Edit = nothing
) -> Path:
    """Write an OCI layout of one layer, whose documents may be edited."""
    made = registries.image(folder, [packed(files)])
    blobs = folder / "blobs/sha256"

    def put(document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(document).encode()
        (blobs / sha256(data)).write_bytes(data)
        return {"digest": f"sha256:{sha256(data)}", "size": len(data)}

    told = json.loads((blobs / made.digest.removeprefix("sha256:")).read_text())
    started = json.loads((blobs / told["config"]["digest"].removeprefix("sha256:")).read_text())
    started["architecture"] = TARGET.oci
    config(started)
    told["config"] |= put(started)
    manifest(told)
    top = json.loads((folder / "index.json").read_text())
    top["manifests"][0] |= put(told)
    index(top)
    (folder / "index.json").write_text(json.dumps(top))
    return folder


@pytest.fixture
def context(tmp_path: Path, store: Store, events: list[Event]) -> Context:
    return Context(tmp_path, store, events.append)


def source(**values: Any) -> OciSource:
    return OciSource.model_validate({"type": "oci", **values})


def made(context: Context, **values: Any) -> tuple[Locked, Layer]:
    locked = oci.resolve(source(**values), context)
    return locked, oci.fetch(locked, context)


# Its files, and how it is started


def test_the_files_of_a_layout_and_what_its_configuration_says(tmp_path: Path, context: Context) -> None:
    told = {
        "Entrypoint": ["app"], "Cmd": ["-v"], "Env": ["A=b=c"], "User": "web:staff", "WorkingDir": "/srv/new",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "StopSignal": "SIGQUIT", "Volumes": {"/data/a": {}},
    }  # fmt: skip
    files = {"usr/bin/app": b"x", "etc/passwd": PASSWD, "etc/group": GROUP, "etc/hosts": b"", "dev/null": b""}
    layout(tmp_path / "app", files, config=lambda document: document.update(config=told))
    locked, layer = made(context, path="app")
    assert layer.lenient and not layer.slim
    assert {"srv/new", "data", "data/a"} <= {*shown(layer.tree)}
    assert not {"etc/hosts", "dev/null"} & {*shown(layer.tree)}
    [material] = layer.materials.values()
    assert material.purl == f"pkg:oci/app@{material.version.replace(':', '%3A')}"
    assert locked.defaults.ports == (80,)


@pytest.fixture
def tree() -> Tree:
    """With a program, a user and a group."""
    program = file(Blob.of(b"x"), mode=0o755)
    return Tree(
        {
            "/": directory(),
            "/usr": directory(),
            "/usr/bin": directory(),
            "/usr/bin/app": program,
            "/etc": directory(),
            "/etc/passwd": file(Blob.of(PASSWD)),
            "/etc/group": file(Blob.of(GROUP)),
        }
    )


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", ("0:0", "/root")),
        ("0", ("0:0", "/root")),
        ("web", ("33:34", "/srv/web")),
        ("33", ("33:34", "/srv/web")),
        ("web:staff", ("33:50", "/srv/web")),
        ("7", ("7:0", "/")),
        ("7:8", ("7:8", "/")),
    ],
)
def test_a_user_by_the_images_own_passwd(tree: Tree, user: str, expected: tuple[str, str]) -> None:
    application, _ = execution.defaults(Execution(User=user), tree, "app", silent)
    assert (application["user"], application["environment"]["HOME"]) == expected
    assert ("capabilities" in application) == expected[0].startswith("0:")


def test_a_program_is_looked_for_as_execvp_does(tree: Tree, events: list[Event]) -> None:
    told = Execution(Entrypoint=("app",), Cmd=("-v",), StopSignal="SIGFOO", ExposedPorts={"80/tcp": {}, "53/udp": {}})
    application, ports = execution.defaults(told, tree, "image", events.append)
    assert (application["command"], application["arguments"], ports) == ("/usr/bin/app", ["-v"], [80])
    assert "stop_signal" not in application
    assert [type(each) for each in events] == [Warned, Warned]
    told = Execution(Cmd=("././app",), WorkingDir="usr//bin/", StopSignal="15")
    application, _ = execution.defaults(told, tree, "image", silent)
    assert (application["command"], application["directory"]) == ("/usr/bin/app", "/usr/bin")
    assert application["stop_signal"] == "TERM"
    assert "command" not in execution.defaults(None, tree, "image", silent)[0]


def test_variables_that_a_recipe_cannot_name_are_left_out_with_a_warning() -> None:
    said: list[Event] = []
    told = Execution(Env=("cluster.name=a", "a-b=1", "A=1"))
    application, _ = execution.defaults(told, Tree({}), "image", said.append)
    assert {*application["environment"]} == {"A", "HOME", "PATH"}
    assert [each.text for each in said if isinstance(each, Warned)] == [
        "image: not set are its variables cluster.name and 1 more, whose names have more than letters, digits and _"
    ]


def test_a_manifest_may_be_as_long_as_the_docs_say(tmp_path: Path, context: Context) -> None:
    layout(
        tmp_path / "app", {"usr/bin/app": b"x"}, manifest=lambda told: told.update(annotations={"a": "x" * (3 << 20)})
    )
    _, layer = made(context, path="app")
    assert "usr/bin/app" in shown(layer.tree)


def test_two_images_of_one_tag_are_refused(tmp_path: Path, context: Context) -> None:
    def twice(told: dict[str, Any]) -> None:
        first = told["manifests"][0] | {"annotations": {"org.opencontainers.image.ref.name": "v1"}}
        told["manifests"] = [first, first | {"digest": f"sha256:{'0' * 64}"}]

    layout(tmp_path / "app", {"usr/bin/app": b"x"}, index=twice)
    with pytest.raises(SourceError, match=r"app has 2 images of the tag v1$"):
        made(context, path="app", tag="v1")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"Cmd": ("none",)}, 'image: its entry point "none" is not in the image'),
        ({"User": "nobody"}, 'image: its user "nobody" is not in its /etc/passwd and /etc/group'),
        ({"User": "web:none"}, 'image: its group "web:none" is not in its /etc/passwd and /etc/group'),
        ({"Env": ("A",)}, 'image: "A" of its Env is no NAME=VALUE'),
        ({"Env": ("A=\0",)}, f'image: "A=\\x00" of its Env cannot be set: {execution.VARIABLES}'),
        ({"Env": ("A\n=1",)}, f'image: "A\\n=1" of its Env cannot be set: {execution.VARIABLES}'),
        (
            {"Env": ("PATH=\0",), "Cmd": ("app",)},
            f'image: "PATH=\\x00" of its Env cannot be set: {execution.VARIABLES}',
        ),
        ({"Cmd": ("/app", "\0")}, 'image: "\\x00" of its command has a NUL byte'),
        ({"Cmd": ("/app\x1b",)}, f'image: its entry point "/app\\x1b" is refused: {ABSOLUTE}'),
        ({"Cmd": ("/usr/../app",)}, f'image: its entry point "/usr/../app" is refused: {WITHIN}'),
        ({"Cmd": ("a\0b",)}, 'image: its entry point "a\\x00b" is not in the image'),
        ({"WorkingDir": "/a\x7f"}, f'image: its WorkingDir "/a\\x7f" is refused: {ABSOLUTE}'),
        ({"WorkingDir": "../a"}, f'image: its WorkingDir "../a" is refused: {WITHIN}'),
        ({"User": "a\0b"}, 'image: its user "a\\x00b" is not in its /etc/passwd and /etc/group'),
    ],
)
def test_a_configuration_that_nobody_can_start(tree: Tree, told: dict[str, Any], said: str) -> None:
    with pytest.raises(SourceError) as raised:
        execution.defaults(Execution(**told), tree, "image", silent)
    assert raised.value.message == said


# What is refused


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"Volumes": {f"/{number}": {} for number in range(1001)}}, "app has 1,001 volumes: it is refused"),
        ({"WorkingDir": "/a" * 500_000}, "app: its folder /a/a.* is below more than 256 others"),
    ],
    ids=["many", "deep"],
)
def test_folders_that_a_runtime_would_have_to_make(
    tmp_path: Path, context: Context, told: dict[str, Any], said: str
) -> None:
    """A configuration of 1 MiB took longer than anybody waits."""
    layout(tmp_path / "app", {"usr/bin/app": b"x"}, config=lambda document: document.update(config=told))
    with pytest.raises(SourceError, match=said) as raised:
        made(context, path="app")
    assert len(raised.value.message) < 500


def entry(architecture: str, system: str = "linux") -> dict[str, Any]:
    return {"mediaType": MANIFEST, "digest": f"sha256:{'0' * 64}", "size": 9,
            "platform": {"architecture": architecture, "os": system}}  # fmt: skip


def typed(kind: str) -> Edit:
    return lambda document: document["layers"][0].update(mediaType=kind)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"manifest": typed("application/x")}, 'app has a layer of the unknown type "application/x"'),
        (
            {"manifest": typed(FOREIGN)},
            f'app has a layer that may not be passed on, as images of Windows have: "{FOREIGN}',
        ),
        (
            {"manifest": typed(f"{LAYER}.nondistributable.v1.tar+zstd")},
            "app has a layer that may not be passed on, as im",
        ),
        ({"manifest": lambda told: told["config"].update(mediaType="text/x")}, 'app is of the type "text/x"'),
        ({"manifest": lambda told: told.update(layers=[])}, "app is damaged: it has 0 layers, and its configuration"),
        ({"manifest": lambda told: told.pop("layers")}, "the manifest of app is not as the specification has it"),
        ({"config": lambda told: told.update(os="windows")}, f"app is an image for windows/{TARGET.oci}"),
        ({"config": lambda told: told.update(architecture=OTHER)}, f"app is an image for linux/{OTHER}"),
        ({"config": lambda told: told.update(config=[])}, "the configuration of app is not as the specification has"),
        ({"config": lambda told: told["rootfs"].update(diff_ids=[f"sha256:{'1' * 64}"])}, "layer 1 of app is damaged"),
        ({"config": lambda told: told["rootfs"].update(diff_ids=["md5:1"])}, "layer 1 of app"),
        ({"index": lambda told: told.update(manifests=[])}, "has 0 images, and one is to be taken"),
        ({"index": lambda told: told["manifests"][0].update(digest="../../x")}, '"../../x" is no digest'),
        ({"index": lambda told: told["manifests"][0].update(size=3)}, "is longer than the 3 bytes"),
        ({"index": lambda told: told["manifests"][0].update(size=1 << 40)}, "is longer than 4 MiB"),
        ({"index": lambda told: told["manifests"][0].update(digest=f"sha256:{'0' * 64}")}, "cannot be read: No such"),
    ],
)
def test_an_image_that_is_none_of_ours(tmp_path: Path, context: Context, edits: dict[str, Edit], said: str) -> None:
    layout(tmp_path / "app", {"app": b"x"}, **edits)
    with pytest.raises(ImagebuilderError) as raised:
        made(context, path="app")
    assert said in raised.value.message and "\n" not in raised.value.message


def test_an_index_without_our_platform(tmp_path: Path, context: Context) -> None:
    def index(told: dict[str, Any]) -> None:
        rows = [entry(OTHER), entry("unknown", "unknown"), entry(TARGET.oci, "windows")]
        data = json.dumps({"schemaVersion": 2, "manifests": rows}).encode()
        (tmp_path / f"app/blobs/sha256/{sha256(data)}").write_bytes(data)
        told["manifests"] = [{"mediaType": INDEX, "digest": f"sha256:{sha256(data)}", "size": len(data)}]

    layout(tmp_path / "app", {"app": b"x"}, index=index)
    with pytest.raises(SourceError) as raised:
        made(context, path="app")
    has = f"it has linux/{OTHER}, windows/{TARGET.oci}"
    assert raised.value.message == f"app has no image for linux/{TARGET.oci}: {has}"


def test_a_tag_by_the_hints(tmp_path: Path) -> None:
    def two(told: dict[str, Any]) -> None:
        first = told["manifests"][0]
        other = {**first, "digest": f"sha256:{'0' * 64}"}
        told["manifests"].append({**other, "annotations": {"org.opencontainers.image.ref.name": "v2"}})

    found = Layout(layout(tmp_path / "app", {"app": b"x"}, index=two))
    with pytest.raises(SourceError, match="has 2 images, and one is to be taken") as raised:
        found.resolve(None)
    assert raised.value.hint == 'name one of them, as tag = "…": v1, v2'
    with pytest.raises(SourceError, match="has no tag v3") as raised:
        found.resolve("v3")
    assert raised.value.hint == "it has v1, v2"
    assert manifest_of(found, found.resolve("v2"), "app").media_type == MANIFEST
    untagged = layout(tmp_path / "other", {"app": b"x"}, index=lambda told: told["manifests"][0].pop("annotations"))
    with pytest.raises(SourceError) as raised:
        Layout(untagged).resolve("v1")
    assert raised.value.hint == "it has none: leave the tag out"
    assert Layout(untagged).resolve(None)


def test_a_folder_that_is_no_layout(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is no OCI layout: index\.json cannot be read \(No such file"):
        Layout(tmp_path).resolve(None)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(SourceError, match="is no JSON document"):
        Layout(tmp_path).resolve(None)
    (tmp_path / "index.json").write_text('{"manifests": 1}')
    with pytest.raises(SourceError, match="is not as the specification has it"):
        Layout(tmp_path).resolve(None)


# Archives


def tarred(folder: Path, into: Path, prefix: str = "") -> Path:
    """A folder as a tar archive."""
    with tarfile.open(into, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, f"{prefix}{path.relative_to(folder)}", recursive=False)
    return into


def saved(into: Path, files: dict[str, bytes], *, images: Edit = nothing, config: Edit = nothing) -> Path:
    """An archive as docker save wrote it before it wrote layouts: two layers that are the same, the second a link."""
    plain = gzip.decompress(packed(files))
    told = {"architecture": TARGET.oci, "os": "linux", "config": {"Cmd": ["/app"]}}
    told["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{sha256(plain)}"] * 2}
    config(told)
    row = {"Config": "c.json", "RepoTags": ["t/app:v1", "t/app:v2"], "Layers": ["1/layer.tar", "2/layer.tar"]}
    document = {"images": [row]}
    images(document)
    with tarfile.open(into, "w") as archive:
        for name, data in (
            ("1/layer.tar", plain), ("c.json", json.dumps(told).encode()),
            ("manifest.json", json.dumps(document["images"]).encode()), ("gz", gzip.compress(plain, mtime=0)),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        second = tarfile.TarInfo("2/layer.tar")
        second.type, second.linkname = tarfile.SYMTYPE, "../1/layer.tar"
        archive.addfile(second)
    return into


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_layout_in_an_archive_is_as_the_layout(tmp_path: Path, context: Context, prefix: str) -> None:
    tarred(layout(tmp_path / "app", {"app": b"x"}), tmp_path / "app.tar", prefix)
    folder, archive = made(context, path="app"), made(context, path="app.tar", tag="v1")
    assert archive[0].key == folder[0].key
    assert archive[1].tree == folder[1].tree


def test_an_archive_of_docker_save(tmp_path: Path, context: Context) -> None:
    saved(tmp_path / "app.tar", {"app": b"x"})
    locked, layer = made(context, path="app.tar")
    assert "/app" in layer.tree
    assert locked.defaults.application["command"] == "/app"
    assert made(context, path="app.tar", tag="t/app:v2")[0].key == locked.key
    with pytest.raises(SourceError, match="has no tag v3") as raised:
        oci.resolve(source(path="app.tar", tag="v3"), context)
    assert raised.value.hint == "it has t/app:v1, t/app:v2"


def test_an_archive_whose_layers_are_packed(tmp_path: Path, context: Context) -> None:
    saved(tmp_path / "app.tar", {"app": b"x"}, images=lambda told: told["images"][0].update(Layers=["gz", "gz"]))
    assert "/app" in made(context, path="app.tar")[1].tree


def first(**values: Any) -> Edit:
    return lambda told: told["images"][0].update(values)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"images": first(Layers=["1/layer.tar"])}, "is damaged: it has 1 layers, and its configuration lists 2"),
        ({"images": first(Layers=["none", "gz"])}, "its layer none is not there"),
        ({"images": first(Config="none")}, "its configuration none is not there"),
        ({"images": first(Config="../../x")}, "its configuration ../../x is not there"),
        ({"images": first(Layers="x")}, "manifest.json is not as docker save writes it: images.0.Layers"),
        ({"images": lambda told: told.update(images={})}, "manifest.json is not as docker save writes it: images"),
        ({"images": lambda told: told.update(images=told["images"] * 101)}, "manifest.json is not as docker save"),
        ({"images": lambda told: told.update(images=[])}, "has 0 images, and one is to be taken"),
        ({"config": lambda told: told["rootfs"].update(diff_ids=["sha256:" + "1" * 64] * 2)}, "is damaged"),
        ({"config": lambda told: told["rootfs"].update(diff_ids=["x"] * 2)}, '"x" is no digest'),
        ({"config": lambda told: told.update(os="windows")}, "app.tar is an image for windows"),
    ],
)
def test_an_archive_that_is_refused(tmp_path: Path, context: Context, edits: dict[str, Edit], said: str) -> None:
    saved(tmp_path / "app.tar", {"app": b"x"}, **edits)
    with pytest.raises(ImagebuilderError) as raised:
        made(context, path="app.tar")
    assert said in raised.value.message and "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is no tar archive, or damaged"),
        (b"x" * 5000, "is no tar archive, or damaged"),
        (gzip.compress(b"x", mtime=0), "is a packed archive: give the archive that it unpacks to"),
        (gzip.decompress(packed({"app": b"x"})), "has neither index.json nor manifest.json"),
        (gzip.decompress(packed({"index.json": b"{"})), "is no JSON document"),
        (gzip.decompress(packed({"index.json": b" " * (5 << 20)})), "is longer than 4 MiB"),
        (gzip.decompress(packed({"a": b"x" * 4096}))[:3000], "is no tar archive, or damaged: unexpected end of data"),
    ],
    ids=["empty", "text", "packed", "other", "half", "long", "cut"],
)
def test_a_file_that_is_no_archive_of_images(tmp_path: Path, context: Context, data: bytes, said: str) -> None:
    (tmp_path / "app.tar").write_bytes(data)
    with pytest.raises(SourceError) as raised:
        made(context, path="app.tar")
    assert said in raised.value.message and "\n" not in raised.value.message


@pytest.mark.tools
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes(tmp_path: Path, context: Context, kind: str) -> None:
    if process.find("skopeo") is None:
        pytest.skip("needs skopeo")
    folder = layout(tmp_path / "app", {"app": b"x"})
    argv = ["skopeo", "--insecure-policy", "copy", "-q", f"oci:{folder}:v1", f"{kind}:{tmp_path}/app.tar:t/app:v1"]
    process.run(argv, timeout_s=300)
    _, layer = made(context, path="app.tar")
    assert layer.tree == made(context, path="app")[1].tree


# As a recipe


def written(folder: Path, place: str, rest: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    head = 'name = "app"\nversion = "1"\nsummary = "a test"\n'
    (folder / "recipe.toml").write_text(
        f'{head}source = {{ type = "oci", {place} }}\nready = {{ console = "x" }}\n{rest}'
    )
    return folder


def test_a_recipe_without_a_command_is_built_and_files_that_cannot_run_are_a_warning(
    tmp_path: Path, application: Path, store: Store, events: list[Event]
) -> None:
    needs = Path("/bin/true").read_bytes()  # linked to a library that this image lacks
    program = application.read_bytes()
    folder = written(tmp_path / "app", 'path = "image"')
    layout(folder / "image", {"app": program, "usr/bin/other": needs})
    work = Build(load(str(folder)), store, events.append)
    bundle = work.run(tmp_path / "out")
    assert {"/app", "/usr/bin/other"} <= {*work.root}
    assert bundle.image.recipe.application is not None
    assert bundle.image.recipe.application.command == "/app"
    warned = [str(each) for each in events if isinstance(each, Warned)]
    assert [each for each in warned if "is not in the image: needed by /usr/bin/other" in each]


@pytest.mark.tools
def test_which_image_a_tag_means_stays_as_it_is_locked(
    tmp_path: Path, served: Running, store: Store, events: list[Event]
) -> None:
    context = Context(tmp_path, store, events.append)
    locked, layer = made(context, image=f"{served.host}/t/app:v1")
    assert {"/app", "/large", "/etc"} <= {*layer.tree}
    assert locked.choice is not None
    [package] = locked.choice.packages
    assert (package.name, package.version) == ("t/app", "v1")
    again = Context(tmp_path, store, events.append, lock=[locked.choice], frozen=True)
    assert made(again, image=f"{served.host}/t/app:v1")[1].tree == layer.tree


@pytest.mark.tools
def test_a_lock_counts_where_the_store_is_new(tmp_path: Path, served: Running, events: list[Event]) -> None:
    """The registry has the manifest below manifests/ alone."""
    locked, layer = made(Context(tmp_path, Store(tmp_path / "first"), events.append), image=f"{served.host}/t/app:v1")
    assert locked.choice is not None
    new = Context(tmp_path, Store(tmp_path / "second"), events.append, lock=[locked.choice], frozen=True)
    again, fetched = made(new, image=f"{served.host}/t/app:v1")
    assert (again.key, again.defaults, fetched.tree) == (locked.key, locked.defaults, layer.tree)


@pytest.mark.tools
def test_documents_without_media_types(tmp_path: Path, served: Running, layout: Image, store: Store) -> None:
    """An index names its manifest, and the manifest its configuration, by digest and size alone."""
    served.push(layout.layout, "t/bare:v1")
    told = json.loads((layout.layout / "blobs/sha256" / layout.digest.removeprefix("sha256:")).read_text())
    del told["config"]["mediaType"]
    manifest = json.dumps(told).encode()
    digest, platform = f"sha256:{sha256(manifest)}", {"os": "linux", "architecture": TARGET.oci}
    row = {"digest": digest, "size": len(manifest), "platform": platform}
    served.put("t/bare", digest, manifest, MANIFEST)
    served.put("t/bare", "v2", json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [row]}).encode(), INDEX)
    _, layer = made(Context(tmp_path, store, silent), image=f"{served.host}/t/bare:v2")
    assert {"/app", "/large", "/etc"} <= {*layer.tree}
