"""A recipe and its lockfile: what was chosen is used, whatever the archive has by now; all against a real one."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder import lockfile
from imagebuilder.arch import TARGET
from imagebuilder.build.locking import Outcome, locked
from imagebuilder.build.walk import Build
from imagebuilder.errors import InputError, SourceError
from imagebuilder.events import Event, Warned, silent
from imagebuilder.lockfile import Lock
from imagebuilder.recipe.load import load
from imagebuilder.recipe.model import Recipe
from imagebuilder.sources import apt, archives
from imagebuilder.sources.kind import LOCKFILE
from imagebuilder.store import Store
from tests.app import recipe_text

from .repository import Repository, missing_tools, served

pytestmark = pytest.mark.tools
FILES = 'type = "files"\nfiles = ["app"]\ntarget = "/usr/bin"\n'
TEXT = recipe_text("say=hello").replace(FILES, 'type = "debian"\nrelease = "bookworm"\npackages = ["app"]\n')
LOCK = "imagebuilder lock app"


@pytest.fixture(scope="module")
def archive(application: Path) -> Iterator[Repository]:
    """An archive with the test's program in a package, and another package."""
    if missing := missing_tools():
        pytest.skip(f"needs {', '.join(missing)}")
    short = Path(tempfile.mkdtemp(prefix="ib"))  # gpg-agent's socket has a short path only here
    (short / "archive").mkdir()
    try:
        with served(short / "archive", short / "keys") as repository:
            repository.add("base-passwd", files={"usr/share/base-passwd/passwd.master": b"nobody:*:9:9::/:/bin/x\n"})
            repository.add("other", files={"usr/share/other/x": b"x"})
            yield repository
    finally:
        shutil.rmtree(short)


