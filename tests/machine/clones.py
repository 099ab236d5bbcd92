"""What a clone of ``who`` tells, and what must be true of all that tell it."""

import asyncio
import time

from imagebuilder.machine.instance import Instance
from imagebuilder.recipe.model import Ready

PATIENCE_S = 60
CLOCK_ERROR_NS = 10_000_000
OWN = ("hostname", "random", "rdrand", "mac", "addresses")


async def ask(instance: Instance, words: bytes = b"") -> dict[str, str]:
    """What the application tells; with the times at which it was asked and answered on the host's wall clock."""
    await instance.wait_ready(Ready.model_validate({"tcp": {"port": 7000, "expect": "end"}}), PATIENCE_S)
    for _ in range(5):
        begin_ns = time.time_ns()
        reader, writer = await asyncio.open_connection("127.0.0.1", instance.host_port(7000))
        writer.write(words or b".")
        text = (await asyncio.wait_for(reader.read(), PATIENCE_S)).decode()
        end_ns = time.time_ns()
        writer.close()
        told = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        # The clock is known as well as the question was quick; a busy host gets another chance.
        if words or end_ns - begin_ns < CLOCK_ERROR_NS:
            break
    return {**told, "begin_ns": str(begin_ns), "end_ns": str(end_ns)}


def check_clock(told: dict[str, str]) -> None:
    """Its clock stood between question and answer, but for what is allowed."""
    at_ns = int(told["realtime_ns"])
    assert int(told["begin_ns"]) - CLOCK_ERROR_NS <= at_ns <= int(told["end_ns"]) + CLOCK_ERROR_NS


def strangers(told: list[dict[str, str]]) -> None:
    """None has anything in common with another; each has the right time, and its hook ran."""
    for key in OWN:
        assert len({each[key] for each in told}) == len(told), key
    for each in told:
        check_clock(each)
        assert each["mark"] == "hooked"
        assert each["hosts"].endswith(f"|127.0.1.1 {each['hostname']}|"), "it finds its own name"
        assert int(each["looks"]) > 0
        assert each["addresses"].startswith("127.0.0.1 100.")
