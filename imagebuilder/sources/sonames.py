"""Which package of Debian has a library, by how Debian names them (Debian Policy 8.1, "Run-time shared libraries"): the
name and version of its soname. A guess counts only where a package of that name is known."""

import re
from collections.abc import Container, Iterator, Mapping

SONAME = re.compile(r"(?P<stem>lib[\w.+-]+?)(?:\.so\.(?P<version>[\w.]+)|-(?P<release>\d[\w.]*)\.so)")
# Libraries that are in a package of another name: the package, or how its name begins.
GLIBC = re.compile(
    r"lib(c|m|dl|rt|anl|nsl|util|mvec|pthread|resolv|thread_db|nss_(compat|dns|files))\.so\..*|ld-linux.*"
)
OTHERS: Mapping[str, str] = {
    "libcrypto": "libssl",
    "libgmodule-2.0": "libglib-2.0",
    "libgobject-2.0": "libglib-2.0",
    "libgio-2.0": "libglib-2.0",
    "libgthread-2.0": "libglib-2.0",
    "libicudata": "libicu",
    "libicui18n": "libicu",
    "libicuuc": "libicu",
    "libpanelw": "libncursesw",
    "libform": "libncurses",
    "libz": "zlib",
}


def is_glibc(soname: str) -> bool:
    """Whether it is one of the C library's, which every Debian release has in one package; also its linker's path."""
    return GLIBC.fullmatch(soname.rpartition("/")[2]) is not None


def package_with(soname: str, known: Container[str]) -> str | None:
    """The known package that should have a library; None where none is called so."""
    match = SONAME.fullmatch(soname)
    names = ["libc6"] if is_glibc(soname) else _names(match) if match else []
    return next((name for name in names if name in known), None)


def _names(match: re.Match[str]) -> Iterator[str]:
    """What a package with this library may be called, the likeliest first; ``g`` and ``t64``: of a changed ABI."""
    stem = OTHERS.get(match["stem"], match["stem"]).lower().replace("_", "-")
    version = (match["version"] or match["release"]).lower()
    joined = [f"{stem}-{version}" if stem[-1].isdigit() or match["release"] else f"{stem}{version}"]
    joined += [re.sub(r"-(\d)", r"\1", stem, count=1) + joined[0][len(stem) :], f"{stem}{version}", f"{stem}-{version}"]
    for name in dict.fromkeys(joined):
        yield from (name, f"{name}t64", f"{name}g")
    if stem[-1].isdigit():
        yield stem