@pytest.fixture
def repository(archive: Repository, application: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The archive, with the first version of the program, as the one that this machine is configured for."""
    monkeypatch.setattr(archives, "ETC_APT", archive.configure())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    release(archive, application, "1.0")
    return archive


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe that takes its program from the archive."""
    monkeypatch.chdir(tmp_path)
    return rewritten(tmp_path / "app", TEXT)


def rewritten(folder: Path, text: str) -> Recipe:
    """The recipe of this text."""
    folder.mkdir(exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    return load(folder)


def release(repository: Repository, application: Path, version: str) -> None:
    """Have this version of the program take the place of the one before it."""
    shutil.rmtree(repository.folder / "pool" / "app", ignore_errors=True)
    for old in (repository.folder / "pool").glob("app_*.deb"):
        old.unlink()
    repository.add("app", version, files={"usr/bin/app": application.read_bytes()}, modes={"usr/bin/app": 0o755})
    repository.publish()


def store(folder: Path, name: str = "cache") -> Store:
    """A cache of its own."""
    return Store(folder / name)


def digest(build: Build, out: Path) -> str:
    """The image's."""
    return build.run(out).image.digest


def packages(recipe: Recipe) -> dict[str, str]:
    """What the lockfile has, by version."""
    lock = lockfile.read(recipe.folder, hint="")
    assert lock
    (source,) = lock.architecture[TARGET.name].source
    return {package.name: package.version for package in source.packages}


def test_the_first_build_writes_it_and_another_cache_gives_the_same_image(
    repository: Repository, recipe: Recipe, application: Path, tmp_path: Path
) -> None:
    first = digest(Build(recipe, store(tmp_path), silent), tmp_path / "one")
    assert packages(recipe) == {"app": "1.0", "base-passwd": "1.0"}
    kept = (recipe.folder / LOCKFILE).read_bytes()
    old = next((repository.folder / "pool").glob("app_*.deb"))
    stanza, away = repository._stanza(old), old.rename(tmp_path / old.name)
    release(repository, application, "1.1")
    away.rename(old)
    repository.publish(filler=stanza)  # the archive has both
    second = digest(Build(recipe, store(tmp_path, "other"), silent, frozen=True), tmp_path / "two")
    assert (first, kept) == (second, (recipe.folder / LOCKFILE).read_bytes())
    Build(recipe, store(tmp_path, "third"), silent, refresh=True).run(tmp_path / "three")
    assert packages(recipe)["app"] == "1.1"


def test_a_package_that_is_gone_is_an_error_whose_hint_helps(
    repository: Repository, recipe: Recipe, application: Path, tmp_path: Path
) -> None:
    locked(recipe, store(tmp_path), silent)
    release(repository, application, "1.1")
    other = store(tmp_path, "other")
    with pytest.raises(SourceError, match=r"app.* 1\.0, which was chosen earlier") as caught:
        Build(recipe, other, silent).run(tmp_path / "out")
    assert caught.value.hint == f"{LOCK} --update" and packages(recipe)["app"] == "1.0"
    updated = locked(recipe, other, silent, update=True)
    assert [change.text for change in updated.changes] == ["package app 1.0 → 1.1"] and updated.written
    assert digest(Build(recipe, other, silent, frozen=True), tmp_path / "out")


def test_a_check_sees_what_an_update_would_change_and_leaves_no_trace(
    repository: Repository, recipe: Recipe, application: Path, tmp_path: Path
) -> None:
    cache = store(tmp_path)

    def checked() -> Outcome:
        return locked(recipe, cache, silent, check=True)

    assert checked().missing and checked().stale and not (recipe.folder / LOCKFILE).exists()
    assert not list((cache.root / "choices").iterdir())
    written = locked(recipe, cache, silent)
    assert written.missing and written.written and not locked(recipe, cache, silent).stale
    assert not checked().stale
    release(repository, application, "1.1")
    found = checked()
    assert [change.text for change in found.changes] == ["package app 1.0 → 1.1"]
    assert found.stale and not found.written and packages(recipe)["app"] == "1.0"
    assert not locked(recipe, cache, silent).stale  # what fits stays


def test_what_the_recipe_asks_for_besides_is_chosen_and_written(
    repository: Repository, recipe: Recipe, application: Path, tmp_path: Path
) -> None:
    Build(recipe, store(tmp_path), silent).run(tmp_path / "out")
    more = rewritten(recipe.folder, TEXT.replace('["app"]', '["app", "other"]'))
    with pytest.raises(InputError, match=r"does not fit the recipe: .* debian asks for \(bookworm app other") as caught:
        Build(more, store(tmp_path), silent, frozen=True).run(tmp_path / "out")
    assert caught.value.hint == LOCK
    Build(more, store(tmp_path), silent).run(tmp_path / "out")
    assert [*packages(more)] == ["app", "base-passwd", "other"]
    Build(more, store(tmp_path), silent, frozen=True).run(tmp_path / "out")


def test_frozen_refuses_where_there_is_no_lock_and_where_it_has_more(
    repository: Repository, recipe: Recipe, tmp_path: Path
) -> None:
    frozen = Build(recipe, store(tmp_path), silent, frozen=True)
    with pytest.raises(InputError, match=r"app has no recipe\.lock for .*, and frozen it takes nothing else") as caught:
        frozen.run(tmp_path / "out")
    assert caught.value.hint == LOCK and not (recipe.folder / LOCKFILE).exists()
    locked(recipe, store(tmp_path), silent)
    lock = lockfile.read(recipe.folder, hint="")
    assert lock
    choices = lock.architecture[TARGET.name]
    (source,) = choices.source
    extra = choices.model_copy(update={"source": (*choices.source, source.model_copy(update={"type": "z"}))})
    lockfile.write(lock.with_choices(TARGET.name, extra), recipe.folder)
    with pytest.raises(InputError, match="does not fit the recipe: it has more than the sources ask for"):
        Build(recipe, store(tmp_path), silent, frozen=True).run(tmp_path / "out")


def test_a_damaged_one_is_written_anew_by_the_hint(repository: Repository, recipe: Recipe, tmp_path: Path) -> None:
    path = recipe.folder / LOCKFILE
    locked(recipe, store(tmp_path), silent)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"1.0", b"one two"))
    with pytest.raises(InputError, match=r"recipe\.lock: .*version: String should match") as caught:
        Build(recipe, store(tmp_path), silent).run(tmp_path / "out")
    assert caught.value.hint == f"remove it, and `{LOCK}` writes it again"
    path.unlink()
    assert locked(recipe, store(tmp_path), silent).written and path.read_bytes() == whole


