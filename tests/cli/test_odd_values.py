"""Every option of every verb with odd values, in this process: a status and a sentence, never a traceback.

No program is found and no network is there: what would boot, compile or download ends with a sentence where it would
begin to, after the options have been looked at.
"""

import io
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from imagebuilder.cli import main, signals
from tests.app import RECIPE, lay_down
from tests.docs.commands import Row, rows
from tests.measure.reports import FULL, given

APP = ("run", "serve", "bench", "learn", "build", "inspect", "template create", "template rm")
WORDS = dict.fromkeys(APP, "app") | dict.fromkeys(("kernel show", "kernel build", "kernel verify"), "micro")
WORDS |= {"report": "report.json", "new": "mine", "completion": "bash"}
"""What each verb is given besides."""
ODD = ("", "-", "0", "-1", "99999999999999999999", "1e309", "nan", "²", "x", "a=b", "1:2", "65536:1", "\udcff", "\n",
       "x" * 5000, "folder", "missing/file", "null", "full", "none", "noise", "loop")  # fmt: skip
STATUSES = {0, 1, 2, 3, 4}
SLOW_S, LONGEST_CHARACTERS = 20, 1200
FAULT = "fault of imagebuilder"


@pytest.fixture
def place(tmp_path: Path, application: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a recipe, a report, and things that are no files; nothing is found outside of it."""
    lay_down(tmp_path / "app", application, RECIPE)
    (tmp_path / "report.json").write_bytes(given(FULL).report.to_bytes())
    (tmp_path / "folder").mkdir()
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 4)
    for name, target in {"null": "/dev/null", "full": "/dev/full", "loop": "loop"}.items():
        (tmp_path / name).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "folder"))
    monkeypatch.setenv("IMAGEBUILDER_CACHE", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    handlers = {number: signal.getsignal(number) for number in signals.NAMES}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ran(words: Sequence[str]) -> tuple[int, str]:
    """The exit status and what was said on standard error, as ``main`` has them."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main.cli.main(list(words), prog_name="imagebuilder", standalone_mode=False)
        except BaseException as error:
            status = main._failed(error)
        err.flush()
    return status if isinstance(status, int) else 0, err.buffer.getvalue().decode()


# The values of "test", whose verb is a pytest of its own, are in test_values.py.
@pytest.mark.parametrize("row", [row for row in rows() if row.name != "test"], ids=lambda row: row.name)
def test_odd_values(row: Row, place: Path) -> None:
    base = [*row.name.split(), *filter(None, [WORDS.get(row.name)])]
    for option in [*([each.opts[-1]] for each in row.options if not each.is_flag), []]:
        for value in ODD:
            began = time.process_time()
            status, said = ran([*base, *option, value])
            assert status in STATUSES and FAULT not in said and "Traceback" not in said, (option, value, status, said)
            assert not (status > 1 and said.strip() == "") and len(said) < LONGEST_CHARACTERS, (option, value, said)
            assert time.process_time() - began < SLOW_S, (option, value)
    for name in ("null", "full"):
        assert (place / name).is_symlink() and (place / name).is_char_device()


@pytest.mark.parametrize("option", ["--out", "--artefacts"])
def test_a_device_is_no_folder(place: Path, option: str) -> None:
    """Of "test" too: it would be found out after minutes of measuring."""
    status, said = ran(["test", "app", option, "null"])
    assert status == 2 and "'null' is no folder" in said, said


def test_a_report_goes_into_a_device_or_through_a_link_and_replaces_neither(place: Path) -> None:
    (place / "link").symlink_to("folder/page.html")
    words = ["report", "report.json", "--markdown", "null", "--html", "link", "--json"]
    status, said = ran([*words, "full"])
    assert status == 2 and said.startswith("error: full cannot be written: No space left on device"), said
    assert ran([*words, "-"])[0] == 0
    assert (place / "null").is_symlink() and (place / "link").is_symlink()
    assert (place / "folder" / "page.html").read_text().startswith("<!DOCTYPE html>")
