"""The pytest plugin: boot tests are pytest tests. ``docs/testing.md`` tells how to use it.

pytest loads this module in every session, also where nobody boots anything: whatever costs time is imported by the
fixtures, when a test asks for them.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

from imagebuilder.errors import ImagebuilderError
from imagebuilder.pytest_plugin.fixtures import (
    figures,
    image,
    imagebuilder_workshop,
    instance,
    instance_factory,
    machine,
    probe,
    recipe_folder,
)

__all__ = [
    "figures",
    "image",
    "imagebuilder_workshop",
    "instance",
    "instance_factory",
    "machine",
    "probe",
    "recipe_folder",
]

RECIPE = "recipe.toml"
STATUS = "imagebuilder_exit_status"
FAILED = 1


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; each has its default where no test asks for a machine."""
    group = parser.getgroup("imagebuilder", "images that are built, booted and measured")
    text = "collect the tests that every recipe.toml gives (else only of those that are named as arguments)"
    group.addoption("--imagebuilder", action="store_true", default=None, help=text)
    parser.addini("imagebuilder", text, type="bool", default=False)
    text = "what runs the machines: auto takes KVM only when a guest really ran under it"
    group.addoption("--ib-accel", choices=["auto", "kvm", "tcg"], default="auto", help=text)
    group.addoption("--ib-memory", type=int, metavar="MIB", help="memory, instead of the recipe's")
    group.addoption("--ib-cpus", type=int, metavar="N", help="processors, instead of the recipe's")
    group.addoption("--ib-runs", type=int, default=5, metavar="N", help="starts that count when an image is measured")
    group.addoption("--ib-recipe", metavar="NAME", help="the recipe of tests that stand beside none")
    group.addoption("--ib-out", default="out", metavar="DIR", help="the folder in which images stand")
    text = "the folder for what failing tests leave (default: artefacts in that of the images)"
    group.addoption("--ib-artefacts", metavar="DIR", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """The marker, and the exit status."""
    config.addinivalue_line("markers", "recipe(name): the recipe whose image the fixtures build and boot")
    config.pluginmanager.register(_ExitStatus(), "imagebuilder-exit-status")


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
    """A test for each promise of a recipe."""
    promises = getattr(metafunc.definition.parent, "promises", None)
    if "promise" in metafunc.fixturenames and promises is not None:
        metafunc.parametrize("promise", promises)


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
    if report.failed:
        from imagebuilder.pytest_plugin.leaving import leave

        leave(item, report)
    return report


class _ExitStatus:
    """Remembers why tests failed (under xdist the reports come from the workers), and tells it at the end.

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
