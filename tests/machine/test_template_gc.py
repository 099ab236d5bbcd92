"""Which templates are swept, and which stay: with folders as templates have them, and no machine in them."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.arch import MachineType
from imagebuilder.cache import USED
from imagebuilder.errors import InputError
from imagebuilder.machine.circumstances import Circumstances
from imagebuilder.machine.spec import Accelerator, Forward
from imagebuilder.machine.template import (
    FOLDER,
    MEMORY,
    TEMPLATE_JSON,
    Template,
    remove,
    templates,
)
from imagebuilder.machine.template_gc import DAY_S, MOST_KEPT, UNUSED_DAYS, abandoned, sweep, unreadable
from imagebuilder.recipe.model import Ready
from imagebuilder.store import Store, sha256

LONG = UNUSED_DAYS + 1.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A cache of its own."""
    return Store(tmp_path / "cache")


def kept(
    store: Store, image: str, *, days: float = 0, name: str = "web", accelerator: Accelerator = Accelerator.TCG
) -> Template:
    """A template that was last used so many days ago."""
    circumstances = Circumstances(image, "machine", "words", "QEMU 7.2", "a processor", "warm")
    folder = store.root / FOLDER / f"{name}-{accelerator}-{image}"
    folder.mkdir(parents=True)
    made = Template(
        folder, name, circumstances, 1, 0, MachineType.MICROVM, accelerator, 32, 1, False, True, (), (), Ready(exit=0)
    )  # fmt: skip
    (folder / TEMPLATE_JSON).write_text(json.dumps(made.describe()))
    (folder / MEMORY).write_bytes(b"memory")
    (folder / USED).touch()
    os.utime(folder / USED, (time.time() - days * DAY_S,) * 2)
    return made


def images(found: list[Template]) -> set[str]:
    """What tells them apart."""
    return {each.circumstances.image for each in found}


@pytest.mark.parametrize("size", [0, 1 << 40])
def test_a_state_that_is_none_is_refused_though_nothing_is_known_of_it(store: Store, size: int) -> None:
    made = kept(store, "x", days=0)
    with (made.folder / "state").open("wb") as stream:
        stream.truncate(size)
    with pytest.raises(InputError, match="is damaged: its state is not what was kept"):
        _ = made.state


def test_those_that_are_used_in_turn_stay(store: Store) -> None:
    for number in range(MOST_KEPT):
        kept(store, str(number), days=number / 2)
    assert sweep(store, next(templates(store))) == []
    assert len(list(templates(store))) == MOST_KEPT


def test_of_many_those_go_that_were_used_first(store: Store) -> None:
    for number in range(MOST_KEPT + 3):
        made = kept(store, str(number), days=3 - number / 10)
    assert images(sweep(store, made)) == {"0", "1", "2"}
    assert images(list(templates(store))) == {str(number) for number in range(3, MOST_KEPT + 3)}
    assert not list((store.root / "scratch").iterdir())


def test_what_nobody_used_for_long_goes(store: Store) -> None:
    made = kept(store, "new")
    kept(store, "old", days=LONG)
    kept(store, "other", days=LONG, name="shop")
    kept(store, "kvm", days=LONG, accelerator=Accelerator.KVM)
    assert images(sweep(store, made)) == {"old"}, "of others nothing is known here"
    assert images(list(abandoned(templates(store)))) == {"other", "kvm"}


def test_to_use_one_makes_it_young_again(store: Store) -> None:
    made = kept(store, "old", days=LONG)
    with made.used():
        pass
    assert sweep(store, made) == []
    assert time.time() - made.last_used_s < DAY_S


def test_one_that_is_in_use_stays(store: Store) -> None:
    made = kept(store, "old", days=LONG)
    with made.used():
        os.utime(made.folder / USED, (0, 0))
        assert sweep(store, made) == []
    assert images(sweep(store, made)) == {"old"}


def test_who_waits_for_one_that_is_removed_hears_of_it(store: Store) -> None:
    made = kept(store, "gone")
    with ThreadPoolExecutor() as pool, (made.folder / USED).open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        waiting = pool.submit(lambda: made.used().__enter__())
        time.sleep(0.2)  # had it not come so far by then, it would find no template, which is told alike
        shutil.rmtree(made.folder)
        fcntl.flock(stream, fcntl.LOCK_UN)
        with pytest.raises(InputError, match="was removed meanwhile"):
            waiting.result()


def test_what_another_version_has_made(store: Store) -> None:
    made = kept(store, "mine")
    other = kept(store, "other")
    (other.folder / TEMPLATE_JSON).write_text('{"schema": "imagebuilder.template/0"}')
    (torn := store.root / FOLDER / "torn").mkdir()
    assert list(unreadable(store)) == [torn, other.folder]
    assert all(remove(folder) for folder in unreadable(store))
    assert [path.name for path in (store.root / FOLDER).iterdir()] == [made.folder.name]
    assert remove(torn), "it is gone"


def into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def into_a_link(path: Path) -> None:
    path.rename(path.with_name("x"))
    path.symlink_to("x")


DAMAGES: Mapping[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": Path.unlink,
    "a folder": into_a_folder,
    "a link": into_a_link,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [TEMPLATE_JSON, MEMORY, "state", "kernel", "disk0"])
def test_one_that_is_damaged_is_none(store: Store, name: str, damage: str) -> None:
    """Without its memory QEMU would begin with an empty one."""
    made = kept(store, "image")
    content = {each: each.encode() * 99 for each in (MEMORY, "state", "kernel", "disk0")}
    for each, data in content.items():
        (made.folder / each).write_bytes(data)
    made = replace(made, sizes={each: len(data) for each, data in content.items()})
    (made.folder / TEMPLATE_JSON).write_text(json.dumps(made.describe()))
    assert [each.folder for each in templates(store)] == [made.folder]
    DAMAGES[damage](made.folder / name)
    with pytest.raises(InputError, match="holds no template that can be used") as caught:
        Template.read(made.folder)
    assert "imagebuilder template create" in str(caught.value.hint)
    assert list(templates(store)) == [] and list(unreadable(store)) == [made.folder] and remove(made.folder)


def test_a_flipped_bit_of_the_device_state_is_found_by_whoever_loads_it(store: Store) -> None:
    made = replace(kept(store, "image"), sha256={"state": sha256(b"devices")})
    (made.folder / "state").write_bytes(b"devices")
    assert made.state == b"devices"
    (made.folder / "state").write_bytes(b"devicer")
    with pytest.raises(InputError, match="is damaged: its state is not what was kept"):
        _ = replace(made).state


def test_a_clone_has_the_ports_of_its_template_and_those_that_are_asked_for(store: Store) -> None:
    made = replace(kept(store, "image"), ports=(80,), network=True)
    assert made.spec((Forward(8080, 80), Forward(8081, 81))).forwards == (Forward(8080, 80), Forward(8081, 81))
    assert made.spec().forwards == (Forward(None, 80),)
    with pytest.raises(InputError, match="has no network"):
        replace(made, network=False, ports=()).spec((Forward(8080, 80),))
