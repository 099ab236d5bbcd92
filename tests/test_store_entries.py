"""The store, entry by entry: where each is, who can read it, when it counts as used, how it is mended."""

import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import private
from imagebuilder.errors import CacheError, ImagebuilderError, InputError, OutputError
from imagebuilder.store import FOLDERS, TOUCH_S, Store, as_read, canonical, key_of, sha256, sha256_file

OLD_S = 1_000_000.0


def folder(path: Path) -> None:
    """One that is not empty."""
    path.mkdir()
    (path / "inside").touch()


def link(path: Path) -> None:
    """One to something that is not ours."""
    path.symlink_to("/etc/passwd")


FOREIGN: dict[str, Callable[[Path], None]] = {"a folder": folder, "a link": link, "a pipe": os.mkfifo}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def place(store: Store, kind: str, name: str) -> Path:
    """Where an entry is."""
    return store.root / kind / name[:2] / name


def aged(path: Path, age_s: float) -> float:
    """Make a file older; returns its time."""
    os.utime(path, (time.time() - age_s,) * 2)
    return path.stat().st_mtime


def mode(path: Path) -> int:
    """Who may do what with it."""
    return path.stat().st_mode & 0o7777


def replaced(path: Path, put: Callable[[Path], None]) -> None:
    """Something else in its place."""
    path.unlink()
    put(path)


def test_every_folder_is_ours_alone(tmp_path: Path) -> None:
    root = tmp_path / "a/cache"
    root.mkdir(parents=True)
    (root / "blobs").mkdir(mode=0o755)
    store = Store(root)
    assert {path.name for path in root.iterdir()} == {*FOLDERS, "users"}
    assert {mode(root / name) for name in FOLDERS} == {0o700} and mode(root / "users") == 0o600
    digest, _ = store.put(b"x"), store.keep("abcd", {})
    for path in (place(store, "blobs", digest), place(store, "records", "abcd")):
        assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_where_and_how_things_are_kept(store: Store, tmp_path: Path) -> None:
    digest = store.put(b"content")
    assert store.blob(digest) == store.place(digest) == place(store, "blobs", digest)
    assert store.keep("abcd", {"b": (1,), "a": "\udcff"}) == {"a": "\udcff", "b": [1]}
    value = {"a": "\udcff", "b": [1]}
    assert place(store, "records", "abcd").read_bytes() == canonical({"value": value, "sha256": key_of(value)})
    assert list(store.choose("efgh", {"b": 1, "a": 2})) == ["a", "b"]
    assert place(store, "choices", "efgh").read_bytes() == canonical(
        {"value": {"a": 2, "b": 1}, "sha256": key_of({"a": 2, "b": 1})}
    )
    assert as_read({"b": 1, "a": {"d": (), "c": 1}}) == {"a": {"c": 1, "d": []}, "b": 1}
    (tmp_path / "file").write_bytes(b"content")
    assert sha256_file(tmp_path / "file") == digest
    assert canonical({"a": "\udcff"}) == b'{"a":"\xed\xb3\xbf"}'


def test_a_large_file_is_copied_whole(store: Store, tmp_path: Path) -> None:
    content = os.urandom(1 << 16) * 40
    (tmp_path / "file").write_bytes(content)
    assert store.read(store.put_file(tmp_path / "file")) == content


