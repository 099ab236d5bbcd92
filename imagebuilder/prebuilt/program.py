"""Programs in C or assembler that are kept prebuilt beside their sources, so that nobody needs a compiler.

::

    src/*.[chS]    the sources
    prebuilt/      the shelf (``shelf.py``) with the program
"""

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ConfigDict, NonNegativeInt
from pydantic.dataclasses import dataclass as checked

from imagebuilder import process
from imagebuilder.maintainer_cli import status_of
from imagebuilder.prebuilt.shelf import FOLDER, Shelf, Unreadable
from imagebuilder.store import key_of, sha256, sha256_file

SOURCES = "src"
MOST_BYTES = 4 << 20  # ours have 0.04


@checked(frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid"))
class ProgramRecord:
    """What a program was made from, and what it is (digests are SHA-256)."""

    sources: str
    flags: tuple[str, ...]
    compiler: str
    libc: str | None
    digest: str
    bytes: NonNegativeInt
    schema: str


@dataclass(frozen=True, slots=True)
class Program:
    """One program. ``libc`` is the file of the C library that gets into it; None: it is found when it runs."""

    name: str
    schema: str
    sources: Path
    prebuilt: Path
    compiler: str
    flags: tuple[str, ...]
    libc: str | None = None

    @classmethod
    def of(
        cls, folder: Path, name: str, *, schema: str, compiler: str, flags: tuple[str, ...], libc: str | None = None
    ) -> "Program":
        """The program in a folder."""
        return cls(name, schema, folder / SOURCES, folder / FOLDER, compiler, flags, libc)

    def elsewhere(self, *, sources: Path | None = None, prebuilt: Path | None = None) -> "Program":
        """The same, with other folders."""
        return replace(self, sources=sources or self.sources, prebuilt=prebuilt or self.prebuilt)

    @property
    def file(self) -> Path:
        """The prebuilt program."""
        return self.prebuilt / self.name

    @property
    def sources_digest(self) -> str:
        """One digest over the names and contents of all sources."""
        return key_of({path.name: sha256_file(path) for path in self.sources.glob("*.[chS]")})

    @property
    def compiler_version(self) -> str:
        """The compiler, in its own words. Raises ToolMissing."""
        return process.run([self.compiler, "--version"]).text.splitlines()[0]

    def build(self) -> bytes:
        """Compile it. The same sources and compiler give the same bytes, wherever they lie."""
        with TemporaryDirectory(prefix="imagebuilder-build-") as folder:
            output = Path(folder) / self.name
            units = sorted(path.name for path in self.sources.glob("*.[cS]"))
            process.run([self.compiler, *self.flags, "-o", output, *units], cwd=self.sources)
            return output.read_bytes()

    def record_of(self, program: bytes) -> ProgramRecord:
        """The record of one that was just built here."""
        version, digest = self.compiler_version, sha256(program)
        return ProgramRecord(
            self.sources_digest, self.flags, version, self._libc_digest(), digest, len(program), self.schema
        )

    def _libc_digest(self) -> str | None:
        if self.libc is None:
            return None
        return sha256_file(Path(process.run([self.compiler, f"-print-file-name={self.libc}"]).text.strip()))

    @property
    def shelf(self) -> Shelf[ProgramRecord]:
        """Where it is kept."""
        return Shelf(self.prebuilt, ProgramRecord, self.schema)

    def read_record(self) -> ProgramRecord | None:
        """The record beside the prebuilt one; nothing when there is none that makes sense."""
        return self.shelf.record()

    def write(self) -> ProgramRecord:
        """Build it and keep it with its record as the prebuilt one."""
        program = self.build()
        record = self.record_of(program)
        self.shelf.keep(record, {self.name: program})
        self.file.chmod(0o755)
        return record

    def read(self) -> bytes | None:
        """The prebuilt one, when it is intact and made from these sources with these flags."""
        record = self.read_record()
        if record is None or (record.sources, record.flags) != (self.sources_digest, self.flags):
            return None
        try:
            program = self.shelf.read(self.name, MOST_BYTES)
        except Unreadable:
            return None
        return program if sha256(program) == record.digest else None

    def verify(self) -> tuple[str, ...]:
        """Build again and compare; a sentence for each difference, none when the prebuilt one is what it claims."""
        kept = self.read_record()
        if kept is None:
            return (f"the record of the prebuilt {self.name} is missing or unreadable",)
        fresh = asdict(self.record_of(self.build()))
        differences = [
            f"{name}: the record has {value}, this machine gives {fresh[name]}"
            for name, value in asdict(kept).items()
            if value != fresh[name]
        ]
        if not self.shelf.holds(self.name, kept.digest, MOST_BYTES):
            differences.append(f"the prebuilt {self.name} is not the one of its record")
        return tuple(differences)


def main(program: Program, module: str) -> int:
    """``python -m MODULE build|verify``: keep the program prebuilt, or prove that it still is what it claims.

    Exit status 0: good; 1: the prebuilt one differs; 2 or 3: as everywhere.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=f"{program.name}, prebuilt")
    parser.add_argument("verb", choices=("build", "verify"))
    verb = parser.parse_args().verb
    return status_of(partial(_build if verb == "build" else _verify, program))


def _build(program: Program) -> int:
    record = program.write()
    print(f"{program.name}: {record.bytes} bytes, {record.digest}")
    return 0


def _verify(program: Program) -> int:
    differences = program.verify()
    for difference in differences:
        print(f"{program.name}: {difference}", file=sys.stderr)
    if not differences:
        print(f"{program.name}: built again, the same bytes")
    return 1 if differences else 0
