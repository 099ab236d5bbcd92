"""The store: what it gives back, what it refuses, and what is left when it is killed."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagebuilder.errors import CacheError, InputError, OutputError
from imagebuilder.store import Store, canonical, key_of, sha256
from tests import ORDINARY


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def test_gives_back_what_it_was_given(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert store.put(b"content") == store.put_file(tmp_path / "file") == sha256(b"content")
    assert store.read(sha256(b"content")) == b"content"


def test_a_damaged_blob_is_removed_and_said(store: Store) -> None:
    digest = store.put(b"content")
    path = store.blob(digest)
    path.write_bytes(b"c0ntent")
    with pytest.raises(CacheError, match="was damaged and is removed"):
        store.blob(digest)
    assert not path.exists()
    assert store.read(store.put(b"content")) == b"content"


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"value":{"a":2},"sha256":"x"}', b"\xff"])
def test_a_damaged_record_is_as_if_it_were_not_there(store: Store, damage: bytes) -> None:
    key = key_of("step")
    store.keep(key, {"a": 1})
    assert store.record(key) == {"a": 1}
    next((store.root / "records").rglob(key)).write_bytes(damage)
    assert store.record(key) is None
    store.keep(key, {"a": 1})
    assert store.record(key) == {"a": 1}


def test_a_forgotten_record_is_gone(store: Store) -> None:
    store.keep("abcd", {})
    store.forget("abcd")
    store.forget("abcd")
    assert store.record("abcd") is None


def test_one_value_has_one_spelling() -> None:
    assert canonical({"b": 1, "a": [None, "ü"]}) == '{"a":[null,"ü"],"b":1}'.encode()
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 1, "b": 3})


def test_scratch_is_gone_on_every_way_out(store: Store) -> None:
    with store.scratch() as folder:
        (folder / "file").write_text("x")
    with pytest.raises(ZeroDivisionError), store.scratch():
        raise ZeroDivisionError
    assert not list((store.root / "scratch").iterdir())


HOLDER = """
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from imagebuilder.store import Store
with Store(Path(sys.argv[1])).scratch() as folder:
    (folder / "file").write_text("x")
    print("here", flush=True)
    sys.stdin.read()
"""


@pytest.mark.tools
def test_scratch_of_the_living_stays_and_of_the_killed_is_swept(store: Store) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None and holder.stdout is not None
    with holder, holder.stdin, holder.stdout:
        assert holder.stdout.readline() == b"here\n"
        Store(store.root)
        assert len(list((store.root / "scratch").iterdir())) == 1
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    Store(store.root)
    assert not list((store.root / "scratch").iterdir())


WAITER = """
import sys, time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from imagebuilder.store import Store
store = Store(Path(sys.argv[1]))
with store.lock("step"):
    number = int((store.root / "number").read_text())
    time.sleep(0.05)
    (store.root / "number").write_text(str(number + 1))
"""


@pytest.mark.tools
def test_a_lock_lets_one_in_at_a_time(store: Store) -> None:
    (store.root / "number").write_text("0")
    waiters = [subprocess.Popen([sys.executable, "-c", WAITER, str(store.root)]) for _ in range(4)]
    assert [waiter.wait() for waiter in waiters] == [0, 0, 0, 0]
    assert (store.root / "number").read_text() == "4"


@pytest.mark.slow
def test_killed_at_any_moment_it_still_serves(store: Store) -> None:
    writer = (
        "import sys\nfrom pathlib import Path\nfrom imagebuilder.store import Store\nstore = Store(Path(sys.argv[1]))\n"
    )
    writer += (
        "n = 0\nwhile True:\n    n += 1\n    store.keep('ab' + str(n), {'blob': store.put(str(n).encode() * 9999)})\n"
    )
    for number in range(10):
        with subprocess.Popen([sys.executable, "-c", writer, str(store.root)]) as child:
            time.sleep(0.1 + number * 0.013)
            child.kill()
    again = Store(store.root)
    assert not list((store.root / "scratch").iterdir())
    for record in (store.root / "records").rglob("ab*"):
        if record.is_file():
            value = again.record(record.name)
            assert value is not None
            again.read(value["blob"])


@pytest.mark.tools
def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    program = "import pathlib, sys; from imagebuilder.store import Store; Store(pathlib.Path(sys.argv[1]) / 'cache')"
    argv = [*ORDINARY, sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert f"OutputError: the cache {tmp_path}/cache cannot be written: Permission denied" in done.stderr


def test_a_file_in_the_way_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(InputError, match="cache is no folder"):
        Store(tmp_path / "cache")


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As on a disk that becomes full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_put_again_mends_what_was_damaged(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    puts: list[Callable[[], str]] = [lambda: store.put(b"content"), lambda: store.put_file(tmp_path / "file")]
    for put in puts:
        path = store.blob(put())
        for damage in (b"c0ntent", b"", b"cont"):
            path.write_bytes(damage)
            assert store.read(put()) == b"content"


def test_nothing_appears_by_halves(store: Store, tmp_path: Path) -> None:
    """On a full disk what stood there stands, and what is new is not there at all."""
    large = os.urandom(200_000)
    (tmp_path / "file").write_bytes(large)
    store.keep(key_of("step"), {"a": 1})
    with files_no_larger_than(100_000):
        for write in (
            lambda: store.put(large),
            lambda: store.put_file(tmp_path / "file"),
            lambda: store.keep(key_of("step"), {"a": large.hex()}),
            lambda: store.choose(key_of("step"), {"a": large.hex()}),
        ):
            with pytest.raises(OutputError, match="cannot be written"):
                write()
    assert not store.has(sha256(large)) and store.choice(key_of("step")) == store.record(key_of("step")) == {"a": 1}
    assert not list((store.root / "scratch").iterdir())


def test_who_reads_meanwhile_sees_the_old_or_the_new(store: Store) -> None:
    """A file is written whole beside its place, and renamed: its number is another one, and it never grew there."""
    key = key_of("step")
    store.keep(key, {"a": 1})
    path = store.root / "records" / key[:2] / key
    with path.open("rb") as reader:
        store.keep(key, {"a": 2})
        assert b'"a":1' in reader.read() and b'"a":2' in path.read_bytes()


def test_a_content_that_comes_in_pieces_is_kept_whole_or_not_at_all(store: Store) -> None:
    def cut_off() -> Iterator[bytes]:
        yield b"con"
        raise InputError("it is cut off")

    assert store.put_chunks([b"con", b"tent"]) == sha256(b"content")
    assert store.read(sha256(b"content")) == b"content"
    with pytest.raises(InputError, match="cut off"):
        store.put_chunks(cut_off())
    assert list((store.root / "scratch").iterdir()) == []
    assert not store.has(sha256(b"con"))
