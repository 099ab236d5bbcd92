"""The rate of this host's time stamp counter, which a translated guest reads as its own."""

import re
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
STEADY = {"constant_tsc", "nonstop_tsc"}
FIELD = re.compile(r"^(?P<key>flags|bogomips)\s*:\s*(?P<value>.*)$", re.MULTILINE)
BOGOMIPS_TO_KHZ = 500  # Linux prints loops per tick, which it takes from the counter, as twice the counter's MHz
COUNTED_KHZ = 1_000_000  # with -icount the counter is the guest's virtual time, in ns


def tsc_khz(cpuinfo: str) -> int | None:
    """The counter's rate, to 5 kHz; None of a processor without one or with one that is not steady."""
    fields = {match["key"]: match["value"] for match in FIELD.finditer(cpuinfo.partition("\n\n")[0])}
    if not set(fields.get("flags", "").split()) >= STEADY or "bogomips" not in fields:
        return None
    return round(float(fields["bogomips"]) * BOGOMIPS_TO_KHZ)


@cache
def host_tsc_khz() -> int | None:
    """As ``tsc_khz``, of this host."""
    try:
        return tsc_khz(CPUINFO.read_text())
    except OSError:
        return None
