"""The first program of a machine that is traced: it starts init, and a child of it writes to a disk who opens which
file of the root, as fanotify(7) of the kernel tells it (docs/contracts.md). A program of its own, so that init stays as
small as a start needs it."""

from pathlib import Path

from imagebuilder.events import Say
from imagebuilder.platforms.linux.build import COMPILER, FLAGS, init_key, provide_init
from imagebuilder.prebuilt.program import Program
from imagebuilder.store import Store
from imagebuilder.tree import Blob

PATH = "/init.trace"  # where it stands in the root
KERNEL_WORDS = f"init={PATH} ib.trace="  # and behind it the disk

TRACER = Program.of(
    Path(__file__).resolve().parent,
    "trace",
    schema="imagebuilder.tracer/1",
    compiler=COMPILER,
    flags=FLAGS,
    libc="libc.a",
)


def tracer_key() -> str:
    """What it depends on: its sources and flags."""
    return init_key(TRACER)


def provide_tracer(store: Store, say: Say) -> Blob:
    """The program: ready-built, from the store, or compiled now. Raises ToolMissing."""
    return provide_init(store, say, init=TRACER)
