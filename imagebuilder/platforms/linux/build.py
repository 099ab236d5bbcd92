"""The init program, static: built from ``src/`` the same way everywhere, and kept prebuilt
(``imagebuilder/prebuilt/``)."""

from pathlib import Path

from imagebuilder.errors import CacheError, ToolMissing
from imagebuilder.events import Note, Say, silent, step
from imagebuilder.prebuilt.program import Program
from imagebuilder.store import Store, key_of
from imagebuilder.tree import Blob

COMPILER = "musl-gcc"

FLAGS = (
    "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
    "-Os", "-static", "-fno-pie", "-no-pie",
    # What is not used is left out; nothing unwinds; there is no other input than our own.
    "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector",
    # One loadable piece less to align, and nothing in the file that changes from build to build.
    "-Wl,-z,noseparate-code", "-Wl,-z,norelro", "-Wl,--build-id=none", "-s",
)  # fmt: skip

INIT = Program.of(
    Path(__file__).resolve().parent,
    "init",
    schema="imagebuilder.init/1",
    compiler=COMPILER,
    flags=FLAGS,
    libc="libc.a",
)


def init_key(init: Program = INIT) -> str:
    """What the init program depends on: its sources and flags (the compiler is that of who builds it)."""
    return key_of({"init": init.sources_digest, "flags": init.flags})


def init_digest() -> str | None:
    """The SHA-256 of the prebuilt init, by its record; nothing when there is none that makes sense."""
    record = INIT.read_record()
    return record.digest if record else None


def provide_init(store: Store, say: Say = silent, *, init: Program = INIT) -> Blob:
    """The init program: prebuilt, from the store, or compiled now because the sources were changed.

    Raises ToolMissing when it must be compiled and musl-gcc is not installed.
    """
    program = init.read()
    if program is not None:
        return Blob.of(program)
    say(Note("the sources of init are not those of the prebuilt one: it is compiled"))
    try:
        key = key_of({"init": init_key(init), "compiler": init.compiler_version})
    except ToolMissing as error:
        reason = "the prebuilt init is not of these sources, and musl-gcc to compile it is not installed"
        raise ToolMissing(reason, hint=error.hint) from error
    with store.lock(key):
        kept = _kept(store, key)
        if kept is not None:
            return Blob.of(kept)
        with step(say, "init", "Compiling init"):
            program = init.build()
        store.keep(key, {"digest": store.put(program)})
        return Blob.of(program)


def _kept(store: Store, key: str) -> bytes | None:
    known = store.record(key)
    try:
        return store.read(known["digest"]) if known else None
    except CacheError:  # damaged or gone: it is rebuilt
        return None
