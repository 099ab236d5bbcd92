"""The recipes that ship: built, booted and asked over their own protocols, by clients that are not ours."""

import asyncio
import hashlib
import json
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from imagebuilder.build.walk import Build, build
from imagebuilder.bundle import Bundle
from imagebuilder.events import silent
from imagebuilder.machine import artefacts
from imagebuilder.machine.ending import How
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Kind

RECIPES = ("from-container", "hello", "nginx", "python", "redis")
SHELLS = ("sh", "bash", "dash", "busybox", "apt", "dpkg", "sshd", "login")
pytestmark = [pytest.mark.vm, pytest.mark.network]
Boot = Callable[[str], AbstractAsyncContextManager[Instance]]

BELOW_VAR_RUN = """
name = "below"
version = "1"
summary = "a file below a mount"
source = { type = "debian", release = "bookworm", packages = ["redis-server"] }
application = { command = "/usr/bin/redis-server" }
root = { mounts = ["tmpfs /var/run"] }
ready = { exit = 0 }
files = [{ path = "/var/run/app/app.conf", text = "an option" }]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def built(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """Build a recipe that ships."""
    out = tmp_path_factory.mktemp("out")
    return lambda name: build(load(name), out, store=store, say=silent)


@pytest.fixture
def boot(built: Callable[[str], Bundle], tmp_path: Path) -> Boot:
    """Boot a recipe that ships and wait until it is ready; a failure leaves its logs."""

    @asynccontextmanager
    async def start(name: str) -> AsyncIterator[Instance]:
        bundle = built(name)
        async with Instance.start(spec_of(bundle, accelerator=Accelerator.TCG)) as instance:
            try:
                await instance.wait_ready(bundle.ready)
                yield instance
            except BaseException:
                artefacts.write(instance, tmp_path / "artefacts")
                print(f"the logs are in {tmp_path / 'artefacts'}")
                raise

    return start


def fetch(instance: Instance, port: int, path: str = "/") -> tuple[str, str]:
    """GET with the standard library's client: the body, and the Server header."""
    url = f"http://127.0.0.1:{instance.host_port(port)}{path}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode(), answer.headers.get("Server", "")


async def test_hello_says_hello_and_ends(boot: Boot) -> None:
    async with boot("hello") as instance:
        ended = await instance.wait_exit()
        assert (ended.how, ended.status) == (How.APPLICATION, 0)
        assert instance.console.strip().splitlines()[-1] == "hello, world"


async def test_nginx_serves_its_page(boot: Boot) -> None:
    async with boot("nginx") as instance:
        body, server = await asyncio.to_thread(fetch, instance, 80)
        assert "<h1>It works</h1>" in body and server == "nginx"
        ended = await instance.terminate()
        assert (ended.how, ended.status) == (How.APPLICATION, 0)
        assert not instance.console.strip(), instance.console


async def test_python_loads_its_extension_modules(boot: Boot) -> None:
    async with boot("python") as instance:
        body, _ = await asyncio.to_thread(fetch, instance, 8000, "/x")
        found = json.loads(body)
        assert found["python"].startswith("Python 3.11")
        assert found["host"] == "python"
        assert found["sha256"] == hashlib.sha256(b"/x").hexdigest()
        assert found["openssl"].startswith("OpenSSL 3")


async def test_redis_keeps_a_value(boot: Boot) -> None:
    def talk(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"SET greeting hello\r\nGET greeting\r\nINFO server\r\n")
            answer = b""
            while b"redis_mode" not in answer:
                answer += connection.recv(4096)
            return answer

    async with boot("redis") as instance:
        answer = await asyncio.to_thread(talk, instance.host_port(6379))
        assert answer.startswith(b"+OK\r\n$5\r\nhello\r\n") and b"redis_version:7.0" in answer


@pytest.mark.parametrize("name", RECIPES)
def test_no_shell_in_any_of_them(built: Callable[[str], Bundle], store: Store, name: str) -> None:
    built(name)
    tree = Build(load(name), store, silent).root
    programs = {path.rsplit("/", 1)[-1] for path, node in tree.items() if node.kind is Kind.FILE and node.mode & 0o111}
    assert not programs & set(SHELLS)


@pytest.mark.parametrize("name", RECIPES)
def test_the_same_bytes_from_another_cache(built: Callable[[str], Bundle], tmp_path: Path, name: str) -> None:
    again = build(load(name), tmp_path / "out", store=Store(tmp_path / "cache"), say=silent)
    one, two = ({path.name: path.read_bytes() for path in bundle.files()} for bundle in (built(name), again))
    assert one == two


@pytest.mark.parametrize("name", RECIPES)
def test_every_byte_of_the_root_has_its_line(built: Callable[[str], Bundle], store: Store, name: str) -> None:
    kept = [line for line in built(name).image.contents if line.kept]
    files = [node for node in Build(load(name), store, silent).root.values() if node.kind is Kind.FILE]
    assert sum(line.bytes for line in kept) == sum(node.size_bytes for node in files)
    assert sum(line.name == "imagebuilder: init" for line in kept) == 1


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_is_laid_over_a_root_that_nobody_writes(
    built: Callable[[str], Bundle], store: Store, name: str
) -> None:
    built(name)
    recipe = load(name)
    orders = Build(recipe, store, silent).root["/init.conf"].content.read().decode().splitlines()
    assert "overlay yes" not in orders, "all of them are ordinary users without a file of their own"


def test_a_root_in_memory_is_the_image_itself(built: Callable[[str], Bundle]) -> None:
    image = built("nginx").image
    assert (image.root.format, image.root.file) == ("memory", "root.erofs")
    assert "root=memory ro init=/init" in image.cmdline and "/dev/vda" not in image.cmdline


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_has_to_be_copied_onto_a_mount(built: Callable[[str], Bundle], store: Store, name: str) -> None:
    """Only images that have files below a mount pay for it."""
    built(name)
    assert b"\ncopy " not in b"\n" + Build(load(name), store, silent).root["/init.conf"].content.read()


def test_a_file_below_a_link_of_debian_that_is_mounted(store: Store, tmp_path: Path) -> None:
    """/var/run is a link to /run, which no package has."""
    (tmp_path / "recipe.toml").write_text(BELOW_VAR_RUN)
    tree = Build(load(str(tmp_path)), store, silent).root
    assert tree["/run/app/app.conf"].content.read() == b"an option"
    assert b"copy /run\n" in tree["/init.conf"].content.read()


async def test_a_root_in_memory_can_have_a_tmpfs_over_it(store: Store, tmp_path: Path) -> None:
    recipe = load("nginx")
    writable = recipe.model_copy(update={"root": recipe.root.model_copy(update={"writable": True})})
    bundle = build(writable, tmp_path / "out", store=store, say=silent)
    async with Instance.start(spec_of(bundle, accelerator=Accelerator.TCG)) as instance:
        await instance.wait_ready(bundle.ready)