@pytest.mark.parametrize("damage", ["content", "nothing", *FOREIGN])
def test_a_blob_is_checked_when_it_is_read_and_mended_when_it_is_put(store: Store, tmp_path: Path, damage: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    puts: tuple[Callable[[], str], ...] = (lambda: store.put(b"content"), lambda: store.put_file(tmp_path / "file"))
    for put in puts:
        path = place(store, "blobs", put())
        if damage in FOREIGN:
            replaced(path, FOREIGN[damage])
        else:
            path.write_bytes(b"c0ntent" if damage == "content" else b"")
        assert store.has(path.name), "there is something"
        with pytest.raises(CacheError) as damaged:
            store.blob(path.name)
        sentence = f"the cache entry {path} was damaged and is removed (build again: it is rebuilt)"
        assert str(damaged.value) == sentence and not store.has(path.name)
        put()
        if damage in FOREIGN:
            replaced(path, FOREIGN[damage])
        else:
            path.write_bytes(b"c0ntent")
        assert store.read(put()) == b"content"
    assert Path("/etc/passwd").exists()


def test_a_blob_that_is_whole_is_not_written_again(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    number = place(store, "blobs", store.put(b"content")).stat().st_ino
    store.put(b"content")
    store.put_file(tmp_path / "file")
    assert place(store, "blobs", sha256(b"content")).stat().st_ino == number


def test_a_blob_that_is_not_there(store: Store) -> None:
    digest = sha256(b"never kept")
    assert not store.has(digest)
    with pytest.raises(CacheError) as lacking:
        store.read(digest)
    assert str(lacking.value) == f"the cache lacks {digest[:12]} (build again: it is rebuilt)"


def test_what_is_asked_for_was_used(store: Store, tmp_path: Path) -> None:
    """Within an hour; ``touch=False`` is no use."""
    digest = store.put(b"content")
    (tmp_path / "file").write_bytes(b"content")
    store.keep("abcd", {"a": 1})
    store.choose("efgh", {"a": 1})
    blob, record, choice = (
        place(store, *each) for each in (("blobs", digest), ("records", "abcd"), ("choices", "efgh"))
    )
    uses: list[tuple[Path, Callable[[], Any]]] = [
        (blob, lambda: store.has(digest)),
        (blob, lambda: store.blob(digest)),
        (blob, lambda: store.read(digest)),
        (blob, lambda: store.put(b"content")),
        (blob, lambda: store.put_file(tmp_path / "file")),
        (record, lambda: store.record("abcd")),
        (record, lambda: store.choice("abcd")),
        (choice, lambda: store.choice("efgh")),
    ]
    for path, use in uses:
        lately = aged(path, TOUCH_S - 60)
        use()
        assert path.stat().st_mtime == lately, "that is exact enough"
        aged(path, TOUCH_S + 60)
        use()
        assert path.stat().st_mtime > time.time() - 60
    for path, look in (
        (blob, lambda: store.blob(digest, touch=False)),
        (record, lambda: store.record("abcd", touch=False)),
    ):
        old = aged(path, OLD_S)
        look()
        assert path.stat().st_mtime == old


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"{", b"[]", b"5", b"\xff", b"[" * 100_000, b'{"value":{"a":1}}', b'{"value":{"a":2},"sha256":"x"}'),
        canonical({"value": {"a": 2}, "sha256": key_of({"a": 1})}),
        *FOREIGN.values(),
    ],
)
@pytest.mark.parametrize("kind", ["records", "choices"])
def test_what_is_damaged_is_noted_and_gone(store: Store, kind: str, damage: bytes | Callable[[Path], None]) -> None:
    keep, read = {"records": (store.keep, store.record), "choices": (store.choose, store.choice)}[kind]
    keep("abcd", {"a": 1})
    path = place(store, kind, "abcd")
    assert store.damaged == []
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        replaced(path, damage)
    assert read("abcd") is None and store.damaged == [path]
    assert not path.exists() and not path.is_symlink()
    keep("abcd", {"a": 1})
    assert read("abcd") == {"a": 1}


def test_what_is_whole_and_no_table_is_none(store: Store) -> None:
    path = place(store, "records", "abcd")
    path.parent.mkdir()
    path.write_bytes(canonical({"value": [1], "sha256": key_of([1])}))
    assert store.record("abcd") is None and store.damaged == [] and path.exists()


def test_an_older_cache_has_choices_among_its_records(store: Store) -> None:
    assert store.choice("abcd") is None
    store.keep("abcd", {"a": 1})
    assert store.choice("abcd") == {"a": 1}
    store.choose("abcd", {})
    assert store.choice("abcd") == {}
    store.forget("abcd")
    assert store.record("abcd") is None and store.choice("abcd") == {}


# Locks and scratch


def test_who_is_alone(store: Store) -> None:
    with store.alone() as alone:
        assert alone
        with (store.root / "users").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    another = Store(store.root)
    for _ in range(2):
        with store.alone() as alone:
            assert not alone
    with another.alone() as alone:
        assert not alone, "who asked before still uses it"
    del another
    with store.alone() as alone:
        assert alone


