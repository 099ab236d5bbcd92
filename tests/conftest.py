"""For all tests."""

import signal

pytest_plugins = ["pytester"]


def pytest_configure() -> None:
    """A shell starts background jobs with some signals ignored, and programs inherit that: here all of them work."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
