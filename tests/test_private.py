"""What is ours alone stays so, whatever the umask."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagebuilder import private
from imagebuilder.doctor import examine
from imagebuilder.errors import CacheError, InputError, MachineError, OutputError
from imagebuilder.machine.failures import write_evidence
from imagebuilder.paths import cache_dir
from imagebuilder.store import Store, key_of
from tests.app import lay_down, recipe_text

UMASKS = [0, 0o022]


@pytest.fixture(params=UMASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """The umask of this process while the test runs."""
    before = os.umask(request.param)
    try:
        yield request.param
    finally:
        os.umask(before)


def open_to_others(folder: Path, *, shared: frozenset[int] = frozenset()) -> list[str]:
    """What in it, and it itself, others than its owner can use, but for files with these numbers."""
    found = ((path, path.lstat()) for path in (folder, *folder.rglob("*")))
    return [
        f"{path} {stat.filemode(at.st_mode)}" for path, at in found if at.st_mode & 0o077 and at.st_ino not in shared
    ]


def test_a_cache_is_closed(umask: int, tmp_path: Path) -> None:
    store = Store(tmp_path / "above" / "cache")
    store.put(b"content")
    store.put_file(Path(__file__))
    store.keep(key_of(1), {})
    store.choose(key_of(2), {})
    with store.lock("lock"), store.scratch() as work:
        assert open_to_others(tmp_path / "above") == [] and work.is_dir()


def test_a_cache_of_before_is_closed(tmp_path: Path) -> None:
    folders = [tmp_path / "cache" / name for name in ("templates", "scratch", "apt", "blobs")]
    for folder in folders:
        folder.mkdir(parents=True, mode=0o755)
    Store(tmp_path / "cache")
    assert [open_to_others(folder) for folder in folders] == [[]] * 4


def test_evidence_is_closed(umask: int, tmp_path: Path) -> None:
    error = MachineError("it did not start")
    error.evidence = {"qemu-stderr.log": "secret"}
    folder = tmp_path / "out" / "app"
    for mode in (0o600, 0o644):  # the second one stands there, and is open
        assert write_evidence(error, folder) and open_to_others(folder) == []
        (folder / "qemu-stderr.log").chmod(mode)
    assert write_evidence(error, folder) and open_to_others(folder) == []


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "link").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic link"):
        private.write(tmp_path / "link", b"theirs")
    (tmp_path / "nowhere").symlink_to("gone")
    for path in (tmp_path / "nowhere", tmp_path / "nowhere" / "below"):
        with pytest.raises(FileExistsError):
            private.make_folder(path)
    assert (tmp_path / "victim").read_text() == "mine" and not (tmp_path / "gone").exists()


def test_a_folder_that_cannot_be_made() -> None:
    """The kernel makes none below /proc, and says that it does not exist."""
    with pytest.raises(FileNotFoundError):
        private.make_folder(Path("/proc/none/below"))


def imagebuilder(*words: str, folder: Path, umask: int) -> "subprocess.CompletedProcess[str]":
    """Run us as a user with this umask does, with a cache of its own."""
    env = {**os.environ, "IMAGEBUILDER_CACHE": str(folder / "cache")}
    argv = [sys.executable, "-m", "imagebuilder", *words, "-q", "--accel", "tcg"]
    return subprocess.run(argv, cwd=folder, env=env, umask=umask, capture_output=True, text=True, timeout=300)


@pytest.mark.vm
@pytest.mark.parametrize("umask_", UMASKS, ids=oct)
def test_templates_and_artefacts_are_closed(umask_: int, tmp_path: Path, application: Path) -> None:
    """A template with a scratch disk, and the logs of a template, a run and a test that failed."""
    who = str(Path(__file__).parent / "machine" / "who")
    done = imagebuilder("template", "create", who, folder=tmp_path, umask=umask_)
    assert done.returncode == 0, done.stderr
    root = next((tmp_path / "out" / "who").glob("root.*")).stat().st_ino
    assert open_to_others(tmp_path / "cache", shared=frozenset({root})) == []
    (folder,) = (tmp_path / "cache" / "templates").iterdir()
    assert {"memory", "state", "disk0", "template.json"} <= {path.name for path in folder.iterdir()}
    bad = lay_down(tmp_path / "bad", application, recipe_text("exit=3", name="bad"))
    for words in (("template", "create", str(bad)), ("test", str(bad)), ("bench", str(bad), "--runs", "2")):
        done = imagebuilder(*words, "--artefacts", words[0], folder=tmp_path, umask=umask_)
        assert done.returncode == 1 and open_to_others(tmp_path / words[0]) == [], done.stderr
        assert list((tmp_path / words[0]).rglob("console.log")), words


# Whom one trusts


def refused(root: Path) -> InputError:
    """The cache is refused, and nothing is changed."""
    before = sorted(root.rglob("*"))
    with pytest.raises(InputError) as caught:
        Store(root)
    assert sorted(root.rglob("*")) == before and str(root) in caught.value.message and caught.value.hint
    return caught.value


@pytest.mark.tools
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o707, 0o2770], ids=oct)
@pytest.mark.parametrize("place", ["", "records", "templates/key", "blobs/ab"], ids=lambda place: place or "root")
def test_a_cache_that_others_may_write_is_refused(tmp_path: Path, place: str, mode: int) -> None:
    root = tmp_path / "a cache"
    (root / place).mkdir(parents=True)
    for folder in (root, *root.rglob("*")):
        folder.chmod(0o755)
    (root / place).chmod(mode)
    error = refused(root)
    assert "others than you may write" in error.message and error.hint is not None
    if place == "" and mode & 0o1000:  # as /tmp is: to close that, or to remove it, would help nobody
        assert error.hint == private.elsewhere()
        return
    subprocess.run(["sh", "-c", error.hint.partition(";")[0]], check=True)
    Store(root)


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777], ids=oct)
def test_a_folder_of_other_things_is_no_cache(tmp_path: Path, mode: int) -> None:
    """Nothing of it is closed or to be removed, though it has a folder ``apt``, as /etc and /var/cache have."""
    for name in ("apt/apt.conf.d", "ssl", "cron.d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "mtab").symlink_to("/proc/mounts")
    tmp_path.chmod(mode)
    error = refused(tmp_path)
    assert "a folder of other things, such as cron.d" in error.message and error.hint == private.ELSEWHERE


def test_a_device_is_no_cache() -> None:
    with pytest.raises(InputError, match="/dev/null is no folder") as caught:
        private.check(Path("/dev/null"))
    assert caught.value.hint == private.ELSEWHERE


def test_a_disk_of_its_own_is_a_cache(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    Store(tmp_path)
    (tmp_path / "note").write_text("of mine")
    Store(tmp_path)


@pytest.mark.parametrize("place", ["", "records", "blobs/ab"], ids=lambda place: place or "root")
def test_a_cache_of_somebody_else_is_refused(tmp_path: Path, place: str) -> None:
    """Also for a record that fits its own hash: whoever wrote it could compute that."""
    if os.geteuid():
        pytest.skip("only root can give files away")
    root = tmp_path / "cache"
    key = key_of("step")
    Store(root).keep(key, {"digest": "theirs"})
    (root / place).mkdir(exist_ok=True, parents=True)
    os.chown(root / place, 4321, 4321)
    error = refused(root)
    assert "the user 4321, not to you" in error.message and "IMAGEBUILDER_CACHE" in str(error.hint)


@pytest.mark.tools
def test_links_inside_a_cache_are_refused(tmp_path: Path) -> None:
    theirs, root = tmp_path / "theirs", tmp_path / "cache"
    theirs.mkdir()
    Store(root)
    for place in ("blobs/ab", "templates/key", "scratch/x", "apt/key", "users", "records"):
        path = root / place
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.symlink_to(theirs)
        error = refused(root)
        assert f"{path} is a symbolic link" in error.message
        subprocess.run(["sh", "-c", str(error.hint)], check=True)
    Store(root)
    assert list(theirs.iterdir()) == []


def test_a_link_to_a_cache_of_ours_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("cache")
    (tmp_path / "cache").mkdir(mode=0o700)
    digest = Store(tmp_path / "link").put(b"content")
    assert Store(tmp_path / "cache").read(digest) == b"content"
    if not os.geteuid():
        os.chown(tmp_path / "link", 4321, 4321, follow_symlinks=False)
        with pytest.raises(InputError, match="link belongs to the user 4321"):
            Store(tmp_path / "link")


def test_files_of_a_cache_that_are_links_or_pipes_are_damaged(tmp_path: Path) -> None:
    store, victim = Store(tmp_path / "cache"), tmp_path / "victim"
    digest, key = store.put(b"content"), key_of("step")
    store.keep(key, {"a": 1})
    record = store.root / "records" / key[:2] / key
    victim.write_bytes(record.read_bytes())
    plants: list[Callable[[Path], None]] = [lambda path: path.symlink_to(victim), os.mkfifo]
    for plant in plants:
        record.unlink(missing_ok=True)
        plant(record)
        assert store.record(key) is None and not record.is_symlink()
        blob = store.root / "blobs" / digest[:2] / digest
        blob.unlink()
        plant(blob)
        with pytest.raises(CacheError, match="damaged"):
            store.blob(digest)
        store.put(b"content")
    lock = store.root / "locks" / "step"
    lock.symlink_to(tmp_path / "made")
    with pytest.raises(OSError, match="symbolic link"), store.lock("step"):
        pass
    assert not (tmp_path / "made").exists()


@pytest.mark.tools
def test_a_home_of_somebody_else_is_no_place_for_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under sudo, which may keep HOME."""
    if os.geteuid():
        pytest.skip("only root can give files away")
    os.chown(tmp_path, 4321, 4321)
    for name in ("IMAGEBUILDER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(OutputError, match=r"HOME, .* belongs to the user 4321, not to you") as caught:
        cache_dir()
    assert str(caught.value.hint).startswith("run without sudo, or set IMAGEBUILDER_CACHE")
    finding = next(finding for finding in examine() if finding.name == "cache")
    assert not finding.ok and "4321" in finding.found and "sudo" in str(finding.mend)
