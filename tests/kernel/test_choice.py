"""Which kernel a recipe gets, and why: the smallest prebuilt one that has what it needs."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from imagebuilder import kernel, paths
from imagebuilder.arch import Firmware
from imagebuilder.build import locking
from imagebuilder.build.walk import Build
from imagebuilder.errors import KernelError
from imagebuilder.events import Event, Told, Warned
from imagebuilder.kernel import choose, prebuilt
from imagebuilder.kernel.definition import fragment
from imagebuilder.recipe.model import Recipe
from imagebuilder.store import Store

HELLO = paths.shipped("recipes") / "hello"
LISTENS: dict[str, Any] = {
    "application": {"command": "/hello", "arguments": ["--bind", "[::]:80"]},
    "machine": {"network": True},
}
LISTENS_ON_TWO = LISTENS | {"machine": {"network": True, "cpus": 2}}


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def build(tmp_path: Path, said: list[Event] | None = None, **changes: Any) -> Build:
    """hello with some tables changed."""
    folder = shutil.copytree(HELLO, tmp_path / "hello", dirs_exist_ok=True)  # a build writes its lockfile there
    document = tomllib.loads((folder / "recipe.toml").read_text())
    tables = {name: {**document.get(name, {}), **table} for name, table in changes.items()}
    recipe = Recipe.model_validate({**document, **tables}, context=folder)
    return Build(recipe, Store(tmp_path / "store"), (said if said is not None else []).append)


@pytest.mark.parametrize(
    ("changes", "name", "why"),
    [
        ({}, "micro", "the smallest, and the recipe needs no more than it has"),
        ({"machine": {"cpus": 2}}, "micro+smp", "machine.cpus = 2 needs CONFIG_SMP, which micro lacks"),
        (LISTENS_ON_TWO, "standard", "(and 1 more), which micro lacks"),
        (LISTENS, "standard", 'application.arguments: "[::]:80" needs CONFIG_IPV6, which micro lacks'),
        ({"root": {"mounts": ["ext4 /data source=/dev/vda"]}}, "standard", 'root.mounts: "ext4" needs CONFIG_EXT4_FS'),
        ({"root": {"mounts": ["cgroup2 /sys/fs/cgroup"]}}, "standard", 'root.mounts: "cgroup2" needs CONFIG_CGROUPS'),
        ({"root": {"format": "squashfs"}}, "standard", 'root.format = "squashfs" needs CONFIG_SQUASHFS'),
        ({"root": {"format": "memory"}, "machine": {"cpus": 2}}, "micro+smp", "machine.cpus = 2 needs CONFIG_SMP"),
        ({"kernel": {"fragments": ["smp"]}}, "micro+smp", "the fragment smp asks for CONFIG_"),
        ({"kernel": {"fragments": ["smp"]}, "machine": {"cpus": 2}}, "micro+smp", "machine.cpus = 2 needs CONFIG_SMP"),
        ({"root": {"mounts": ["tmpfs /run"], "format": "memory"}}, "micro", "the smallest"),
        ({"kernel": {"fragments": ["network"]}}, "micro", "the smallest"),
        *(
            ({"kernel": {"fragments": [name]}}, "standard", f"the fragment {name} asks for CONFIG_")
            for name in (*("ipv6", "io-uring", "vsock", "ext4", "squashfs", "erofs-zip", "containers", "mitigations"),)
        ),
        ({"kernel": {"fragments": ["ipv6", "ext4"]}, "machine": {"cpus": 2}}, "standard", "more), which micro lacks"),
    ],
)
@pytest.mark.usefixtures("no_compiler")
def test_a_recipe_that_names_no_kernel(changes: dict[str, Any], name: str, why: str, tmp_path: Path) -> None:
    work = build(tmp_path, **changes)
    definition = work.kernel_choice.definition
    assert work.planner.kernel_title.startswith(name) and definition.name == name.split("+")[0]
    assert why in work.kernel_choice.why
    variants = {prebuilt.name_of(definition, variant): variant for variant in definition.variants}
    record = prebuilt.read_record(definition, variants[name])
    extra = work.planner.fragments
    given = kernel.provide(work.planner.definition, extra_fragments=extra, store=work.store, say=work.say)
    assert record is not None and given.digest == record.digest, "it was not prebuilt"
    assert work.folder_name == "hello"


@pytest.mark.parametrize("name", ["micro", "standard", "debian-cloud"])
def test_a_kernel_that_is_named_is_kept(name: str, tmp_path: Path) -> None:
    work = build(tmp_path, kernel={"name": name}, **LISTENS)
    assert (work.kernel_choice.definition.name, work.kernel_choice.why) == (name, "the recipe names it")
    assert work.kernel_choice.sentence is None and work.folder_name == "hello"
    given = Build(build(tmp_path).recipe, work.store, work.say, kernel_name=name)
    assert (given.kernel_choice.definition.name, given.kernel_choice.why) == (name, "--kernel names it")
    assert given.folder_name == ("hello" if name == "micro" else f"hello@{name}")


def test_a_variant_that_was_chosen_for_a_part_of_it_is_taken_prebuilt(tmp_path: Path) -> None:
    own = tmp_path / "own.config"
    own.write_text("CONFIG_SMP=y\n")
    chosen = choose(None, (own,), {}, by="")
    fragments = kernel.completed(chosen.definition, (own,), {}, chosen.variant)
    assert chosen.sentence == "kernel micro+smp: the fragment own asks for CONFIG_SMP=y, which micro lacks"
    assert [path.stem for path in fragments] == ["own", "smp"]
    assert prebuilt.equal_variant(chosen.definition, fragments) == chosen.variant


def test_what_neither_has_is_compiled_over_the_smallest(tmp_path: Path) -> None:
    own = tmp_path / "own.config"
    own.write_text("CONFIG_XFS_FS=y\n")
    chosen = choose(None, (own, fragment("ipv6", beside=tmp_path)), {"SMP": "the test"}, by="")
    assert chosen.definition.name == "micro"
    assert chosen.why == "the smallest; the fragment own asks for CONFIG_XFS_FS=y, which no prebuilt kernel has"


def test_what_no_fragment_was_named_for_is_refused_as_before(tmp_path: Path) -> None:
    work = build(tmp_path, root={"mounts": ["xfs /data source=/dev/vda"]}, machine={"cpus": 2})
    with pytest.raises(KernelError, match='"xfs" needs CONFIG_XFS_FS, which the kernel micro lacks'):
        _ = work.plan


def test_a_build_says_which_and_why_when_it_is_not_the_usual_one(tmp_path: Path) -> None:
    said: list[Event] = []
    with pytest.raises(KernelError):  # the line comes before anything is made
        build(tmp_path, said, machine={"cpus": 65}).run(tmp_path)
    assert [each for each in said if isinstance(each, Told)] == [
        Told("kernel micro+smp: machine.cpus = 65 needs CONFIG_SMP, which micro lacks")
    ]


def test_an_address_that_the_named_kernel_does_not_know_is_warned_of(tmp_path: Path) -> None:
    said: list[Event] = []
    assert build(tmp_path, said, kernel={"name": "micro"}, **LISTENS).plan
    assert [each.text for each in said if isinstance(each, Warned)] == [
        'application.arguments: "[::]:80" is an IPv6 address, and the kernel micro has no IPv6: '
        'add "ipv6" to fragments under [kernel]'
    ]
    said.clear()
    assert build(tmp_path, said, **LISTENS).plan and not said


def test_more_processors_than_the_recipe_asks_for(tmp_path: Path) -> None:
    work = build(tmp_path)
    assert work.able(1) is work
    able = work.able(2)
    assert (able.planner.kernel_title, able.folder_name) == ("micro+smp", "hello@micro+smp")
    named = build(tmp_path, kernel={"name": "micro"}).able(2)
    assert (named.kernel_choice.definition.name, named.folder_name) == ("micro", "hello@micro+smp")


def test_what_firmware_starts_gets_a_kernel_that_it_starts() -> None:
    wanted = {Firmware.BIOS: "the format disk"}
    choice = choose(None, (), {"SMP": "machine.cpus = 2"}, by="the recipe", firmware=wanted)
    which = "needs one that starts from a BIOS (and 1 more), which micro lacks"
    assert choice.sentence == f"kernel cloud: the format disk {which}"
    assert choose(None, (), {"NO_SUCH": "x"}, by="the recipe", firmware=wanted).definition.name == "cloud"
    assert choose("cloud", (), {}, by="the recipe", firmware=wanted).definition.name == "cloud"
    with pytest.raises(KernelError, match="the kernel micro is started by direct, not by bios, as the format disk is"):
        choose("micro", (), {}, by="the recipe", firmware=wanted)


def test_a_format_takes_the_kernel_cloud_by_itself_and_the_lockfile_keeps_the_recipes_own(tmp_path: Path) -> None:
    said: list[Event] = []
    usual, disk = build(tmp_path), build(tmp_path, said)
    disk = Build(disk.recipe, disk.store, said.append, formats=("tar", "qcow2"))
    assert (usual.planner.kernel_title, disk.planner.kernel_title) == ("micro", "cloud")
    assert disk.folder_name == "hello" and [*disk.plan.images] == ["qcow2"]
    assert locking.chosen(disk.planner) == locking.chosen(usual.planner)
