"""Nothing is cut: no table, no help, at any width that a terminal has."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from imagebuilder.cli import tables
from imagebuilder.cli.main import VERBS
from tests.cli.conftest import Cli

pytestmark = pytest.mark.tools

WIDE, WIDTHS = 400, (80, 60, 40)
FRAME = re.compile(r"[┏┳┓┃┡╇┩│└┴┘├┼┤━─█]+")
SUBVERBS = [("kernel",), ("template",), ("cache",), ("template", "create"), ("kernel", "build")]


def words(text: str) -> set[str]:
    """What is said, whatever it is drawn with."""
    return {word.removesuffix(":") for word in FRAME.sub(" ", text).split()}


def drawn(table: Table, width: int) -> str:
    """A table at a width."""
    written = io.StringIO()
    tables.show(Console(file=written, width=width), table)
    return written.getvalue()


WORD = st.text("abcdefgh-/.", min_size=1, max_size=30)
CELL = st.lists(WORD, max_size=6).map(" ".join)
ROWS = st.integers(1, 7).flatmap(
    lambda count: st.lists(st.lists(CELL, min_size=count, max_size=count), min_size=1, max_size=5)
)


@given(rows=ROWS, width=st.integers(40, 120))
def test_no_word_of_any_table_is_cut_or_broken(rows: list[list[str]], width: int) -> None:
    table = Table(*(f"h{number}" for number in range(len(rows[0]))), title="what it is")
    for row in rows:
        table.add_row(*row)
    text = drawn(table, width)
    assert {word.removesuffix(":") for row in rows for cell in row for word in cell.split()} <= words(text), text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "verb",
    [("list",), ("kernel", "list"), ("doctor",), ("inspect", "app"), ("template", "list"), ("cache", "ls")],
    ids=" ".join,
)
def test_tables_of_verbs(cli: Cli, recipe: Path, verb: tuple[str, ...], width: int) -> None:
    wide, narrow = (cli(*verb, env={"COLUMNS": str(each)}).out for each in (WIDE, width))
    rows = words("\n".join(line for line in wide.splitlines() if line.startswith("│")))
    changing = {word for word in rows if any(letter.isdigit() for letter in word)}  # a size, a time
    assert (rows or verb == ("template", "list")) and rows - changing <= words(narrow), narrow
    assert "…" not in narrow


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS), *SUBVERBS], ids=" ".join)
def test_help(cli: Cli, verb: tuple[str, ...], width: int) -> None:
    text = cli(*verb, "--help", env={"COLUMNS": str(width), "TERMINAL_WIDTH": str(width)}).out
    assert text and "..." not in text.replace("]...", "").replace("NAME...", "").replace("FILE...", ""), text


def test_a_terminal_of_80_columns(tmp_path: Path) -> None:
    """A real one, and the width that it has."""
    master, slave = pty.openpty()
    code = "import fcntl, struct, sys, termios; fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('4H', 25, 80, 0, 0))"
    code += "\nfrom imagebuilder.__main__ import main; sys.argv = ['imagebuilder', 'list']; main()"
    given = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=slave, cwd=tmp_path, env={**given, "TERM": "xterm"}, timeout=60
    )
    os.close(slave)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert done.returncode == 0 and max(map(len, lines)) <= 80, lines
    assert {"smallest", "persistence"} <= words("\n".join(lines)), lines
