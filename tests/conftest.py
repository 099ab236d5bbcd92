"""For all tests."""

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import examples as examples  # loads the profile of hypothesis
from tests.app import compiled

pytest_plugins = ["pytester"]
may_start_programs = True


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--fail-skipped``: where everything is installed, all is tried."""
    parser.addoption("--fail-skipped", action="store_true", help="a test that is skipped fails, unless it needs KVM")


def pytest_configure() -> None:
    """A shell starts background jobs with some signals ignored, and programs inherit that: here all of them work."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.addaudithook(refuse_programs)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Building the tests' own recipes leaves lockfiles, which an older imagebuilder may have written."""
    if not hasattr(session.config, "workerinput"):
        for left in Path(__file__).parent.rglob("recipe.lock"):
            left.unlink(missing_ok=True)


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """``application`` is compiled by whichever test asks first for it, and has no value of its own by that name. Of
    several workers one boots the machines of a file, one after the other, with one set of what the file shares."""
    own = getattr(getattr(item, "callspec", None), "params", {})
    if "application" in {*getattr(item, "fixturenames", ())} - {*own}:
        item.add_marker("tools")
    if item.get_closest_marker("vm") and item.config.pluginmanager.hasplugin("xdist"):
        item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Whether the test may start programs (``make test-fast`` runs those that do not)."""
    global may_start_programs
    may_start_programs = any(item.get_closest_marker(name) for name in ("tools", "vm", "slow"))
    try:
        return (yield)
    finally:
        may_start_programs = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped tells nothing: with ``--fail-skipped`` it fails."""
    report = yield
    if report.skipped and item.config.getoption("--fail-skipped") and not item.get_closest_marker("kvm"):
        report.outcome = "failed"
    return report


def refuse_programs(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: a test that starts a program and is not marked so fails."""
    if event == "subprocess.Popen" and not may_start_programs:
        program = os.fsdecode(arguments[0])  # type: ignore[arg-type] # what subprocess.Popen audits
        pytest.fail(f"starts {program}: mark the test with @pytest.mark.tools")


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program of ``tests/app``."""
    return compiled(tmp_path_factory.mktemp("application"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests that run us as a user does, and do not damage it."""
    return tmp_path_factory.mktemp("cache")
