"""What a package declares as its licence: an SPDX expression where it is one; anybody's words may stand there.

https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/
"""

import re

from license_expression import ExpressionError
from spdx_tools.common.spdx_licensing import spdx_licensing

from imagebuilder.store import key_of

REFERENCE = "LicenseRef-"
LONGEST = 4096  # of an expression: the reader takes long for longer ones


def expression(words: str) -> str | None:
    """The expression in SPDX's spelling; None for words that are none, or that name a licence which SPDX does not."""
    if len(words) > LONGEST:
        return None
    try:
        parsed = spdx_licensing.parse(words)
        unknown = spdx_licensing.unknown_license_keys(parsed) if parsed is not None else [words]
    except (ExpressionError, RecursionError):
        return None
    return None if any(not key.startswith(REFERENCE) for key in unknown) else str(parsed)


def reference(words: str) -> str:
    """A name for a licence that is none of SPDX's; the same for the same words."""
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", words).strip("-")[:60].strip("-")
    return f"{REFERENCE}{slug}-{key_of(words)[:8]}" if slug else f"{REFERENCE}{key_of(words)[:8]}"
