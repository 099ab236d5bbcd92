"""The prebuilt standard in QEMU: what micro lacks is there, and a recipe that needs it gets it prebuilt."""

import re
from pathlib import Path

import pytest

from imagebuilder import kernel, process
from imagebuilder.build.walk import Build
from imagebuilder.events import silent
from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.machine.spec import Accelerator, spec_of
from imagebuilder.measure.startup import boot_once
from imagebuilder.recipe.load import load
from imagebuilder.store import Store
from imagebuilder.tree import Tree, file
from tests.app import HTTP, lay_down, recipe_text
from tests.app import compiled as application

from .test_kernel_boot import OURS, boot, compiled

pytestmark = pytest.mark.vm

WHAT = Tree({"/what": file(b"told")})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def standard(store: Store) -> kernel.Kernel:
    noted: list[object] = []
    given = kernel.provide(kernel.load_definition("standard"), store=store, say=noted.append)
    assert not noted, "it was not prebuilt"
    return given


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An empty ext4; a compressed EROFS and a squashfs with a file."""
    folder = tmp_path_factory.mktemp("disks")
    process.run(["mke2fs", "-q", "-t", "ext4", folder / "a", "8M"])
    (folder / "tree").mkdir()
    (folder / "tree/what").write_bytes(b"told" + bytes(1 << 16))
    process.run(["mkfs.erofs", "--quiet", "-zlz4hc", folder / "b", folder / "tree"])
    FILESYSTEMS["squashfs"].write(WHAT, folder / "c", epoch_s=0)
    return [folder / name for name in "abc"]


def test_what_micro_lacks_is_there(
    standard: kernel.Kernel, disks: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = compiled("standard", tmp_path_factory.mktemp("standard"))
    said = boot(standard, program, memory_mib=64, disks=disks)
    assert "asked: 0 missing" in said, said
    assert [f"{name}: told" in said for name in ("ext4", "erofs", "squashfs")] == [True] * 3, said


@pytest.mark.parametrize("cpu", ["qemu64", "max", OURS])
def test_an_application_finds_what_it_takes_for_granted(standard: kernel.Kernel, cpu: str, tmp_path: Path) -> None:
    assert "asked: 0 missing" in boot(standard, compiled("abi", tmp_path), memory_mib=32, cpu=cpu)


def test_it_runs_on_all_processors(standard: kernel.Kernel, tmp_path: Path) -> None:
    said = boot(standard, compiled("machine", tmp_path), memory_mib=32, cpus=3)
    assert re.findall(r"runs on (\d)", said) == ["0", "1", "2"], said


def test_its_mitigations_are_those_of_its_command_line(standard: kernel.Kernel, tmp_path: Path) -> None:
    text = boot(standard, compiled("machine", tmp_path), memory_mib=32, words="loglevel=7 mitigations=auto")
    assert "Spectre V2 : Mitigation" in text, text
    assert "Spectre V2 : Mitigation" not in boot(
        standard, compiled("machine", tmp_path), memory_mib=32, words="loglevel=7"
    )


async def test_a_recipe_that_listens_on_ipv6_answers(tmp_path: Path, store: Store) -> None:
    ready = HTTP.format(timeout_s=120)
    lay_down(tmp_path / "six", application(tmp_path), recipe_text("listen=[::]:80", ready=ready))
    build = Build(load(tmp_path / "six"), store, silent)
    assert build.kernel_choice.why == 'application.arguments: "[::]:80" needs CONFIG_IPV6, which micro lacks'
    bundle = build.run(tmp_path / "out")
    assert bundle.image.kernel.name == "standard"
    assert (await boot_once(spec_of(bundle, accelerator=Accelerator.TCG), bundle.ready)).start.ready_ns
