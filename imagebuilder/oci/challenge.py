"""What a server says of how it is to be convinced: ``WWW-Authenticate`` of RFC 9110 (section 11.6.1), and the Bearer
challenges of distribution (distribution/docs/spec/auth/token.md).

One header may have several challenges, each with parameters, both with commas between them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_CHARACTERS = 8192
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PART = re.compile(
    rf"[ \t,]*(?:(?P<key>{_TOKEN})[ \t]*=[ \t]*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>{_TOKEN}(?![ \t]*=)))"
    rf"|(?P<scheme>{_TOKEN})(?:[ \t]+(?P<token68>[A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|\Z)))?)(?=[ \t,]|\Z)"
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A way to be convinced: its scheme in small letters, and its parameters, whose names are."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse(header: str) -> tuple[Challenge, ...]:
    """The challenges of a header, as many as can be read: behind what cannot be there is none."""
    found: list[tuple[str, dict[str, str]]] = []
    text, place = header[:MOST_CHARACTERS], 0
    while part := _PART.match(text, place):
        place = part.end()
        if part["scheme"]:
            found.append((part["scheme"].lower(), {}))
        elif found:
            quoted = part["quoted"]
            value = part["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1][1].setdefault(part["key"].lower(), value)
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)
