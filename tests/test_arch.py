"""One row knows an architecture's names; what they are is asked of those who gave them."""

import ast
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder import arch, process
from imagebuilder.arch import ARCHITECTURES, TARGET, Architecture, ImageType, MachineType
from imagebuilder.kernel import list_definitions

PACKAGE = Path(arch.__file__).parent
ELSEWHERE = [path for path in sorted(PACKAGE.rglob("*.py")) if path != Path(arch.__file__)]
NAMES = re.compile(
    r"x86|amd64|\bx64\b|\bi[3-6]86\b|\bem_386\b|aarch64|arm64|linux-(gnu|musl)|/lib64|qemu-system-", re.I
)
# What a machine, a kernel's file or the first disk is called, as a word of its own.
WORDS = re.compile(rf"\b({'|'.join([*MachineType, *ImageType, 'bzimage', 'ttyS0'])})\b|/dev/vd[a-z]", re.I)


@pytest.fixture(params=ARCHITECTURES.values(), ids=list(ARCHITECTURES))
def row(request: pytest.FixtureRequest) -> Architecture:
    """Each architecture."""
    found: Architecture = request.param
    return found


def test_no_other_module_names_an_architecture() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{number}: {line}"
        for path in ELSEWHERE
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if NAMES.search(line)
    ]
    assert not found, "\n".join(found)


def test_machines_kernel_files_and_disks_are_written_in_one_place() -> None:
    places = {(path.relative_to(PACKAGE).as_posix(), text) for path in ELSEWHERE for text in texts(path)}
    found = {place for place in places if WORDS.search(place[1])}
    assert found == {("platforms/linux/configuration.py", "/dev/vda")}


def texts(path: Path) -> Iterator[str]:
    """The texts of a module, but for its docstrings."""
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value


def test_each_is_found_by_its_name(row: Architecture) -> None:
    assert ARCHITECTURES[row.name] is row


def test_a_kernel_is_for_what_we_know() -> None:
    for definition in list_definitions():
        assert definition.architecture is TARGET
        for product in definition.products:
            assert product.file in TARGET.kernel_images and set(product.machines) <= set(TARGET.machines)


@pytest.mark.tools
def test_debian_has_the_same_names(row: Architecture) -> None:
    asked = [f"-qDEB_HOST_{name}" for name in ("ARCH", "MULTIARCH", "GNU_CPU", "ARCH_BITS")]
    said = [process.run(["dpkg-architecture", f"-a{row.debian}", each]).text.strip() for each in asked]
    assert said == [row.debian, row.multiarch, row.name, str(row.elf[1])]


@pytest.mark.tools
def test_this_host_is_one_of_them() -> None:
    assert process.run(["uname", "-m"]).text.strip() == platform.machine() == TARGET.name
    assert process.run(["dpkg", "--print-architecture"]).text.strip() == TARGET.debian
    assert Path(TARGET.linker).exists() and Path(TARGET.linker).name == next(iter(TARGET.linkers))


@pytest.mark.tools
def test_qemu_has_its_machines(row: Architecture) -> None:
    shown = process.run([row.qemu, "-machine", "help"]).text
    assert {line.split()[0] for line in shown.splitlines()} >= set(row.machines)
