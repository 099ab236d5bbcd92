"""Backtraces of the usual languages, as their interpreters print them, and what of them is told."""

import time

import pytest

from imagebuilder.machine.diagnosis import Seen, failed, last_words
from imagebuilder.machine.ending import Exit, How

PYTHON = """\
starting
Traceback (most recent call last):
  File "/srv/a.py", line 4, in f
    {}["a"]
    ~~^^^^^
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/a.py", line 7, in <module>
    f(1)
  File "/srv/a.py", line 6, in f
    import nothere
ModuleNotFoundError: No module named 'nothere'
"""
SYNTAX = """\
  File "/srv/s.py", line 1
    def f(:
          ^
SyntaxError: invalid syntax
"""
SEGMENTATION = """\
hi
Fatal Python error: Segmentation fault

Current thread 0x00007f4c9dc59b80 (most recent call first):
  File "<string>", line 1 in <module>
"""
NODE = """\
hi
node:internal/modules/cjs/loader:1210
  throw err;
  ^

Error: Cannot find module 'express'
Require stack:
- /srv/n.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1207:15)
    at Module._load (node:internal/modules/cjs/loader:1038:27)
    at Module.require (node:internal/modules/cjs/loader:1289:19)
    at Object.<anonymous> (/srv/n.js:1:20) {
  code: 'MODULE_NOT_FOUND',
  requireStack: [ '/srv/n.js' ]
}

Node.js v20.20.2
"""
THROWN = """\
/srv/n2.js:1
throw new TypeError("boom")
^

TypeError: boom
    at Object.<anonymous> (/srv/n2.js:1:7)
    at Module._compile (node:internal/modules/cjs/loader:1521:14)
    at node:internal/main/run_main_module:28:49

Node.js v20.20.2
"""
EMITTED = """\
node:events:502
      throw er; // Unhandled 'error' event
      ^

Error: listen EADDRNOTAVAIL: address not available 1.2.3.4:80
    at Server.setupListenHandle [as _listen2] (node:net:1886:21)
    at process.processTicksAndRejections (node:internal/process/task_queues:83:21)
Emitted 'error' event on Server instance at:
    at emitErrorNT (node:net:1944:8)
    at process.processTicksAndRejections (node:internal/process/task_queues:82:21) {
  code: 'EADDRNOTAVAIL',
  errno: -99
}

Node.js v20.20.2
"""
HEAP = """\
FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory
----- Native stack trace -----

 1: 0xb78db3 node::OOMErrorHandler(char const*, v8::OOMDetails const&) [node]
 2: 0xee8300 v8::Utils::ReportOOMFailure(v8::internal::Isolate*, char const*, v8::OOMDetails const&) [node]
10: 0x195e476  [node]
"""
JAVA = """\
up
Exception in thread "main" java.lang.RuntimeException: cannot configure
\tat A.main(A.java:2)
Caused by: java.lang.IllegalStateException: no file
\tat A.main(A.java:2)
Caused by: java.io.FileNotFoundException: /etc/app/app.properties (No such file or directory)
\tat java.base/java.io.FileInputStream.open0(Native Method)
\tat java.base/java.io.FileInputStream.open(FileInputStream.java:216)
\t... 12 more
"""
JVM = """\
#
# A fatal error has been detected by the Java Runtime Environment:
#
#  SIGSEGV (0xb) at pc=0x00007fd4, pid=1, tid=7
#
# JRE version: OpenJDK Runtime Environment (17.0.9+9) (build 17.0.9+9-Debian-1deb12u1)
# Problematic frame:
# C  [libapp.so+0x1139]  f+0x10
#
"""
GO = """\
up
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f2b6]

goroutine 1 [running]:
main.f(0x1, {0x2, 0x3})
\t/srv/x.go:5 +0x1d
main.main()
\t/srv/x.go:9 +0x16
exit status 2
"""
RUST = """\
up

thread 'main' (32572) panicked at r.rs:1:67:
index out of bounds: the len is 0 but the index is 3
stack backtrace:
   0: __rustc::rust_begin_unwind
             at /rustc/59807616/library/std/src/panicking.rs:689:5
   1: core::panicking::panic_fmt
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
"""
GLIBC = """\
up
*** Error in `/usr/bin/app': free(): invalid pointer: 0x00007ffe ***
======= Backtrace: =========
/lib/x86_64-linux-gnu/libc.so.6(+0x777f5)[0x7f0a]
======= Memory map: ========
00400000-00401000 r-xp 00000000 08:01 1 /usr/bin/app
"""
SUPERVISED = (
    PYTHON
    + """\
[7] [INFO] Worker exiting (pid: 7)
[1] [ERROR] Worker (pid:7) exited with code 3
[1] [ERROR] Shutting down: Master
[1] [ERROR] Reason: Worker failed to boot.
"""
)


