"""Compiling a kernel: the same source, configuration and compiler give the same bytes, wherever and whenever.

The tree is unpacked into a scratch folder and built there, so that no path of the machine gets into the result; what
the kernel would say about who built it, where and when is fixed.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imagebuilder import process
from imagebuilder.arch import ImageType
from imagebuilder.errors import CacheError, KernelError, ToolFailed, ToolMissing
from imagebuilder.events import Ended, Note, Progress, Say, Warned, step
from imagebuilder.kernel import config, series
from imagebuilder.kernel.definition import KernelDefinition, compile_inputs, name_of
from imagebuilder.kernel.source import tarball
from imagebuilder.store import Store, key_of
from imagebuilder.words import counted, some

IDENTITY: Mapping[str, str] = {
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 2026",
    "KBUILD_BUILD_USER": "imagebuilder",
    "KBUILD_BUILD_HOST": "imagebuilder",
    "KBUILD_BUILD_VERSION": "1",
    "SOURCE_DATE_EPOCH": "1767225600",
}
TOOLS = ("make", "gcc", "ld", "strip", "flex", "bison", "bc", "tar", "xz", "patch")
PACKERS: Mapping[ImageType, tuple[str, ...]] = {ImageType.VMLINUX: (), ImageType.BZIMAGE: ("zstd",)}
MOST_BYTES = 8 << 30  # unpacked; Linux 6.12 has 1.6 GB
UNPACK_S = 1800.0  # measured: half a minute
RECORD_BYTES, RECORDS, FURTHER = 10 << 10, 6400, "further"  # what tar says after so many of what it reads at once
# GCC's word for a function that is not what it was when the profile was made.
STALE = re.compile(r"function [‘'`\"]?([\w.]+).*\[-Wcoverage-mismatch\]")
COUNTED = ("  CC  ", "  AS  ")  # what make prints for an object
USUAL_OBJECTS = 840  # of micro: the progress bar's guess, which grows when there are more
OBJECT_CPU_S = 0.4  # measured on an AMD EPYC: micro's 836 objects took 325 s of its processors, source included


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled kernel: digest and size of its image, its whole configuration and the functions of its start (digests
    too), how many objects it has."""

    digest: str
    bytes: int
    config: str
    symbols: str
    compiler: str
    objects: int


def compiler_version(file: ImageType = ImageType.VMLINUX) -> str:
    """The compiler, the linker and what packs the file, in their own words: all are part of what a kernel depends
    on."""
    tools = ("gcc", "ld", *PACKERS[file])
    return "; ".join(process.run([tool, "--version"]).text.splitlines()[0].strip("* ") for tool in tools)


def compiled(definition: KernelDefinition, extra_fragments: Sequence[Path] = (), *, store: Store, say: Say) -> Built:
    """The kernel from the store, or compiled now. Raises KernelError, ToolMissing, ToolFailed."""
    key = key_of({"kernel": compile_inputs(definition, extra_fragments), "compiler": compiler_version(definition.file)})
    with store.lock(key):
        record = store.record(key)
        if record is not None and _intact(record, store):
            say(Ended(f"kernel-{key[:12]}", f"kernel {name_of(definition, extra_fragments)}", cached=True))
            return Built(**record)
        _require_tools(definition.file)
        say(Warned(_long(name_of(definition, extra_fragments))))
        built = compile_now(definition, extra_fragments, store=store, say=say, ccache=True)
        store.keep(key, asdict(built))
        return built


def compile_now(
    definition: KernelDefinition, extra_fragments: Sequence[Path] = (), *, store: Store, say: Say, ccache: bool = False
) -> Built:
    """Compile in a scratch folder, whatever the store has; ``ccache`` uses that tool when it is installed."""
    _require_tools(definition.file)
    source = tarball(definition, store=store, say=say)
    with store.scratch() as scratch:
        with step(say, "kernel-unpack", "unpack the kernel's source"):
            tree = unpack(source, scratch, definition.patches)
            if definition.profile is not None:
                unpack_archive(definition.profile, tree)
        make = Make(tree, definition, ccache and process.find("ccache") is not None)
        requested = config.merge((*definition.fragments, *extra_fragments))
        name = name_of(definition, extra_fragments)
        with step(say, "kernel-configure", f"configure kernel {name}"):
            make.configure(requested)
        objects = _make_image(make, name, say)
        image = make.image(scratch)
        return Built(
            digest=store.put_file(image),
            bytes=image.stat().st_size,
            config=store.put((tree / ".config").read_bytes()),
            symbols=store.put(start_symbols((tree / "System.map").read_text()).encode()),
            compiler=compiler_version(definition.file),
            objects=objects,
        )


def start_symbols(system_map: str) -> str:
    """Those lines of a System.map that name functions which run at the start and are then thrown away."""
    lines = [line.split(" ") for line in system_map.splitlines()]
    edges = {name: address for address, _, name in lines if name in ("_sinittext", "_einittext")}
    inside = (line for line in lines if edges["_sinittext"] <= line[0] < edges["_einittext"] and line[1] in "tT")
    return "".join(f"{address} {kind} {name}\n" for address, kind, name in inside)


