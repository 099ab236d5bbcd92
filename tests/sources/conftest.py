"""What the tests of sources share."""

import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder.events import Event
from imagebuilder.sources import Context, archives
from imagebuilder.store import Store

from .repository import Repository, missing_tools, served


@pytest.fixture
def events() -> list[Event]:
    """What was said meanwhile."""
    return []


@pytest.fixture
def context(tmp_path: Path, events: list[Event]) -> Context:
    """A context with an empty store and an empty recipe folder."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    return Context(folder, Store(tmp_path / "store"), events.append)


@pytest.fixture(scope="module")
def repositories() -> Iterator[Repository]:
    """An archive with a few packages, which tests must leave as it is."""
    if missing := missing_tools():
        pytest.skip(f"needs {', '.join(missing)}")
    short = Path(tempfile.mkdtemp(prefix="ib"))  # gpg-agent's socket has a short path only here
    (short / "archive").mkdir()
    try:
        with served(short / "archive", short / "keys") as repository:
            repository.add(
                "base-passwd", files={"usr/share/base-passwd/passwd.master": b"www-data:*:33:33::/:/bin/x\n"}
            )
            repository.add("libgreet2", "2:3.1-4+b1", files={"lib/greet/libgreet.so.2": b"not really"})
            repository.add(
                "greeter", "1.5", depends="libgreet2 (>= 2:3)", files={"usr/bin/greeter": b"#!/usr/bin/greet\n"}
            )
            repository.add("grumbler", depends="nowhere-to-be-found")
            repository.publish()
            yield repository
    finally:
        shutil.rmtree(short)


@pytest.fixture
def repository(repositories: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The archive as the one that this machine is configured for."""
    monkeypatch.setattr(archives, "ETC_APT", repositories.configure())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return repositories


@pytest.fixture
def unused_tcp_port() -> int:
    """A port of 127.0.0.1 at which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
