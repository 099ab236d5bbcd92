"""The one door to other programs: three ways to fail, a clean environment, nothing left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuilder.errors import ToolFailed, ToolMissing
from imagebuilder.process import environment, require, run, shell_line

pytestmark = pytest.mark.tools


def test_gives_what_was_printed() -> None:
    assert run(["cat"], stdin=b"in").stdout == b"in"


def test_missing_says_how_to_install() -> None:
    with pytest.raises(ToolMissing) as caught:
        require("no-such-program")
    assert "no-such-program is needed" in str(caught.value)


def test_a_known_program_has_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagebuilder.process.shutil.which", lambda _name, **_others: None)
    with pytest.raises(ToolMissing) as caught:
        require("qemu-system-x86_64")
    assert caught.value.hint == "sudo apt-get install qemu-system-x86"


def test_failed_shows_the_last_line() -> None:
    with pytest.raises(ToolFailed, match="sh failed with status 3: two") as caught:
        run(["sh", "-c", "echo one >&2; echo two >&2; exit 3"])
    assert caught.value.status == 3
    assert caught.value.stderr == "one\ntwo"


def test_ended_by_a_signal_is_told_apart() -> None:
    with pytest.raises(ToolFailed, match="was ended by SIGTERM") as caught:
        run(["sh", "-c", "kill -TERM $$"])
    assert caught.value.status == -signal.SIGTERM


def test_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="did not end within"):
        run(["sh", "-c", f"sleep 100 & echo $! > {tmp_path}/pid; wait"], timeout_s=0.5)
    child = int((tmp_path / "pid").read_text())
    for _ in range(1600):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    raise AssertionError("a child lives on")


def test_lines_as_they_come() -> None:
    lines: list[str] = []
    run(["sh", "-c", "echo one; echo two >&2; echo three"], on_line=lines.append)
    assert lines == ["one", "two", "three"]


def test_the_last_line_needs_no_end_and_a_long_one_comes_in_pieces() -> None:
    lines: list[str] = []
    run([sys.executable, "-c", "print('x' * 100_000 + '\\n\\nend', end='')"], on_line=lines.append)
    assert "".join(lines) == "x" * 100_000 + "end" and lines[-2:] == ["", "end"] and len(lines) == 9


def test_followed_programs_have_a_time_too() -> None:
    with pytest.raises(ToolFailed, match="did not end within"):
        run(["sh", "-c", "while :; do echo x; done"], timeout_s=0.5, on_line=lambda _line: None)


def test_much_goes_in_and_comes_out() -> None:
    data = os.urandom(5 << 20)
    assert run(["cat"], stdin=data).stdout == data


def test_nobody_has_to_read_what_is_given() -> None:
    assert run(["true"], stdin=bytes(5 << 20)).stdout == b""


def test_a_process_left_behind_that_holds_the_pipes_is_not_waited_for() -> None:
    lines: list[str] = []
    begin_s = time.monotonic()
    run(["sh", "-c", "echo one; setsid sleep 100 & echo two"], on_line=lines.append)
    assert run(["sh", "-c", "echo one; setsid sleep 100 & echo two"]).text == "one\ntwo\n"
    assert lines == ["one", "two"] and time.monotonic() - begin_s < 80


SMALL_PROGRAM = """
import re, sys
from pathlib import Path
from imagebuilder.errors import ToolFailed
from imagebuilder.process import run
follow = {"on_line": lambda line: None} if sys.argv[1] == "followed" else {}
try:
    run(["sh", "-c", sys.argv[2]], **follow)
except ToolFailed as error:
    print(error.message[:100])
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10)
"""


@pytest.mark.parametrize("how", ["followed", "kept"])
@pytest.mark.parametrize("pipe", ["1", "2"])
@pytest.mark.parametrize("what", ["head -c 2G /dev/zero", "yes long enough | head -c 2G"])
def test_gigabytes_are_not_kept(how: str, pipe: str, what: str) -> None:
    argv = [sys.executable, "-c", SMALL_PROGRAM, how, f"({what}) >&{pipe}"]
    said, most_mib = subprocess.run(argv, capture_output=True, text=True, timeout=500, check=True).stdout.splitlines()
    assert said.startswith("sh printed more than ") and "and was ended: " in said
    assert int(most_mib) < 300


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET", "x")
    seen = run(["env"], env={"EXTRA": "1"}).text.splitlines()
    assert {"LC_ALL=C.UTF-8", "TZ=UTC", "EXTRA=1"} <= set(seen)
    assert not any(line.startswith(("SECRET", "LANG")) for line in seen)
    assert environment()["PATH"] == os.environ["PATH"]


def test_a_line_for_the_shell() -> None:
    assert shell_line(["a", Path("b c")]) == "a 'b c'"


RUNNER = """
import sys
from imagebuilder.process import run
run(["sh", "-c", "echo $$ > " + sys.argv[1] + "; exec sleep 100"])
"""


def test_a_program_ends_with_us_even_when_we_are_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", RUNNER, str(tmp_path / "pid")]) as runner:
        for _ in range(2400):
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
                break
            time.sleep(0.05)
        runner.kill()
    child = Path("/proc") / (tmp_path / "pid").read_text().strip()
    for _ in range(2400):
        if not child.exists():
            return
        time.sleep(0.05)
    raise AssertionError("it lives on")