@pytest.mark.parametrize(
    ("console", "told"),
    [
        (PYTHON, "starting / KeyError: 'a' / ModuleNotFoundError: No module named 'nothere'"),
        (SYNTAX, "SyntaxError: invalid syntax"),
        (SEGMENTATION, "hi / Fatal Python error: Segmentation fault"),
        (NODE, "hi / Error: Cannot find module 'express'"),
        (THROWN, "TypeError: boom"),
        (EMITTED, "Error: listen EADDRNOTAVAIL: address not available 1.2.3.4:80"),
        (HEAP, "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"),
        (
            JAVA,
            'up / Exception in thread "main" java.lang.RuntimeException: cannot configure / Caused by:'
            " java.io.FileNotFoundException: /etc/app/app.properties (No such file or directory)",
        ),
        (
            JVM,
            "# A fatal error has been detected by the Java Runtime Environment: /"
            " # SIGSEGV (0xb) at pc=0x00007fd4, pid=1, tid=7",
        ),
        (GO, "up / panic: runtime error: invalid memory address or nil pointer dereference"),
        (
            RUST,
            "up / thread 'main' (32572) panicked at r.rs:1:67: / index out of bounds: the len is 0 but the index is 3",
        ),
        (GLIBC, "up / *** Error in `/usr/bin/app': free(): invalid pointer: 0x00007ffe ***"),
        (
            SUPERVISED,
            "ModuleNotFoundError: No module named 'nothere' / [1] [ERROR] Shutting down: Master"
            " / [1] [ERROR] Reason: Worker failed to boot.",
        ),
    ],
    ids=["python", "syntax", "faulthandler", "node", "thrown", "emitted", "heap", "java", "jvm", "go", "rust", "glibc",
         "supervised"],
)  # fmt: skip
def test_of_a_backtrace_the_line_that_says_what_it_is_about(console: str, told: str) -> None:
    kernel = (
        "[    1.029835] app[45]: segfault at 0 ip 0 sp 0 error 4\r\ninit: the application was ended by a signal\r\n"
    )
    seen = Seen("app", 32, console=console.replace("\n", "\r\n") + kernel)
    for end in (Exit(How.APPLICATION, "", signal=6), Exit(How.APPLICATION, "", status=1)):
        assert failed(seen, end, "before it was ready")[1] == f"the console ends with: {told}"


@pytest.mark.parametrize(
    "line", ["/var/log/app:80", "  at ease", "- /srv is empty", "thread 'x' ended", "goroutine 1 ended", "note: RUST"]
)
def test_what_only_looks_like_one_stays(line: str) -> None:
    assert last_words(f"ready\n{line}\n") == f"the console ends with: ready / {line.strip()}"


@pytest.mark.parametrize(
    "line",
    [
        "(" * 15_000,
        " " * 15_000,
        '  File "' + '", line ' * 2_000,
        "--- " * 4_000,
        "/" + ":1" * 8_000,
        "\t at" * 4_000,
    ],
    ids=range(6),
)
def test_no_console_takes_long(line: str) -> None:
    """Four times as much takes about four times as long, and not sixteen times."""
    assert processor_s(line * 4) < 8 * max(processor_s(line), 0.005)


def processor_s(line: str) -> float:
    """The least of three."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        last_words("\n".join(["goroutine 1 [x]:", line, "----- a -----", line, line, f"Traceback {line}"]))
        taken.append(time.process_time() - began)
    return min(taken)
