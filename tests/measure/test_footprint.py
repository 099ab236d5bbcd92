"""Parts of memory add up, whatever a kernel tells."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.machine.channel import GuestMemory
from imagebuilder.machine.usage import HostMemory
from imagebuilder.measure.footprint import MEANING, guest_parts, host_parts

MIB = 1 << 20
GUEST = GuestMemory(28 * MIB, 20 * MIB, 19 * MIB, 3 * MIB, 2 * MIB, 1 * MIB, 0, MIB // 2, MIB, MIB // 4, MIB // 8, 0)


def test_by_hand() -> None:
    parts = guest_parts(GUEST, memory_bytes=32 * MIB)
    assert parts == {
        "reserved": 4 * MIB,
        "slab": 2 * MIB,
        "stacks": MIB // 4,
        "tables": MIB // 8,
        "kernel_other": MIB + MIB // 8,
        "page_cache": 3 * MIB,
        "mapped": MIB,
        "anonymous": MIB // 2,
        "free": 20 * MIB,
    }
    assert list(parts) == list(MEANING)


@given(st.lists(st.integers(0, 10**9), min_size=12, max_size=12))
def test_the_parts_add_up_to_the_machine(sizes: list[int]) -> None:
    parts = guest_parts(GuestMemory(*sizes), memory_bytes=2 * 10**9)
    assert parts is not None and sum(parts.values()) == 2 * 10**9


def test_an_older_init_has_not_told_all() -> None:
    assert guest_parts(replace(GUEST, anonymous_bytes=None), memory_bytes=32 * MIB) is None


def test_qemu_beside_an_empty_one() -> None:
    whole, empty = HostMemory(9, 8, 7), HostMemory(3, 2, 1)
    assert host_parts(whole, floor=None) == {"rss": 9, "pss": 8, "private": 7}
    assert host_parts(whole, floor=empty) == {"rss": 9, "pss": 8, "private": 7, "floor_pss": 2, "floor_private": 1}
