"""Every command of our pages is run, in the order of its page, and gives what the page says."""

from pathlib import Path

import pytest

from tests.app import lay_down, recipe_text
from tests.docs.blocks import ALL, PAGES, Command, blocks
from tests.docs.masks import ANYTHING, difference
from tests.docs.scratch import Scratch

NOT_RUN = {
    "make test": "this test is part of it",
    "make check": "installs us again from an index; CI runs it, before its tests",
    "make kernel-micro": "compiles a kernel: ten minutes",
    "python -m imagebuilder.platforms.linux build": "replaces init in the tree; tests/guest compiles it",
    "make demo": "installs us again from an index; what it runs, `imagebuilder test nginx --show-answer`, is run",
    "imagebuilder kernel build micro --fragment ipv6": "compiles a kernel: ten minutes",
    "imagebuilder kernel verify micro": "compiles a kernel: ten minutes",
    "python3 -m imagebuilder.kernel micro": "compiles two kernels, and replaces those of the tree",
    "python3 -m imagebuilder.measure.profiling": "compiles a kernel with counters: ten minutes",
    'eval "$(imagebuilder completion zsh)"': "of another shell than the one that runs the blocks",
    "imagebuilder completion fish": "of another shell than the one that runs the blocks",
    "qemu-system-x86_64 -M q35": "serves until it is ended; tests/images/test_disk_boot.py starts such disks",
    "mmdebstrap": "makes somebody else's disk of 1.2 GB out of 200 packages",
    "truncate -s 1200M disk.raw": "the same disk",
    "cp root/boot/vmlinuz-*": "the same disk",
    "imagebuilder bench nginx --vs main/out": "on a busy host it is undecided; tests/cli/test_gate.py runs it",
}
"""Commands (by how they begin) that cannot run here, and why. Each must still stand in a page."""
NEVER = 'console = "^hello"\ntimeout_s = 5'
SLOW = {
    "imagebuilder run certificates": "prepares it in an emulated machine: a minute",
    "pytest --imagebuilder recipes": "builds, boots and measures all recipes",
    "imagebuilder bench nginx --density 200": "needs more than 1 GB",
    "imagebuilder bench nginx --density max": "takes all the memory that there is",
}
"""Commands that only `make test-all` runs."""
COMMANDS = tuple(command for block in ALL for command in block.commands)
WITH_COMMANDS = tuple(page for page in PAGES if any(block.commands for block in blocks(page)))


def named(command: Command, table: dict[str, str]) -> bool:
    """Whether a table has the command."""
    return any(command.words.startswith(words) for words in table)


@pytest.mark.parametrize("words", [*NOT_RUN, *SLOW])
def test_what_is_left_out_still_stands_in_a_page(words: str) -> None:
    assert any(command.words.startswith(words) for command in COMMANDS), f"no page has {words!r} any more"


def walk(page: str, scratch: Scratch, *, slow: bool) -> None:
    """A page from its top to its end: its files are written, its commands run."""
    for block in blocks(page):
        if block.file and block.language not in ("sh", "console", "text"):
            scratch.write(block)
        for command in block.commands:
            if not named(command, NOT_RUN) and (slow or not named(command, SLOW)):
                scratch.check(command)


@pytest.mark.vm
@pytest.mark.network
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_a_page_does_what_it_says(page: str, tmp_path: Path, docs_cache: Path) -> None:
    walk(page, Scratch(tmp_path, docs_cache), slow=False)


@pytest.mark.vm
def test_a_failing_test_says_what_the_page_says(tmp_path: Path, docs_cache: Path, application: Path) -> None:
    scratch = Scratch(tmp_path, docs_cache)
    lay_down(tmp_path / "app", application, recipe_text("say=here", "wait", ready=NEVER))
    (shown,) = [block for block in blocks("docs/testing.md") if block.language == "text"]
    ran = scratch.run("pytest app/recipe.toml -k gets_ready")
    assert ran.status == 1
    why = difference([ANYTHING, *shown.text.splitlines(), ANYTHING], ran.text)
    assert why is None, f"{why}\n{ran.text}"


@pytest.mark.vm
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({command.page for command in COMMANDS if named(command, SLOW)}))
def test_a_page_with_its_slow_commands(page: str, tmp_path: Path, docs_cache: Path) -> None:
    walk(page, Scratch(tmp_path, docs_cache), slow=True)
