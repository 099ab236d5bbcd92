"""Images of a real registry: what comes is what was pushed, and what does not come is told in a sentence."""

import json
from pathlib import Path

import pytest

from imagebuilder.errors import ImagebuilderError
from imagebuilder.events import Begun, Ended, Event, Progress, silent
from imagebuilder.oci.content import Descriptor
from imagebuilder.oci.reference import parse
from imagebuilder.oci.registry import Registry
from imagebuilder.oci.transport import Limits
from imagebuilder.store import Store, sha256_file
from tests.damage import DAMAGES
from tests.oci import registries
from tests.oci.registries import MANIFEST, PASSWORD, USER, Image, Running

pytestmark = pytest.mark.tools

QUICK = Limits(connect_s=2, answer_s=2, first_wait_s=0.01, most_wait_s=1)


def opened(name: str, store: Store, events: list[Event] | None = None) -> Registry:
    return Registry(parse(name), store, silent if events is None else events.append, QUICK)


def layers_of(registry: Registry) -> list[Descriptor]:
    manifest = json.loads(registry.document(registry.resolve()))
    return [Descriptor(each["mediaType"], each["digest"], each["size"]) for each in manifest["layers"]]


def pull(name: str, store: Store, events: list[Event] | None = None) -> dict[str, Path]:
    with opened(name, store, events) as registry:
        return registry.blobs(layers_of(registry), store, silent if events is None else events.append)


def refused(name: str, store: Store) -> str:
    with pytest.raises(ImagebuilderError) as caught:
        pull(name, store)
    assert "\n" not in str(caught.value) and PASSWORD not in str(caught.value)
    return str(caught.value)


def test_what_was_pushed_comes(served: Running, layout: Image, store: Store, events: list[Event]) -> None:
    found = pull(f"{served.host}/t/app:v1", store, events)
    assert {digest: f"sha256:{sha256_file(path)}" for digest, path in found.items()} == dict.fromkeys(layout.layers) | {
        each: each for each in layout.layers
    }
    assert all(path.is_relative_to(store.root / "blobs") for path in found.values())
    begun, *came, ended = events
    assert isinstance(begun, Begun) and begun.total == sum(layout.sizes) and isinstance(ended, Ended)
    assert isinstance(came[-1], Progress) and came[-1].done == begun.total
    assert not any((store.root / "partial").glob("*/*"))


@pytest.mark.parametrize("damage", [*DAMAGES, "too long"])
def test_a_damaged_part_of_a_layer_is_mended(served: Running, layout: Image, store: Store, damage: str) -> None:
    """What a download that was broken off has left."""
    pull(f"{served.host}/t/app:v1", store)
    for digest in layout.layers:
        name = digest.removeprefix("sha256:")
        whole, part = store.place(name), store.partial(name)
        part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        if damage == "too long":
            part.write_bytes(bytes(2 * whole.stat().st_size))
        else:
            DAMAGES[damage](part)
        whole.unlink()
    found = pull(f"{served.host}/t/app:v1", store)
    assert all(digest == f"sha256:{sha256_file(path)}" for digest, path in found.items())
    assert not any((store.root / "partial").glob("*/*"))


def test_what_is_there_is_not_asked_for(served: Running, layout: Image, store: Store, events: list[Event]) -> None:
    pull(f"{served.host}/t/app:v1", store)
    damaged = store.place(layout.layers[1].removeprefix("sha256:"))
    damaged.write_bytes(b"damaged")
    pull(f"{served.host}/t/app:v1", store, events)
    assert isinstance(events[0], Begun) and events[0].total == layout.sizes[1]
    assert store.blob(layout.layers[1].removeprefix("sha256:")).stat().st_size == layout.sizes[1]
    events.clear()
    pull(f"{served.host}/t/app:v1", store, events)
    assert events == []


