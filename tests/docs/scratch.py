"""A user's folder, in which the commands of a page are run for real, in the page's order.

It holds a copy of ``recipes/`` and the environment in which we are installed. A command that is said to end by Ctrl-C
gets one: a server is asked once for each answer that the page shows, another machine when it is there.
"""

import http.client
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import ROOT, Block, Command
from tests.docs.masks import ANYTHING, difference, masked, printed

PATIENCE_S = 240.0
QUIET = "ignore:The configuration option"  # of a plugin that only our tests have installed
INTERRUPTED = 128 + signal.SIGINT
CTRL_C = "^C"
ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")
PORT = re.compile(r"(?<=--port )(\d+)(?=\s|$|:)")
OURS = ("recipes",)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command gave: its exit status, and what it printed on both streams."""

    status: int
    text: str


class Scratch:
    """The folder of one page."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self._cache = cache
        for name in OURS:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        (folder / ".venv").symlink_to(sys.prefix)

    @property
    def environment(self) -> Mapping[str, str]:
        """Ours, with a cache of the tests, a terminal of 120 columns, and none of our own pytest's words."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "IMAGEBUILDER_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return kept | {
            "PATH": path,
            "IMAGEBUILDER_CACHE": str(self._cache),
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "PYTHONWARNINGS": QUIET,
        }

    def write(self, block: Block) -> None:
        """The file that a block is."""
        assert block.file
        path = self.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def check(self, command: Command) -> None:
        """Run a command, and hold what it gives against what the page says of it."""
        shown = command.shown or ()
        ends = any(line.startswith(CTRL_C) for line in shown) or "Ctrl-C" in command.comment
        asks = sum(line.startswith("GET ") for line in shown)
        ran = self.run(command.words, ctrl_c=ends, asks=asks)
        told = f"{command.where}: {command.words}\nexit status {ran.status}\n{ran.text}"
        wrong = any(line.startswith("error:") for line in shown)
        good = ran.status == INTERRUPTED if ends else (ran.status != 0 if wrong else ran.status == 0)
        assert good, told
        said = [line for line in shown if masked(line) != ANYTHING]
        warned = [line for line in printed(ran.text) if line.startswith("warning:")]
        unshown = [line for line in warned if all(difference([each], line) is not None for each in said)]
        assert not unshown, f"{unshown[0]}\nis printed, and not shown by the page\n{told}"
        if command.shown is not None:
            why = difference((line.removeprefix(CTRL_C) for line in shown), ran.text)
            assert why is None, f"{why}\n{told}"

    def run(self, words: str, *, ctrl_c: bool = False, asks: int = 0) -> Ran:
        """A command as bash has it. Ports that it names are other ones, which are free."""
        words = PORT.sub(lambda _: str(_free_port()), words)
        argv = ["bash", "-e", "-o", "pipefail", "-c", words]
        with subprocess.Popen(
            argv,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                return _ended(process, ctrl_c=ctrl_c, asks=asks)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _ended(process: subprocess.Popen[bytes], *, ctrl_c: bool, asks: int) -> Ran:
    """Read until it has ended, and press Ctrl-C when it is up and was asked."""
    assert process.stdout is not None
    until, data, pressed = time.monotonic() + PATIENCE_S, b"", not ctrl_c
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < until:
            if not selector.select(until - time.monotonic()):
                break
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                return Ran(process.wait(PATIENCE_S), data.decode(errors="replace"))
            data += piece
            if not pressed and (at := ADDRESS.search(data.decode(errors="replace"))):
                pressed = True
                _ask(int(at[1]), asks)
                os.killpg(process.pid, signal.SIGINT)
    told = f"did not end within {PATIENCE_S:.0f} s (of one that goes on a page says: Ctrl-C ends it)"
    raise AssertionError(f"{process.args!r} {told}:\n{data.decode(errors='replace')}")


def _ask(port: int, times: int) -> None:
    """GET / as often as the page shows; once, whatever comes of it, where it shows none."""
    for _ in range(times):
        assert _get(port) < 400
    if not times:
        with suppress(OSError, http.client.HTTPException):
            _get(port)


def _get(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
