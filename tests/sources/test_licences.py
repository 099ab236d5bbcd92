"""Licences out of Debian's copyright files."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.sources.licences import MOST, declared, spdx

HEADER = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"


@pytest.mark.parametrize(
    ("words", "expression"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("GFDL-1.3+", "GFDL-1.3-or-later"),
        ("Expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("public-domain", "LicenseRef-public-domain"),
        ("GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"),
        ("GPL-1+ or Artistic, and BSD-4-clause", "(GPL-1.0-or-later OR Artistic-1.0-Perl) AND BSD-4-Clause"),
        ("MPL-1.1 | GPL-2+ | LGPL-2.1+", "MPL-1.1 OR GPL-2.0-or-later OR LGPL-2.1-or-later"),
        ("GPL-3+ with Bison exception", "LicenseRef-GPL-3-with-Bison-exception"),
        ("(§!)", "LicenseRef-unnamed"),
        (",", "LicenseRef-unnamed"),
    ],
)
def test_words_of_debian(words: str, expression: str) -> None:
    assert spdx(words) == expression


def test_each_paragraph_counts_once() -> None:
    text = f"{HEADER}\nFiles: *\nLicense: Expat\n The text\n\nFiles: x\nLicense: ISC\n\nLicense: Expat\n again\n"
    assert declared(text.encode()) == ("ISC", "MIT")


def test_prose_declares_nothing() -> None:
    """Python's file refers to the GPL for the packaging alone."""
    assert declared(b"License: see below\nOn Debian systems, the text is in /usr/share/common-licenses/GPL-2.\n") == ()


@given(st.binary(max_size=400), st.lists(st.text(max_size=60), max_size=80))
def test_whatever_is_declared_can_stand_in_an_expression(tail: bytes, names: list[str]) -> None:
    written = HEADER + "".join(f"License: {name}\n" for name in names)
    found = declared(written.encode(errors="replace") + tail)
    assert len(found) <= MOST
    assert all(re.fullmatch(r"[A-Za-z0-9.()+ -]+", each) for each in found)
