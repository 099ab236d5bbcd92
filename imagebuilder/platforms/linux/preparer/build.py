"""The program, static: built as init is, and kept ready-built beside its sources."""

from pathlib import Path

from imagebuilder.events import Say
from imagebuilder.platforms.linux.build import COMPILER, FLAGS, init_key, provide_init
from imagebuilder.prebuilt.program import Program
from imagebuilder.store import Store
from imagebuilder.tree import Blob

PREPARER = Program.of(
    Path(__file__).resolve().parent,
    "prepare",
    schema="imagebuilder.preparer/1",
    compiler=COMPILER,
    flags=FLAGS,
    libc="libc.a",
)


def preparer_key() -> str:
    """What it depends on: its sources and flags."""
    return init_key(PREPARER)


def provide_preparer(store: Store, say: Say) -> Blob:
    """The program: ready-built, from the store, or compiled now. Raises ToolMissing."""
    return provide_init(store, say, init=PREPARER)