def test_what_the_archive_no_longer_has(
    repository: Repository, recipe: Recipe, application: Path, tmp_path: Path
) -> None:
    cache = store(tmp_path)
    locked(recipe, cache, silent)
    (source,) = Build(recipe, cache, silent).planner.locked
    assert source.choice and not apt.missing("bookworm", source.choice.packages, store=cache, say=silent)
    release(repository, application, "1.1")
    (gone,) = apt.missing("bookworm", source.choice.packages, store=cache, say=silent)
    assert (gone.name, gone.version) == ("app", "1.0")


def elsewhere(recipe: Recipe, what: str) -> None:
    """A lockfile as another version of us would have written it."""
    lock = lockfile.read(recipe.folder, hint="")
    assert lock
    choices = lock.architecture[TARGET.name]
    other = getattr(choices, what).model_copy(update={"key": "0" * 64})
    lockfile.write(Lock(architecture={TARGET.name: choices.model_copy(update={what: other})}), recipe.folder)


@pytest.mark.parametrize("what", ["kernel", "init"])
def test_another_kernel_or_init_than_the_lock_has(
    repository: Repository, recipe: Recipe, tmp_path: Path, what: str
) -> None:
    locked(recipe, store(tmp_path), silent)
    elsewhere(recipe, what)
    events: list[Event] = []
    Build(recipe, store(tmp_path), events.append).run(tmp_path / "out")
    warned = [event.text for event in events if isinstance(event, Warned)]
    assert warned == [f"the {what} is another than recipe.lock has: `{LOCK}` notes what there is now"]
    with pytest.raises(InputError, match=f"recipe.lock of app has another {what} than there is now"):
        Build(recipe, store(tmp_path), silent, frozen=True).run(tmp_path / "out")
    assert [change.what for change in locked(recipe, store(tmp_path), silent).changes] == [what]
    Build(recipe, store(tmp_path), events.append, frozen=True).run(tmp_path / "out")


def test_another_kernel_that_is_asked_for_does_not_count(
    repository: Repository, recipe: Recipe, tmp_path: Path
) -> None:
    locked(recipe, store(tmp_path), silent)
    kept = (recipe.folder / LOCKFILE).read_bytes()
    events: list[Event] = []
    Build(recipe, store(tmp_path), events.append, smp=True).run(tmp_path / "out")
    assert (recipe.folder / LOCKFILE).read_bytes() == kept
    assert not [event for event in events if isinstance(event, Warned)]
    with pytest.raises(InputError, match="has the recipe's own kernel: frozen it takes no other"):
        Build(recipe, store(tmp_path), silent, smp=True, frozen=True).run(tmp_path / "out")


def test_it_is_no_file_that_a_pattern_means(repository: Repository, recipe: Recipe, tmp_path: Path) -> None:
    """Or the second build would differ from the first."""
    text = TEXT.replace("[source]", "[[source]]").replace(
        "[application]", '[[source]]\ntype = "files"\nfiles = ["**"]\ntarget = "/srv"\n\n[application]'
    )
    changed = rewritten(recipe.folder, text)
    cache = store(tmp_path)
    first = digest(Build(changed, cache, silent), tmp_path / "out")
    assert (recipe.folder / LOCKFILE).exists()
    again = Build(changed, cache, silent)
    assert digest(again, tmp_path / "out") == first
    assert "/srv/recipe.toml" in again.root and f"/srv/{LOCKFILE}" not in again.root