def unpack(source: Path, scratch: Path, patches: Sequence[Path]) -> Path:
    """Unpack a tarball and patch what was in it; returns its one folder."""
    inside = scratch / "source"
    inside.mkdir()
    unpack_archive(source, inside)
    folders = list(inside.iterdir())
    if len(folders) != 1 or not (folders[0] / "Kconfig").is_file():
        raise KernelError("the kernel's source is no tarball with one folder that holds a Linux kernel")
    series.apply(folders[0], patches)
    return folders[0]


def unpack_archive(archive: Path, folder: Path) -> None:
    """Unpack; tar says how far it is, and is ended where that is too far. Raises KernelError."""
    unpacked_bytes = 0

    def count(line: str) -> None:
        nonlocal unpacked_bytes
        unpacked_bytes += RECORD_BYTES * RECORDS if line.endswith(f": {FURTHER}") else 0
        if unpacked_bytes > MOST_BYTES:
            raise KernelError(
                f"{archive} is refused: it unpacks to more than {MOST_BYTES >> 30} GiB, as no kernel's source"
            )

    telling = (f"--record-size={RECORD_BYTES}", f"--checkpoint={RECORDS}", f"--checkpoint-action=echo={FURTHER}")
    words = ("tar", "--extract", "--file", str(archive), "--directory", str(folder), "--no-same-owner", *telling)
    process.run(words, on_line=count, timeout_s=UNPACK_S)


@dataclass(frozen=True, slots=True)
class Make:
    """The kernel's make in an unpacked tree."""

    tree: Path
    definition: KernelDefinition
    ccache: bool

    def configure(self, requested: Mapping[str, config.RequestedValue]) -> str:
        """Write .config: all off, then what is requested. Raises KernelError that names what did not survive."""
        wanted = self.tree / "imagebuilder.config"
        wanted.write_text(config.text(requested))
        self.run("allnoconfig", KCONFIG_ALLCONFIG=wanted.name)
        text = (self.tree / ".config").read_text()
        config.check(requested, text)
        return text

    def image(self, scratch: Path) -> Path:
        """The file that was made, as it is kept."""
        file = self.definition.file
        made = self.tree / self.definition.architecture.kernel_images[file]
        if file is not ImageType.VMLINUX:
            return made
        image = scratch / file.value
        # Only what is loaded: symbols and the compiler's signature are of no use to a machine.
        process.run(["strip", "--strip-all", "--remove-section=.comment", "-o", image, made])
        return image

    def run(self, target: str, on_line: Callable[[str], None] | None = None, **variables: str) -> None:
        """Make a target."""
        flags = " ".join(self.definition.config.compiler_flags) if self.definition.config else ""
        words = [
            *("make", f"-j{len(os.sched_getaffinity(0))}", "--no-print-directory", target),
            *(f"{name}={value}" for name, value in variables.items()),
            # No user's setting of these gets in: on the command line they overrule the environment.
            *(f"ARCH={self.definition.arch}", "LOCALVERSION=", f"KCFLAGS={flags}"),
            *(["CC=ccache gcc"] if self.ccache else ["CC=gcc"]),
        ]
        process.run(words, cwd=self.tree, env={**IDENTITY, "CCACHE_BASEDIR": str(self.tree)}, on_line=on_line)


def _require_tools(file: ImageType) -> None:
    for tool in (*TOOLS, *PACKERS[file]):
        process.require(tool)
    try:
        process.run(["gcc", "-fsyntax-only", "-include", "libelf.h", "-x", "c", "/dev/null"])
    except ToolFailed as error:
        hint = "sudo apt-get install libelf-dev"
        raise ToolMissing("libelf.h is needed to compile a kernel and not installed", hint=hint) from error


def _long(name: str) -> str:
    """What is to be expected, before it begins."""
    processors = len(os.sched_getaffinity(0))
    minutes = max(1, round(USUAL_OBJECTS * OBJECT_CPU_S / processors / 60))
    each = f"{counted(minutes, 'minute')} with {counted(processors, 'processor')}"
    return f"the kernel {name} is not prebuilt: it is compiled, once, which takes some {each}"


def _make_image(make: Make, kernel: str, say: Say) -> int:
    """Make the kernel, saying how many objects are done; returns their number."""
    done, total = 0, USUAL_OBJECTS
    stale: set[str] = set()
    name, title = f"kernel-{kernel}", f"compile kernel {kernel}"

    def count(line: str) -> None:
        nonlocal done, total
        if line.startswith(COUNTED):
            done, total = done + 1, max(total, done + 1)
            say(Progress(name, done, total))
        elif ": warning: " in line or ": error: " in line:
            say(Note(line))
            stale.update(STALE.findall(line))

    with step(say, name, title, total=total):
        make.run(make.definition.file, count)
    if stale:
        said = f"the profile of {kernel} is stale: {counted(len(stale), 'function')} changed since it was made"
        say(Warned(f"{said}, and {some(sorted(stale))} are not compiled by it as they could be"))
    return done


def _intact(record: Mapping[str, Any], store: Store) -> bool:
    try:
        return all(store.blob(record[kind]) for kind in ("digest", "config", "symbols"))
    except (CacheError, KeyError):
        return False
