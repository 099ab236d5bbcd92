"""How many examples property tests try: all in ``make test-all`` (THOROUGH=1), a quarter elsewhere. What comes from
outside is fed at random by ``make fuzz`` too, for as long as one likes."""

import os

from hypothesis import settings

THOROUGH = bool(os.environ.get("THOROUGH"))
FEWER = 1 if THOROUGH else 4


def examples(most: int) -> int:
    """Of ``most`` as many as this run tries."""
    return max(most // FEWER, 5)


settings.register_profile("ours", max_examples=examples(100), parent=settings.default)
settings.load_profile("ours")
