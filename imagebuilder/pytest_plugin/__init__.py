"""The pytest plugin: boot tests are pytest tests. ``docs/testing.md`` describes its use.

pytest loads this module in every session, also where nothing is booted: whatever costs time is imported by the
fixtures, when a test asks for them.
"""

from argparse import ArgumentTypeError
from collections.abc import Generator
from pathlib import Path

import pytest

from imagebuilder.errors import ImagebuilderError
from imagebuilder.pytest_plugin.fixtures import (
    RECIPE,
    TRACES,
    boot_figures,
    boot_sequence,
    figures,
    image,
    imagebuilder_boot_sequence,
    imagebuilder_session,
    instance,
    instance_factory,
    kernel,
    machine,
    probe,
    recipe_folder,
)
from imagebuilder.pytest_plugin.reporting import Gathered, note

__all__ = [
    "boot_figures",
    "boot_sequence",
    "figures",
    "image",
    "imagebuilder_boot_sequence",
    "imagebuilder_session",
    "instance",
    "instance_factory",
    "kernel",
    "machine",
    "probe",
    "recipe_folder",
]

GATHERED = "imagebuilder-figures"
STATUS = "imagebuilder_exit_status"
FAILED = 1


def _positive(words: str) -> int:
    """A number from 1 on."""
    if not (words.isascii() and words.isdecimal() and int(words[:9]) > 0):
        raise ArgumentTypeError(f"{words!r} is no number from 1 on")
    return int(words[:9])


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; each has its default where no test asks for a machine."""
    group = parser.getgroup("imagebuilder", "images that are built, booted and measured")
    text = "collect the tests that every recipe.toml gives (else only of those that are named as arguments)"
    group.addoption("--imagebuilder", action="store_true", default=None, help=text)
    parser.addini("imagebuilder", text, type="bool", default=False)
    text = "what runs the machines: auto takes KVM only when a guest really ran under it"
    group.addoption("--ib-accel", choices=["auto", "kvm", "tcg"], default="auto", help=text)
    group.addoption("--ib-memory", type=_positive, metavar="MIB", help="memory, instead of the recipe's")
    text = "a variable of the application; again for several"
    group.addoption("--ib-env", action="append", metavar="NAME=VALUE", help=text)
    group.addoption("--ib-env-file", metavar="FILE", help="a file of such variables, one a line")
    text = "a secret that FILE holds, as /run/credentials/NAME; again for several"
    group.addoption("--ib-secret", action="append", metavar="NAME=FILE", help=text)
    group.addoption("--ib-cpus", type=_positive, metavar="N", help="processors, instead of the recipe's")
    group.addoption(
        "--ib-kernel", action="append", metavar="KERNEL", help="another kernel than the recipe's; again for several"
    )
    text = "start disks in this format instead of the bundle"
    group.addoption("--ib-format", metavar="FORMAT", help=text)
    group.addoption("--ib-firmware", choices=["bios", "uefi"], help="the firmware that starts them")
    group.addoption(
        "--ib-runs", type=_positive, default=5, metavar="N", help="starts that count when an image is measured"
    )
    text = "look for the least memory with which it answers, too"
    group.addoption("--ib-min-memory", action="store_true", help=text)
    group.addoption("--ib-initcalls", action="store_true", help="list what the kernel's own start spent, too")
    group.addoption("--ib-refresh", action="store_true", help="ask the mirrors for newer packages")
    group.addoption("--ib-json", metavar="FILE", help="write what was measured as JSON")
    group.addoption("--ib-recipe", metavar="NAME", help="the recipe of tests that stand beside none")
    group.addoption("--ib-out", default="out", metavar="DIR", help="the folder in which images stand")
    text = "the folder for what failing tests leave (default: artefacts in that of the images)"
    group.addoption("--ib-artefacts", metavar="DIR", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """The marker, the exit status, the figures."""
    config.addinivalue_line("markers", "recipe(name): the recipe whose image the fixtures build and boot")
    config.pluginmanager.register(_ExitStatus(), "imagebuilder-exit-status")
    named = config.getoption("--ib-json")
    if named == "-":
        raise pytest.UsageError("--ib-json: give a file: standard output is pytest's own (imagebuilder test has -)")
    path = config.invocation_params.dir / named if named else None
    if path is not None and not path.parent.is_dir():
        raise pytest.UsageError(f"--ib-json: the folder {path.parent} is not there")
    config.pluginmanager.register(Gathered(path), GATHERED)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """The tests of a recipe, when they are asked for."""
    if file_path.name != RECIPE:
        return None
    config = parent.config
    wanted = config.getoption("--imagebuilder") or config.getini("imagebuilder")
    if not (wanted or _named(file_path, config)):
        return None
    from imagebuilder.pytest_plugin.recipes import RecipeFile

    made: pytest.Collector = RecipeFile.from_parent(parent, path=file_path)
    return made


def _named(file_path: Path, config: pytest.Config) -> bool:
    """Whether the file is one of the arguments (pytest drops those that lie in a folder which is named too)."""
    here = config.invocation_params.dir
    return any((here / argument.split("::")[0]).resolve() == file_path.resolve() for argument in config.args)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each promise of a recipe, and for each kernel."""
    promises = getattr(metafunc.definition.parent, "promises", None)
    if "promise" in metafunc.fixturenames and promises is not None:
        metafunc.parametrize("promise", promises)
    kernels = metafunc.config.getoption("--ib-kernel")
    if "kernel" in metafunc.fixturenames and kernels:
        metafunc.parametrize("kernel", kernels, scope="module")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Errors of ours are sentences; a test that fails leaves what there is to see of its machines."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, ImagebuilderError):
        setattr(report, STATUS, error.exit_status)
        if report.when == "setup" or hasattr(item.parent, "promises"):
            report.longrepr = str(error)
    traces = item.stash.get(TRACES, None)
    if traces is not None:
        note(report, traces)
    if traces is not None and report.failed:
        from imagebuilder.pytest_plugin.artifacts import leave

        leave(traces, report, error if isinstance(error, ImagebuilderError) else None)
    return report


class _ExitStatus:
    """Remembers why tests failed (under xdist the reports come from the workers), and reports it at the end.

    Wrong input is exit status 2, a machine that lacks something 3: both come before a broken promise (1).
    """

    def __init__(self) -> None:
        self._seen = {FAILED}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One test has failed, or not."""
        if report.failed:
            self._seen.add(getattr(report, STATUS, FAILED))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The end."""
        if session.exitstatus == FAILED:
            session.exitstatus = max(self._seen)
