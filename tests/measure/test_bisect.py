"""The search for the smallest number that is enough."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.measure.bisect import CONFIRMATIONS, smallest


@given(st.integers(1, 200), st.integers(1, 200))
async def test_finds_a_sharp_edge(edge: int, high: int) -> None:
    tried: Counter[int] = Counter()

    async def enough(number: int) -> bool:
        tried[number] += 1
        return number >= edge

    found = await smallest(enough, below=0, high=high)
    assert found == (edge if edge <= high else None)
    if found is not None:
        assert tried[found] >= CONFIRMATIONS
        assert tried.total() <= 1 + high.bit_length() + CONFIRMATIONS


async def test_what_is_enough_only_sometimes_gives_way() -> None:
    answers = {10: [True, True, False]}  # in the search, then when confirmed

    async def enough(number: int) -> bool:
        return answers[number].pop(0) if number in answers else number > 10

    assert await smallest(enough, below=0, high=64) == 11


async def test_a_high_end_that_fails_later_is_no_answer() -> None:
    answers = [True, False]

    async def enough(number: int) -> bool:
        return number == 5 and answers.pop(0)

    assert await smallest(enough, below=4, high=5) is None