def test_by_tag_by_digest_and_by_both(served: Running, layout: Image, store: Store) -> None:
    for name in ("t/app:v1", f"t/app@{layout.digest}", f"t/app:other@{layout.digest}"):
        with opened(f"{served.host}/{name}", store) as registry:
            found = registry.resolve()
            assert (found.digest, found.media_type) == (layout.digest, MANIFEST)
            assert len(registry.document(found)) == found.size_bytes


def test_a_document_that_the_store_has_needs_no_registry(served: Running, store: Store) -> None:
    with opened(f"{served.host}/t/app:v1", store) as registry:
        found = registry.resolve()
    with opened(f"127.0.0.1:{registries.free_port()}/t/app:v1", store) as nobody:
        assert json.loads(nobody.document(found))["layers"]


def test_an_unknown_tag_and_those_there_are(served: Running, store: Store) -> None:
    said = refused(f"{served.host}/t/app:v2", store)
    assert said == f"{served.host}/t/app has no tag v2 (it has v1)"
    assert pull(f"{served.host}/t/app:{said.split('it has ')[1].rstrip(')')}", store)


def test_an_unknown_repository(served: Running, store: Store) -> None:
    assert f"{served.host} has no t/nothing, or hides it" in refused(f"{served.host}/t/nothing:v1", store)


def test_an_unknown_digest(served: Running, store: Store) -> None:
    said = refused(f"{served.host}/t/app@sha256:{'0' * 64}", store)
    assert said == f"{served.host} has no sha256:000000000000 in t/app"


def test_a_port_at_which_nobody_listens(store: Store) -> None:
    assert "cannot be reached: connection refused" in refused(f"127.0.0.1:{registries.free_port()}/app", store)


def test_a_name_that_is_none(store: Store) -> None:
    assert "nowhere.invalid is not known: no address has this name" in refused("nowhere.invalid/app", store)


def test_a_server_without_tls_that_is_not_asked_without(served: Running, store: Store) -> None:
    """127.0.0.2 is this machine, and is not one of the three names of it: it is asked by TLS, which it has not."""
    with pytest.raises(ImagebuilderError):
        parse("127.0.0.2:/app")
    assert "cannot be reached" in refused(f"127.0.0.2:{served.port}/t/app:v1", store)  # it listens on 127.0.0.1 alone


def test_a_user_and_a_password(tmp_path: Path, home: Path, layout: Image, store: Store) -> None:
    with registries.registry(tmp_path / "r", auth=registries.htpasswd(tmp_path / "auth")) as running:
        running.push(layout.layout, "t/app:v1", f"--dest-creds={USER}:{PASSWORD}")
        said = refused(f"{running.host}/t/app:v1", store)
        assert f"reading t/app from {running.host} needs a login" in said
        assert f"skopeo login with {running.host} keeps" in said
        log_in(running, USER, PASSWORD, home / ".docker" / "config.json")  # the hint
        assert len(pull(f"{running.host}/t/app:v1", store)) == 3
        kept = b"".join(path.read_bytes() for path in store.root.rglob("*") if path.is_file())
        assert PASSWORD.encode() not in kept


def test_a_password_that_is_another(tmp_path: Path, home: Path, layout: Image, store: Store) -> None:
    with registries.registry(tmp_path / "r", auth=registries.htpasswd(tmp_path / "auth")) as running:
        log_in(running, USER, PASSWORD, home / ".docker" / "config.json")
        (tmp_path / "auth" / "htpasswd").write_text(
            "somebody:$2y$04$0000000000000000000000000000000000000000000000000000"
        )
        said = refused(f"{running.host}/t/app:v1", store)
        assert f"does not accept the credentials of {home}/.docker/config.json" in said and "writes it again" in said


def log_in(running: Running, user: str, password: str, file: Path) -> None:
    from imagebuilder import process

    argv = ["skopeo", "login", f"--authfile={file}", "--tls-verify=false", f"--username={user}", "--password-stdin"]
    file.parent.mkdir(parents=True, exist_ok=True)
    process.run([*argv, running.host], stdin=password.encode(), timeout_s=300)
