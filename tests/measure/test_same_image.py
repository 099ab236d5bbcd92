"""The same image beside itself, on a host that two compilers keep busy: never slower, never faster."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from imagebuilder.machine.spec import Accelerator
from imagebuilder.measure import rounds, subject
from imagebuilder.measure.compare import apart, paired
from imagebuilder.measure.rounds import Schedule

from .busy import compiling
from .images import Make

TIMES = 20


@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.timeout(7200)
async def test_the_same_image_beside_itself_while_two_compilers_run(make: Make, tmp_path: Path) -> None:
    """A quarter of an hour, or more: each run is compared with itself, and with a report from before."""
    image = subject.of_bundle(make(0, 0), Accelerator.TCG)
    alarms: Counter[str] = Counter()
    with compiling(tmp_path):
        (before,) = await rounds.measure([image], Schedule())
        for number in range(1, TIMES + 1):
            one, other = await rounds.measure([image, replace(image, name="again")], Schedule())
            beside = paired(one.startup, other.startup, reference="again")
            later = apart(one.startup, before.startup, reference="before")
            for found in (beside, later):
                alarms.update(f"{found.reference}: {each.what}" for each in found.changes if each.verdict.differs)
            ready = one.startup.ready_ms
            print(
                f"{number}: {ready.median:.0f} ms ({ready.min:.0f} to {ready.max:.0f}), {beside.verdict} beside itself,"
            )
            print(f"   {later.verdict} than before; single figures decided so far: {dict(alarms)}", flush=True)
            assert not beside.verdict.differs and not later.verdict.differs
