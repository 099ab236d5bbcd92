"""The licences that a package of Debian declares, as SPDX expressions, from its copyright file.

Only machine-readable files (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/) count: they name a
licence in each paragraph, in words of their own. The others are prose, which also names licences of single files, so
that any guess would be wrong for some package. A licence that SPDX has no name for becomes a ``LicenseRef-``.
"""

import re
from collections.abc import Iterator, Mapping

FORMAT = re.compile(r"^Format(-Specification)?:\s*https?://\S*copyright-format", re.IGNORECASE | re.MULTILINE)
PARAGRAPH = re.compile(r"^License:[ \t]*(\S[^\n]*)$", re.IGNORECASE | re.MULTILINE)
GNU = re.compile(r"(A?GPL|LGPL|GFDL)-(\d)(?:\.(\d))?(?:\.\d)?(\+|-or-later|-only)?", re.IGNORECASE)
MOST_BYTES = 1 << 20  # the longest of Debian 12 has 0.6 MB
MOST = 64  # of one package

# Debian's short names, in lower case, where SPDX (https://spdx.org/licenses/, list 3.25) has another.
SPDX: Mapping[str, str] = {
    "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "artistic-1": "Artistic-1.0",
    "artistic-2": "Artistic-2.0",
    "artistic-2.0": "Artistic-2.0",
    "bsd": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause",
    "bsl-1": "BSL-1.0",
    "bsl-1.0": "BSL-1.0",
    "cc0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "cc-by-3.0": "CC-BY-3.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "curl": "curl",
    "expat": "MIT",
    "isc": "ISC",
    "mit": "MIT",
    "mpl-1.1": "MPL-1.1",
    "mpl-2": "MPL-2.0",
    "mpl-2.0": "MPL-2.0",
    "openldap-2.8": "OLDAP-2.8",
    "openssl": "OpenSSL",
    "psf-2": "PSF-2.0",
    "python-2.0": "Python-2.0",
    "unlicense": "Unlicense",
    "x11": "X11",
    "zlib": "Zlib",
}


def declared(copyright_file: bytes) -> tuple[str, ...]:
    """The licences that a copyright file names, each once and sorted; none where it is prose."""
    text = copyright_file[:MOST_BYTES].decode(errors="replace")
    found = PARAGRAPH.findall(text) if FORMAT.search(text) else []
    return tuple(sorted({spdx(words) for words in found[: 16 * MOST]}))[:MOST]


def spdx(words: str) -> str:
    """One licence, or several with "and" and "or" between them, as an SPDX expression."""
    every = [_any(part) for part in re.split(r",?\s+and\s+|,\s*", words.strip(), flags=re.IGNORECASE) if part.strip()]
    whole = (f"({each})" if " OR " in each and len(every) > 1 else each for each in every)
    return " AND ".join(whole) or _one("")


def _any(words: str) -> str:
    return " OR ".join(_one(part) for part in re.split(r"\s+or\s+|\s*\|\s*", words.strip(), flags=re.IGNORECASE))


def _one(name: str) -> str:
    name = name.strip()
    known = SPDX.get(name.lower())
    if known:
        return known
    if match := GNU.fullmatch(name):
        family, major, minor, suffix = match.groups()
        later = "or-later" if suffix in ("+", "-or-later") else "only"
        return f"{family.upper()}-{major}.{minor or 0}-{later}"
    return f"LicenseRef-{'-'.join(_plain(name)) or 'unnamed'}"


def _plain(name: str) -> Iterator[str]:
    """The parts of a name that may stand in a reference."""
    return (part for part in re.split(r"[^A-Za-z0-9.]+", name[:80]) if part)
