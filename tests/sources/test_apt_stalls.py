"""apt on a full disk: a real one, a small tmpfs in a namespace of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagebuilder.errors import SourceError
from imagebuilder.sources.apt_stalls import Stalls

from .repository import RELEASE, Repository, missing_tools, served

IN_A_NAMESPACE = ["unshare", "--map-root-user", "--mount"]
ON_A_SMALL_DISK = 'mount -t tmpfs -o size="$1" small "$2" && exec "$3" -c "$4" "$2"'
PROGRAM = """
import sys
from pathlib import Path
from imagebuilder.errors import ImagebuilderError
from imagebuilder.events import silent
from imagebuilder.sources import apt
from imagebuilder.store import Store
try:
    apt.resolve(apt.PackageRequest("bookworm", ("greeter",)), store=Store(Path(sys.argv[1]) / "store"), say=silent)
except ImagebuilderError as error:
    print(error)
"""


@pytest.fixture
def two_suites() -> Iterator[Repository]:
    """An archive with a release and its updates: apt fetches both at once."""
    if missing := missing_tools():
        pytest.skip(f"needs {', '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix="ib") as folder:  # short, for the socket of gpg-agent
        (Path(folder) / "archive").mkdir()
        with served(Path(folder) / "archive", Path(folder) / "keys") as repository:
            repository.add("greeter")
            for release in (RELEASE, f"{RELEASE}-updates"):
                repository.publish(release, filler="X-Filler: " + os.urandom(2 << 20).hex() + "\n")
            configured = repository.configure() / "sources.list.d/debian.sources"
            configured.write_text(configured.read_text().replace(RELEASE, f"{RELEASE} {RELEASE}-updates"))
            yield repository


@pytest.mark.tools
@pytest.mark.parametrize("size", ["200k", "2m"])
def test_on_a_full_disk(two_suites: Repository, size: str, tmp_path: Path) -> None:
    if subprocess.run([*IN_A_NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a user namespace")
    argv = [*IN_A_NAMESPACE, "sh", "-c", ON_A_SMALL_DISK, "sh", size, str(tmp_path), sys.executable, PROGRAM]
    environment = {**os.environ, "IMAGEBUILDER_APT": str(two_suites.etc_apt), "no_proxy": "127.0.0.1"}
    ran = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "the cache is full while apt works for Debian bookworm (free some disk space)\n"


def test_a_download_that_gets_on_is_left_alone(tmp_path: Path) -> None:
    stalls = Stalls(tmp_path, RELEASE)
    for second in range(10_000):
        stalls.look(f"dlstatus:1:{second // 200}.0:Retrieving file 1 of 2", second)


def test_nothing_for_minutes_is_an_archive_that_cannot_be_reached(tmp_path: Path) -> None:
    stalls = Stalls(tmp_path, RELEASE)
    with pytest.raises(SourceError, match="bookworm cannot be reached: nothing came for 300 s"):
        for second in range(302):
            stalls.look("dlstatus:1:15.0:Retrieving file 1 of 2", second)
