"""Fragments: read, merged in order, and each symbol that did not survive is named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imagebuilder import paths
from imagebuilder.errors import KernelError
from imagebuilder.kernel import config

Fragment = Callable[[str, str], Path]


@pytest.fixture
def fragment(tmp_path: Path) -> Fragment:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_file_of_a_tebibyte_is_no_fragment(fragment: Fragment) -> None:
    path = fragment("a.config", "CONFIG_A=y\n")
    with path.open("a") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(KernelError, match=r"a\.config is longer than 1 MiB"):
        config.parse(path)


def test_every_kind_of_value_is_read(fragment: Fragment) -> None:
    path = fragment(
        "a.config", '# Why.\n\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=0x20\nCONFIG_D="x y"\nCONFIG_E=-1\n'
    )
    assert config.parse(path) == {"A": "y", "B": "n", "C": "0x20", "D": '"x y"', "E": "-1"}


@pytest.mark.parametrize("line", ["A=y", "CONFIG_A", "CONFIG_A=m", "CONFIG_A = y", "#CONFIG_A is unset", "config_a=y"])
def test_what_is_no_setting_is_named_with_its_line(fragment: Fragment, line: str) -> None:
    with pytest.raises(KernelError, match=r"a\.config:2: expected CONFIG_NAME=VALUE"):
        config.parse(fragment("a.config", f"CONFIG_Z=y\n{line}\n"))


def test_later_fragments_win(fragment: Fragment) -> None:
    first, second = fragment("a.config", "CONFIG_A=y\nCONFIG_B=1\n"), fragment("b.config", "CONFIG_B=2\nCONFIG_A=n\n")
    requested = config.merge((first, second))
    assert config.text(requested) == "CONFIG_A=n\nCONFIG_B=2\n"
    assert {each.fragment for each in requested.values()} == {second}


def test_each_lost_symbol_is_a_sentence(fragment: Fragment) -> None:
    path = fragment("disk.config", "CONFIG_BLOCK=y\nCONFIG_EROFS_FS=y\nCONFIG_NR=2\nCONFIG_SWAP=n\nCONFIG_OFF=n\n")
    requested = config.merge((path,))
    got = "CONFIG_BLOCK=y\nCONFIG_NR=1\nCONFIG_SWAP=y\n"
    assert config.lost(requested, got) == (
        "disk.config asks for CONFIG_EROFS_FS=y, the configuration has n",
        "disk.config asks for CONFIG_NR=2, the configuration has 1",
        "disk.config asks for CONFIG_SWAP=n, the configuration has y",
    )
    with pytest.raises(KernelError, match="EROFS_FS"):
        config.check(requested, got)
    config.check(requested, "CONFIG_BLOCK=y\nCONFIG_EROFS_FS=y\nCONFIG_NR=2\n# CONFIG_SWAP is not set\n")


def test_the_shipped_fragments_can_be_read() -> None:
    shared = sorted((paths.shipped("kernels") / "fragments").glob("*.config"))
    assert shared
    assert all(config.parse(path) for path in shared)
