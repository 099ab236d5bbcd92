"""The init program: built from ``src/`` the same way everywhere, and kept ready-built so that nobody needs a compiler.

::

    src/*.c, *.h          the sources
    prebuilt/init         the program, static, x86-64
    prebuilt/record.json  what it was built from: digest of the sources, compiler, C library, flags, its own digest
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from imagebuilder import process
from imagebuilder.errors import CacheError, ToolMissing
from imagebuilder.events import Note, Say, silent, step
from imagebuilder.store import Store, key_of, sha256, sha256_file
from imagebuilder.tree import Blob

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
PREBUILT = HERE / "prebuilt"
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


@dataclass(frozen=True, slots=True)
class Record:
    """What a built init was made from, and what it is (digests are SHA-256)."""

    sources: str
    flags: tuple[str, ...]
    compiler: str
    libc: str
    digest: str
    bytes: int
    schema: str = "imagebuilder.init/1"


def sources_digest(sources: Path = SOURCES) -> str:
    """One digest over the names and contents of all sources."""
    return key_of({path.name: sha256_file(path) for path in sources.glob("*.[ch]")})


def build_init(sources: Path = SOURCES) -> bytes:
    """Compile the program. The same sources and compiler give the same bytes, wherever they lie."""
    with TemporaryDirectory(prefix="imagebuilder-init-") as folder:
        output = Path(folder) / "init"
        units = sorted(path.name for path in sources.glob("*.c"))
        process.run([COMPILER, *FLAGS, "-o", output, *units], cwd=sources)
        return output.read_bytes()


def record_of(program: bytes, sources: Path = SOURCES) -> Record:
    """The record of a program that was just built here."""
    libc = Path(process.run([COMPILER, "-print-file-name=libc.a"]).text.strip())
    return Record(sources_digest(sources), FLAGS, compiler_version(), sha256_file(libc), sha256(program), len(program))


def compiler_version() -> str:
    """The compiler behind musl-gcc, in its own words."""
    return process.run([COMPILER, "--version"]).text.splitlines()[0]


def read_record(prebuilt: Path = PREBUILT) -> Record | None:
    """The record beside the ready-built program; nothing when there is none that makes sense."""
    try:
        fields = json.loads((prebuilt / "record.json").read_bytes())
        record = Record(**{**fields, "flags": tuple(fields["flags"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record


def write_prebuilt(prebuilt: Path = PREBUILT, sources: Path = SOURCES) -> Record:
    """Build the program and keep it with its record as the ready-built one."""
    program = build_init(sources)
    record = record_of(program, sources)
    prebuilt.mkdir(exist_ok=True)
    (prebuilt / "init").write_bytes(program)
    (prebuilt / "init").chmod(0o755)
    (prebuilt / "record.json").write_text(json.dumps(asdict(record), indent=2) + "\n")
    return record


def ready_built(prebuilt: Path = PREBUILT, sources: Path = SOURCES) -> bytes | None:
    """The ready-built program, when it is intact and made from these sources with these flags."""
    record = read_record(prebuilt)
    if record is None or (record.sources, record.flags) != (sources_digest(sources), FLAGS):
        return None
    try:
        program = (prebuilt / "init").read_bytes()
    except OSError:
        return None
    return program if sha256(program) == record.digest else None


def init_key(sources: Path = SOURCES) -> str:
    """What the init program depends on: its sources and flags (the compiler is that of who builds it)."""
    return key_of({"init": sources_digest(sources), "flags": FLAGS})


def provide_init(store: Store, say: Say = silent, *, prebuilt: Path = PREBUILT, sources: Path = SOURCES) -> Blob:
    """The init program: ready-built, from the store, or compiled now because the sources were changed.

    Raises ToolMissing when it must be compiled and musl-gcc is not installed.
    """
    program = ready_built(prebuilt, sources)
    if program is not None:
        return Blob.of(program)
    say(Note("the sources of init are not those of the ready-built one: it is compiled"))
    try:
        key = key_of({"init": init_key(sources), "compiler": compiler_version()})
    except ToolMissing as error:
        reason = "the ready-built init is not of these sources, and musl-gcc to compile it is not installed"
        raise ToolMissing(reason, hint=error.hint) from error
    with store.lock(key):
        kept = _kept(store, key)
        if kept is not None:
            return Blob.of(kept)
        with step(say, "init", "Compiling init"):
            program = build_init(sources)
        store.keep(key, {"digest": store.put(program)})
        return Blob.of(program)


def _kept(store: Store, key: str) -> bytes | None:
    known = store.record(key)
    try:
        return store.read(known["digest"]) if known else None
    except CacheError:  # damaged or gone: it is made anew
        return None


def verify_init(prebuilt: Path = PREBUILT, sources: Path = SOURCES) -> tuple[str, ...]:
    """Build again and compare; a sentence for each difference, none when the ready-built program is what it claims."""
    kept = read_record(prebuilt)
    if kept is None:
        return ("the record of the ready-built init is missing or unreadable",)
    fresh = record_of(build_init(sources), sources)
    differences = [
        f"{name}: the record has {getattr(kept, name)}, this machine gives {getattr(fresh, name)}"
        for name in ("schema", "sources", "flags", "compiler", "libc", "digest", "bytes")
        if getattr(kept, name) != getattr(fresh, name)
    ]
    program = prebuilt / "init"
    if not program.is_file() or sha256_file(program) != kept.digest:
        differences.append("the ready-built init is not the one of its record")
    return tuple(differences)
