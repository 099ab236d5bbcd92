"""For all tests."""

import signal
from pathlib import Path

import pytest

from tests.app import compiled

pytest_plugins = ["pytester"]


def pytest_configure() -> None:
    """A shell starts background jobs with some signals ignored, and programs inherit that: here all of them work."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program of ``tests/app``."""
    return compiled(tmp_path_factory.mktemp("application"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests that run us as a user does, and do not damage it."""
    return tmp_path_factory.mktemp("cache")
