"""The fuzz targets, one row each, and how they are built and run.

With clang they are libFuzzer's; without it, gcc's with ``driver.c``, which takes the same words. To add one: a file
``NAME.c`` with ``LLVMFuzzerTestOneInput``, a ``NAME.dict``, a folder ``corpus/NAME`` and a row in ``TARGETS``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imagebuilder import process
from imagebuilder.errors import ToolFailed
from imagebuilder.platforms.linux.build import INIT

HERE = Path(__file__).parent
CLANG = ("clang", "clang-19", "clang-16", "clang-14")
SANITIZED = ("-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
LARGEST_BYTES = 4096
PATIENCE_S = 120  # besides the time that was asked for


@dataclass(frozen=True)
class Target:
    """Foreign input, and the units of init that read it."""

    name: str
    units: tuple[str, ...]

    @property
    def corpus(self) -> Path:
        """Inputs to begin with, those that were once mistaken among them."""
        return HERE / "corpus" / self.name


TARGETS: Mapping[str, Target] = {
    row.name: row
    for row in (
        Target("conf", ("conf.c", "text.c")),
        Target("words", ("words.c", "text.c")),
        Target("dhcp", ("dhcp.c", "words.c", "text.c")),
    )
}


def clang() -> str | None:
    """Clang, if it is installed with its libFuzzer."""
    for name in filter(process.find, CLANG):
        found = process.run([name, "-print-file-name=libclang_rt.fuzzer-x86_64.a"]).stdout.decode().strip()
        if Path(found).is_absolute() or list(
            Path("/usr/lib").glob("llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*")
        ):
            return name
    return None


def build(target: Target, folder: Path, *, compiler: str | None = None, sources: Path = INIT.sources) -> Path:
    """Compile a target: by this clang, or by gcc."""
    program = folder / target.name
    files = [HERE / f"{target.name}.c", *(sources / unit for unit in target.units)]
    include = ("-I", sources, "-I", HERE, "-Wno-unused-function")
    if compiler:
        process.run([compiler, *SANITIZED, "-fsanitize=fuzzer", *include, "-o", program, *files])
        return program
    driver = folder / "driver.o"
    process.run(["gcc", *SANITIZED, "-c", "-o", driver, HERE / "driver.c"])  # its own code does not count
    process.run(["gcc", *SANITIZED, "-fsanitize-coverage=trace-pc", *include, "-o", program, *files, driver])
    return program


def run(target: Target, program: Path, folder: Path, *, seconds: int, corpus: Path | None = None) -> str:
    """Run a target for so long, from its corpus; what was found new is kept in ``folder``. Returns its last line.

    Raises ToolFailed, with what the sanitizers say, for an input that it could not stand: ``folder/crash…``.
    """
    found = folder / "corpus"
    found.mkdir(parents=True, exist_ok=True)
    words = (f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", f"-dict={HERE / target.name}.dict")
    ended = process.run(
        [program, *words, f"-max_len={LARGEST_BYTES}", found, corpus or target.corpus], timeout_s=seconds + PATIENCE_S
    )
    return [line for line in (ended.stdout + ended.stderr).decode(errors="replace").splitlines() if "DONE" in line][-1]


def crashes(folder: Path) -> list[Path]:
    """The inputs that a target could not stand."""
    return sorted(path for path in folder.iterdir() if path.name.startswith(("crash", "timeout", "oom", "leak")))


def fuzz(target: Target, folder: Path, *, seconds: int, compiler: str | None) -> str | None:
    """Build and run; prints what happens. Returns what went wrong, None for nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        print(
            f"{target.name}: {run(target, build(target, folder, compiler=compiler), folder, seconds=seconds)}",
            flush=True,
        )
    except ToolFailed as error:
        return f"{error}\n{target.name}: the input is in {', '.join(map(str, crashes(folder))) or folder}"
    return None
