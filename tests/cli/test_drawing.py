"""What is seen of work that takes long, where no bars can be drawn."""

import io
import sys
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from imagebuilder import process
from imagebuilder.cli import drawing
from imagebuilder.events import Begun, Ended, GivenUp, Progress, Say, Unit, step

PACE_S = 0.05


def told(work: Callable[[Say], None], *, quiet: bool = False) -> list[str]:
    """The lines that are printed, without a terminal, while something works."""
    written = io.StringIO()
    lines = drawing._Lines(Console(file=written, width=1000), quiet=quiet, verbose=False, pace_s=PACE_S)
    with lines:
        work(lines)
    return written.getvalue().splitlines()


def long(say: Say) -> None:
    say(Begun("outer", "image app", None))
    say(Begun("inner", "compile", 900))
    say(Progress("inner", 12))
    time.sleep(20 * PACE_S)
    say(Ended("inner", "compile"))
    say(Ended("outer", "image app"))


def test_a_long_step_is_told_of_again_and_at_growing_distances() -> None:
    lines = told(long)
    assert lines[:3] == ["image app …", "compile …", "compile: 12 of 900, 0 s so far"], lines
    assert lines[-2:] == ["compile: done in 1 s", "image app: done in 1 s"] or lines[-1] == "compile: done in 1 s"
    assert 2 <= sum("so far" in line for line in lines) <= 6, lines


def test_nothing_of_it_is_told_in_quiet() -> None:
    assert told(long, quiet=True) == []


def test_a_step_that_was_given_up_is_told_of_no_more() -> None:
    def fail(say: Say) -> None:
        with pytest.raises(ValueError), step(say, "x", "download"):
            raise ValueError
        time.sleep(5 * PACE_S)

    assert told(fail) == ["download …"]


@pytest.mark.parametrize("given_up", [GivenUp("x"), Ended("x", "x")])
def test_what_never_began_can_end(given_up: GivenUp | Ended) -> None:
    assert told(lambda say: say(given_up)) == []


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (drawing.far(12, 40, Unit.ITEMS), "12 of 40"),
        (drawing.far(1_200_000, 4_000_000, Unit.BYTES), "1.2 of 4.0 MB"),
        (drawing.duration(35.2), "35 s"),
        (drawing.duration(125), "2 min 5 s"),
    ],
)
def test_how_far(said: str, shown: str) -> None:
    assert said == shown


@pytest.mark.tools
def test_lines_without_a_terminal_need_no_library_for_drawing() -> None:
    work = """
import sys
from imagebuilder.cli import build, drawing
from imagebuilder.events import Told
with drawing.listener(quiet=False, verbose=False) as say:
    say(Told("[b]:smile: as it is[/b]"))
print("rich" in sys.modules)
"""
    done = process.run([sys.executable, "-c", work])
    assert (done.text, done.stderr) == ("False\n", b"[b]:smile: as it is[/b]\n")
