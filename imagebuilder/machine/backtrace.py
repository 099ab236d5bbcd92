"""Backtraces on a console: which of their lines says what went wrong, and which are only frames.

Those of Python, of Java and other languages of its virtual machine, of Node, Go, Rust and of glibc's and V8's aborts.
"""

import re
from collections.abc import Sequence

MOST_LINES = 400
TELLS = "\0"
INDENTED = r"(?:\n[ \t].*)*"
# Behind these stands the line with the error.
LEADING = re.compile(
    r"^(?:(?:(?:During handling of the above exception|The above exception was the direct cause).*\n)?"
    rf"Traceback \(most recent call last\):{INDENTED}\n"
    rf'|[ \t]+File ".+", line \d+.*{INDENTED}\n(?=\w)'  # a SyntaxError comes without the line above
    r"|(?:/|node:|file:)\S*:\d+\n.*\n[ \t]*\^+\n"  # Node: the place, its line of source, and an arrow
    r")",
    re.MULTILINE,
)
# Before these stands the line with the error.
TRAILING = re.compile(
    rf"(?:\nRequire stack:(?:\n- .*)*)?(?:\n[ \t]+at \S.*(?:\)|:\d).*{INDENTED}(?:\n\}})?"  # Java, Node
    r"(?:\nEmitted 'error' event.*)?)+(?:\nNode\.js v.*)?"
    r"|(?:\n\[signal .*)?\ngoroutine \d+ .*:(?:\n(?:\t.*|\S.*\)|created by .*|goroutine .*:|exit status \d+))*"
    r"|(?:\nstack backtrace:(?:\n[ \t]+.*)*)?\nnote: .*RUST_BACKTRACE.*"
    rf"|(?:\n(?:Current t|T)hread 0x.*{INDENTED})+(?:\nExtension modules: .*)?"  # Python's, when a signal ends it
    r"|(?:\n---+ .* ---+)?(?:\n[ \t]*\d+: 0x.*)+"  # V8's
    r"|(?:\n#)?\n# JRE version: .*(?:\n#.*)*"
    r"|\n=+ Backtrace: =+(?:\n(?:\S*\[0x.*|=+ Memory map: =+|[0-9a-f]+-[0-9a-f]+ .*))*"  # glibc's before 2.26
)
CAUSE = "Caused by: "


def without_frames(lines: Sequence[str]) -> tuple[list[str], int | None]:
    """The last lines (of at most MOST_LINES that are not empty, indented as they were) without those that are frames of
    a backtrace; and the index of the one with the error of the last backtrace, when there is a backtrace."""
    text = TRAILING.sub(TELLS, LEADING.sub(TELLS, "\n".join(lines[-MOST_LINES:])))
    kept = [line.strip() for line in text.split("\n") if line.strip(f"{TELLS} \t#")]
    causes = [line.startswith(CAUSE) for line in kept]
    kept = [line for line, *both in zip(kept, causes, [*causes[1:], False], strict=False) if not all(both)]
    marked = [index for index, line in enumerate(kept) if TELLS in line]
    return [line.replace(TELLS, "") for line in kept], marked[-1] if marked else None
