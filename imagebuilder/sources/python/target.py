"""The Python that wheels are chosen and placed for: its version, its platform, its folders in the image.

Nothing of the machine that builds counts: markers and tags (PEP 508, PEP 425, PEP 600, PEP 656) are those of the image.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from packaging.markers import Environment
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from imagebuilder.arch import TARGET
from imagebuilder.errors import SourceError
from imagebuilder.sources.kind import Package

PLATFORM = re.compile(r"(?P<kind>manylinux|musllinux)_(?P<major>\d+)_(?P<minor>\d+)")
DEBIAN_PYTHON = re.compile(r"(?P<version>3\.\d+)(?P<patch>\.\d+)?")
OLDEST = {"manylinux": 5, "musllinux": 0}  # of glibc 2 (PEP 600 begins with CentOS 5), of musl 1
LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}  # PEP 513, 571, 599


@dataclass(frozen=True)
class Python:
    """An interpreter of the image: ``version`` as in "3.11.2", ``platform`` as in "manylinux_2_36", ``program`` its
    path, ``site`` the folder of its packages, ``prefix`` that of their programs and data."""

    version: str
    platform: str
    program: str
    site: str
    prefix: str

    @property
    def minor(self) -> str:
        """As in "3.11"."""
        return ".".join(self.version.split(".")[:2])

    @property
    def title(self) -> str:
        """In a sentence."""
        return f"Python {self.minor} on {self.platform}_{TARGET.name}"

    @cached_property
    def environment(self) -> Environment:
        """What markers see."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.version,
            "os_name": "posix",
            "platform_machine": TARGET.name,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.version,
            "python_version": self.minor,
            "sys_platform": "linux",
        }

    @property
    def markers(self) -> dict[str, str]:
        """The same, as a dictionary."""
        return {**cast("dict[str, str]", self.environment)}

    @cached_property
    def tags(self) -> Sequence[Tag]:
        """Of the wheels that it takes, the best first."""
        numbers = tuple(map(int, self.minor.split(".")))
        platforms = list(_platforms(self.platform))
        name = f"cp{numbers[0]}{numbers[1]}"
        own = cpython_tags(numbers, abis=[name, "abi3", "none"], platforms=platforms)
        return tuple(dict.fromkeys((*own, *compatible_tags(numbers, name, platforms))))

    @cached_property
    def _ranks(self) -> dict[Tag, int]:
        return {tag: rank for rank, tag in enumerate(self.tags)}

    def rank(self, filename: str) -> int | None:
        """How good a wheel of this name is for it, 0 is best; None for one that it does not take, or that is none."""
        try:
            _, _, _, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            return None
        return min((self._ranks[tag] for tag in tags if tag in self._ranks), default=None)


def of_debian(packages: Sequence[Package]) -> Python:
    """Debian's own, by the packages that its release has. Raises SourceError for packages without one."""
    versions = {package.name: package.version for package in packages}
    match = DEBIAN_PYTHON.match(versions.get("python3", ""))
    glibc = re.match(r"2\.(\d+)", versions.get("libc6", ""))
    if match is None or glibc is None:
        raise SourceError("source.release: its package python3 is of no version that is known here")
    minor = match["version"]
    exact = DEBIAN_PYTHON.match(versions.get(f"python{minor}", "")) or match
    site = f"/usr/local/lib/python{minor}/dist-packages"
    return Python(_full(exact[0]), f"manylinux_2_{glibc[1]}", f"/usr/bin/python{minor}", site, "/usr/local")


def brought(version: str, platform: str, program: str | None) -> Python:
    """One that another source brings: by default where the container images of Python have it."""
    minor = ".".join(version.split(".")[:2])
    path = program or f"/usr/local/bin/python{minor}"
    prefix = path.rpartition("/")[0].rpartition("/")[0] or "/usr"
    return Python(_full(version), platform, path, f"{prefix}/lib/python{minor}/site-packages", prefix)


def _full(version: str) -> str:
    return version if version.count(".") == 2 else f"{version}.0"


def _platforms(newest: str) -> Iterator[str]:
    """The platforms of a wheel, the newest first."""
    match = PLATFORM.fullmatch(newest)
    assert match is not None
    kind, major = match["kind"], match["major"]
    for minor in range(int(match["minor"]), OLDEST[kind] - 1, -1):
        yield f"{kind}_{major}_{minor}_{TARGET.name}"
        if kind == "manylinux" and minor in LEGACY:
            yield f"{LEGACY[minor]}_{TARGET.name}"
    yield f"linux_{TARGET.name}"
