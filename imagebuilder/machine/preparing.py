"""The machine that runs a command while an image is built (``preparation``), started and listened to."""

import re
from collections import deque
from contextlib import ExitStack

from imagebuilder import process
from imagebuilder.errors import ToolFailed, ToolTimedOut
from imagebuilder.events import Note, Say
from imagebuilder.machine.ending import HARMLESS
from imagebuilder.machine.firewall import guarded
from imagebuilder.machine.network import subnet
from imagebuilder.preparation import NotPrepared, Outcome, Preparation, argv, outcome
from imagebuilder.words import printable

KERNEL_LINE = re.compile(r"(\[ *\d+\.\d+\]|\*\* \d+ printk messages dropped \*\*).*")
CONSOLE_LINES = 200  # kept of what it prints
LONGER = "if it needs longer, give it more with timeout_s under [[prepare]]"


def run(wanted: Preparation, *, timeout_s: float, say: Say) -> Outcome:
    """Run it to its end. Raises NotPrepared, ToolMissing."""
    console: deque[str] = deque(maxlen=CONSOLE_LINES)

    def heard(line: str) -> None:
        text = line.rstrip("\r")
        if not (KERNEL_LINE.fullmatch(text) or text.endswith(HARMLESS)):
            console.append(text)
            say(Note(printable(text.expandtabs())))

    with ExitStack() as stack:
        wire = tuple(stack.enter_context(each).fileno() for each in guarded(subnet())) if wanted.network else ()
        words = argv(wanted, (wire[0], wire[1]) if wire else None)
        try:
            process.run(words, on_line=heard, timeout_s=timeout_s, pass_fds=wire)
        except ToolTimedOut as error:
            raise NotPrepared(f"did not end within {timeout_s:g} s", (*console,), hint=LONGER) from error
        except ToolFailed as error:
            raise NotPrepared(f"cannot be run: QEMU {error.how}", (*console,)) from error
    return outcome(wanted, (*console,))