def test_locks_exclude_and_are_dropped(store: Store) -> None:
    with store.lock("step"), store.lock("other"):
        assert mode(store.root / "locks/step") == 0o600
        with (store.root / "locks/step").open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with (store.root / "locks/step").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    store.drop_locks()
    assert not list((store.root / "locks").iterdir())


def test_a_folder_in_the_place_of_a_lock_is_removed(tmp_path: Path) -> None:
    for path in ("users", "locks/scratch", "locks/step", "locks/other"):
        (tmp_path / path / "full").mkdir(parents=True, mode=0o700)
    store = Store(tmp_path)
    with store.lock("step"), pytest.raises(BlockingIOError), (tmp_path / "locks/step").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with store.alone() as alone:
        store.drop_locks()
    assert alone and not list((tmp_path / "locks").iterdir())


def test_scratch_is_an_empty_folder_of_ours(store: Store) -> None:
    with store.scratch() as one, store.scratch() as two:
        assert one != two and one.parents[1] == two.parents[1] == store.root / "scratch"
        assert mode(one) == 0o700 and not list(one.iterdir())
        with (one.parent / ".owner").open() as owner, pytest.raises(BlockingIOError):
            fcntl.flock(owner, fcntl.LOCK_SH | fcntl.LOCK_NB)
        Store(store.root)
        assert one.is_dir() and two.is_dir(), "those of the living stay"
    assert not list((store.root / "scratch").iterdir())


def test_what_the_dead_left_is_swept(store: Store) -> None:
    scratch = store.root / "scratch"
    (scratch / "folder/work").mkdir(parents=True)
    (scratch / "folder/work/file").touch()
    (scratch / "file").touch()
    with (scratch / "held").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        Store(store.root)
        assert {path.name for path in scratch.iterdir()} == {"held"}


# Caches that can only be read, or cannot be used


@pytest.fixture
def only_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same cache where nothing can be written (root may write everywhere: so it is said)."""
    store.put(b"content")
    store.keep("abcd", {"a": 1})

    def refuse(path: str, flags: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(30, "Read-only file system")
        return os.open(path, flags)

    monkeypatch.setattr(private, "opener", refuse)
    return Store(store.root)


def test_a_cache_that_can_only_be_read_gives_what_it_has(only_read: Store) -> None:
    assert only_read.read(sha256(b"content")) == b"content" and only_read.record("abcd") == {"a": 1}
    assert only_read.keep("efgh", {"b": (2,)}) == only_read.record("efgh") == {"b": [2]}
    assert not place(only_read, "records", "efgh").exists()
    with only_read.lock("step"):
        assert not (only_read.root / "locks/step").exists()
    sentence = (
        f"the cache {only_read.root} cannot be written: Read-only file system "
        "(set IMAGEBUILDER_CACHE to another folder)"
    )
    writes: tuple[Callable[[], Any], ...] = (
        only_read.check_writable,
        lambda: only_read.put(b"other"),
        lambda: only_read.choose("x", {}),
        lambda: only_read.scratch().__enter__(),
        lambda: only_read.alone().__enter__(),
    )
    for write in writes:
        with pytest.raises(OutputError) as refused:
            write()
        assert str(refused.value) == sentence
    assert only_read.put(b"content") == sha256(b"content"), "that is there"


def test_where_there_is_none_it_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> None:
        def make_folder(_: Path) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(private, "make_folder", make_folder)
        with pytest.raises(OutputError, match=f"cannot be written: {os.strerror(number)}"):
            Store(tmp_path)

    refuse(30)
    (tmp_path / "records").mkdir(mode=0o700)
    refuse(28)  # a full disk is no read-only one


def test_what_cannot_be_written_is_a_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError) as full:
        store.put(b"content")
    assert (
        str(full.value) == f"the cache {store.root} cannot be written: No space left on device (free some disk space)"
    )
    assert not list((store.root / "scratch").iterdir())


def test_a_cache_that_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(InputError, match="others than you may write to"):
        Store(tmp_path / "cache")
    assert issubclass(InputError, ImagebuilderError) and not list((tmp_path / "cache").iterdir())


def test_no_record_holds_what_json_cannot_read(store: Store) -> None:
    store.keep("abcd", {"a": [None, True, 1.5, "\n", {"b": {}}]})
    read = json.loads(place(store, "records", "abcd").read_text())
    assert read["value"] == store.record("abcd") and read["sha256"] == key_of(read["value"])
