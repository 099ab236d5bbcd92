"""The names of what is tried: the same in a report, in both kinds of JUnit XML, on pages, and among pytest's tests."""

BUILDS, BOOTS, GETS_READY, CLONES = "builds", "boots", "gets_ready", "clones"
OLDER = {"ready": GETS_READY}
"""What reports once called them."""


def promise(key: str) -> str:
    """The name of a promise of the budget, as pytest's test of it has."""
    return f"keeps[{key}]"
