"""What runs a script: the interpreter that its first line names, as Linux and ``env`` read it (execve(2), env(1))."""

import re
from collections.abc import Iterator, Mapping, Sequence

from imagebuilder.tree import Kind, Node, Tree

SHEBANG_BYTES = 256  # as Linux: BINPRM_BUF_SIZE
ENV = ("/usr/bin/env", "/bin/env")
ENV_PATH = ("/bin", "/usr/bin")  # where env looks without PATH: confstr(3), _CS_PATH
WITH_VALUE = ("-u", "-C", "--unset", "--chdir")  # options of env with a word behind them
PROGRAM_WORD = re.compile(r"(?<![\w./$*{}~-])/[\w.+/-]+")
# What a language's library holds is imported: that some of it may be executed too brings no interpreter into an image.
LIBRARY = re.compile(r"(/[^/]+)+/(python3(\.\d+)?|perl5?|ruby|node_modules|nodejs)/.*")
LARGEST_READ_BYTES = 1 << 20
SHOWN = 5
# Debian's package of an interpreter, by the name under which scripts ask for it.
PACKAGES: Mapping[str, str] = {
    "awk": "mawk",
    "bash": "bash",
    "dash": "dash",
    "env": "coreutils",
    "perl": "perl-base",
    "python3": "python3-minimal",
    "sed": "sed",
    "sh": "dash",
}


def is_executable(node: Node) -> bool:
    """Whether the file is executable by anyone."""
    return node.kind is Kind.FILE and bool(node.mode & 0o111)


def first_line(node: Node) -> list[str] | None:
    """The words of a script's first line behind ``#!``, which blanks and tabs part; None for what is no script."""
    head = node.content.read()[:SHEBANG_BYTES] if node.kind is Kind.FILE else b""
    line = head[2:].split(b"\n")[0].decode(errors="replace")
    return [word for word in re.split("[ \t]+", line) if word] if head.startswith(b"#!") else None


def is_imported(path: str) -> bool:
    """Whether a file belongs to the library of a language."""
    return LIBRARY.fullmatch(path) is not None


def interpreters(words: Sequence[str], tree: Tree, path: Sequence[str]) -> Iterator[str]:
    """The programs that a first line names: the interpreter, and the one that ``env`` looks for along ``path``."""
    yield words[0]
    program = _of_env(words[1:]) if words[0] in ENV else None
    if program is not None:
        names = [program] if "/" in program else [f"{folder.rstrip('/')}/{program}" for folder in path or ENV_PATH]
        yield next((name for name in names if tree.resolve(name)), names[-1])


def remedy(program: str) -> str | None:
    """What brings an interpreter that is missing: where it is known, which of Debian's packages has it."""
    if program.endswith("\r"):
        return "a line end of Windows is read as part of the name: write the script with line ends of Linux"
    name = PACKAGES.get(program.rpartition("/")[2])
    return f"Debian has it in the package {name}" if name else None


def shown(program: str) -> str:
    """The name on one line."""
    return program if program.isprintable() else repr(program)


def programs_named(node: Node, tree: Tree) -> Iterator[str]:
    """The programs of the tree that a script calls by their absolute path."""
    lines = node.content.read()[:LARGEST_READ_BYTES].decode(errors="replace").splitlines()[1:]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    for word in dict.fromkeys(PROGRAM_WORD.findall(text)):
        real = tree.resolve(word)
        if real is not None and is_executable(tree[real]):
            yield word


def cannot_run(scripts_by_lack: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """One sentence for all scripts that are kept and cannot run, by the interpreter that the image lacks."""
    if scripts_by_lack:
        parts = [_lacking(program, sorted(paths)) for program, paths in sorted(scripts_by_lack.items())]
        yield f"scripts that are kept cannot run in the image: {'; '.join(parts)}"


def _lacking(program: str, paths: Sequence[str]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    needs = "need" if len(paths) > 1 else "needs"
    hint = remedy(program)
    return f"{', '.join(paths[:SHOWN])}{more} {needs} {shown(program)}{f' ({hint})' if hint else ''}"


def _of_env(words: Sequence[str]) -> str | None:
    """The program among env's words: behind its options and variables."""
    behind = [word for before, word in zip(("", *words), words, strict=False) if before not in WITH_VALUE]
    return next((word for word in behind if not word.startswith("-") and "=" not in word), None)
