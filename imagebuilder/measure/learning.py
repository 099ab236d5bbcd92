"""Which pages of its files an image's start uses: seen in one start whose disk gives what is asked for and no more."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from imagebuilder.machine.instance import Instance
from imagebuilder.machine.spec import MachineSpec
from imagebuilder.machine.suspend import rest
from imagebuilder.platforms.table import PLATFORMS, USUAL
from imagebuilder.recipe.model import Ready

ANSWER_S = 60.0  # emulated, on a busy host
SLOWER = 4  # than a start whose disk reads ahead
LOOKS, LOOK_S, MOST_LOOKS = 5, 0.02, 250  # until all that the answer leads to is done, at most 5 s

Ranges = Mapping[int, Sequence[tuple[int, int]]]
"""By the number of the file, in the order of init's ``ahead`` lines: first page, count."""


async def learn(spec: MachineSpec, ready: Ready) -> Ranges:
    """The pages that are in memory at the first answer of a start. Raises NotReady, GuestFailed, MachineError."""
    async with Instance.start(learning(spec)) as instance:
        await instance.wait_ready(ready, float(SLOWER * ready.timeout_s))
        await rest(instance, looks=LOOKS, look_s=LOOK_S, most_looks=MOST_LOOKS)
        done = instance.channel.done("pages")
        instance.channel.send("pages")
        await instance.outcome(done, "the list of pages", timeout_s=ANSWER_S)
        instance.kill()
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for told in instance.channel.reports.pages:
            found[told.file] += told.ranges
    return found


def learning(spec: MachineSpec) -> MachineSpec:
    """The machine that learns. Programs lie at fixed addresses, so that it finds the same each time."""
    return replace(spec, cmdline=f"{spec.cmdline} ib.learn={PLATFORMS[USUAL].root_disk} norandmaps")
