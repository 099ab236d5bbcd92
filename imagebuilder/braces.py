"""Braces in patterns, as a shell has them."""

import re

MAX_ALTERNATIVES = 256


def alternatives(pattern: str) -> list[str]:
    """The patterns without braces that ``{a,b}`` stands for (at most ``MAX_ALTERNATIVES``; braces beyond are plain)."""
    pending, done = [pattern], list[str]()
    while pending:
        each = pending.pop()
        braces = re.search(r"\{([^{}]*,[^{}]*)\}", each)
        if braces is None or len(pending) + len(done) > MAX_ALTERNATIVES:
            done.append(each)
        else:
            pending += [each[: braces.start()] + word + each[braces.end() :] for word in braces[1].split(",")]
    return sorted(done)
