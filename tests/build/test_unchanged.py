"""What a build that changed nothing printed: printed again, and not when anything that it depends on is another."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagebuilder import process
from imagebuilder.build import unchanged
from imagebuilder.build.unchanged import Used, Watched, answer, remember
from imagebuilder.paths import cache_dir
from imagebuilder.store import Store
from tests.build.test_warm import RECIPE

WORDS = ("build", "app")
TEXT = "out/app: it is there\n"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which a build of a recipe ``app`` has just ended, and is known."""
    monkeypatch.setattr(unchanged, "SETTLED_NS", 0)
    monkeypatch.setattr(unchanged, "PACKAGE", tmp_path / "package")
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("app/recipe.toml", "app/data/one", "out/app/root.cpio", "package/code.py", "kernels/own/kernel.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
    (tmp_path / "app/link").symlink_to("../elsewhere")
    for name in ("elsewhere", "program"):
        (tmp_path / name).write_text("first")
    store = Store(cache_dir())
    used = Used(
        folders=[tmp_path / "app"],
        looked_for=[str(tmp_path / "app" / "app" / "recipe.toml"), str(tmp_path / "bin" / "cc")],
        outputs=[tmp_path / "out" / "app" / "root.cpio"],
        results=["ab" * 32],
        contents=[store.put(b"content")],
    )
    store.keep("ab" * 32, {"a": "result"})
    time.sleep(0.02)  # a tick of the clock that files' times are of
    watched = Watched(WORDS)
    watched.note("open", (str(tmp_path / "program"), "r", os.O_RDONLY))
    remember(watched, store, used, TEXT)
    time.sleep(0.02)
    yield tmp_path


def entry(folder: Path, kind: str) -> Path:
    """The one entry of a kind that the build uses."""
    begin = "ab" if kind == "records" else "*"
    (found,) = (folder / "cache" / kind).glob(f"{begin}/*")
    return found


def rewritten(path: Path, text: str = "other") -> None:
    """As long as before, with the time of before."""
    times = path.stat()
    path.write_text(text)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def in_a_folder(path: Path) -> None:
    """A new file in a new folder."""
    path.parent.mkdir()
    path.write_text("other")


def test_it_is_printed_again(built: Path) -> None:
    assert answer(WORDS) == TEXT
    assert answer(WORDS) == TEXT


CHANGES: dict[str, Callable[[Path], object]] = {
    "the recipe": lambda folder: (folder / "app/recipe.toml").write_text("other"),
    "a file, of the same size and time": lambda folder: rewritten(folder / "app/data/one"),
    "a file's mode": lambda folder: (folder / "app/data/one").chmod(0o755),
    "a folder's mode": lambda folder: (folder / "app/data").chmod(0o700),
    "a file's name": lambda folder: (folder / "app/data/one").rename(folder / "app/data/two"),
    "a new file": lambda folder: (folder / "app/data/two").write_text(""),
    "a new folder": lambda folder: (folder / "app/data/new").mkdir(),
    "a file that is gone": lambda folder: (folder / "app/data/one").unlink(),
    "where a link leads to": lambda folder: (folder / "elsewhere").write_text("other"),
    "a program that was read": lambda folder: rewritten(folder / "program"),
    "a program that is found before": lambda folder: in_a_folder(folder / "bin/cc"),
    "a recipe that is found before": lambda folder: in_a_folder(folder / "app/app/recipe.toml"),
    "a kernel of the user's own": lambda folder: (folder / "kernels/own/kernel.toml").write_text("other"),
    "our code": lambda folder: (folder / "package/code.py").write_text("other"),
    "the image": lambda folder: rewritten(folder / "out/app/root.cpio"),
    "an image that is gone": lambda folder: (folder / "out/app/root.cpio").unlink(),
    "a result that is gone": lambda folder: entry(folder, "records").unlink(),
    "a damaged result": lambda folder: entry(folder, "records").write_text("{}"),
    "a content that is gone": lambda folder: entry(folder, "blobs").unlink(),
    "a cache that others may write to": lambda folder: (folder / "cache").chmod(0o777),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_something_is_another(built: Path, change: Callable[[Path], object]) -> None:
    change(built)
    assert answer(WORDS) is None


def test_a_damaged_result_is_left_for_the_build_to_report(built: Path) -> None:
    entry(built, "records").write_text("{}")
    assert answer(WORDS) is None and entry(built, "records").exists()


def test_other_words_variables_or_folders_are_another_build(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer((*WORDS, "--json")) is None
    with monkeypatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1")
        assert answer(WORDS) is None
    with monkeypatch.context() as patch:
        patch.chdir(built / "app")
        assert answer(WORDS) is None
    with monkeypatch.context() as patch:
        patch.setenv("SHLVL", "9")
        assert answer(WORDS) == TEXT


def test_what_was_changed_while_it_was_built_is_not_known(built: Path) -> None:
    watched = Watched(("build", "again"))
    time.sleep(0.02)
    (built / "app/recipe.toml").write_text("other")
    remember(watched, Store(cache_dir()), Used([built / "app"], [], [], [], []), TEXT)
    assert answer(watched.words) is None


def test_a_folder_of_very_many_files_is_not_known(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "MOST_ENTRIES", 3)
    watched = Watched(("build", "again"))
    remember(watched, Store(cache_dir()), Used([built / "app"], [], [], [], []), TEXT)
    assert answer(watched.words) is None


def test_what_is_opened_to_be_written_or_by_a_number_is_no_input() -> None:
    watched = Watched(WORDS)
    watched.note("open", ("/written", "w", os.O_WRONLY | os.O_CREAT))
    watched.note("open", (3, "r", os.O_RDONLY))
    watched.note("import", ("os", None))
    watched.note("os.scandir", (b"/folder",))
    assert watched.opened == {"/folder"}


def test_where_a_program_is_looked_for_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:/usr/bin")
    process.find("no-such-program")
    assert {str(tmp_path / "first/no-such-program"), "/usr/bin/no-such-program"} <= process.looked_for


# The command line

RUN = """
import sys
from imagebuilder.__main__ import main
try:
    main()
finally:
    print("imagebuilder.build.walk" in sys.modules, file=sys.stderr)
"""


@pytest.mark.tools
def test_a_third_build_prints_what_the_second_did_and_imports_next_to_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "app.c").write_text("int main(void) { return 0; }")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def build(*options: str) -> tuple[bool, str]:
        argv = [sys.executable, "-c", RUN, "build", str(folder), "--out", str(tmp_path / "out"), *options]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()[-1] == "True", done.stdout

    build()  # writes recipe.lock, which is younger than this build
    time.sleep(2.1)
    was_built, text = build()
    assert was_built
    assert build() == (False, text)
    assert build("--json")[0]
    again, document = build("--json")
    assert not again and all(step["cached"] for step in json.loads(document)["images"][0]["steps"])
    (tmp_path / "out" / "app" / "cmdline").unlink()
    assert build() == (True, text) and (tmp_path / "out" / "app" / "cmdline").exists()
    (folder / "app.c").write_text("int main(void) { return 1; }")
    was_built, other = build()
    assert was_built and other != text
