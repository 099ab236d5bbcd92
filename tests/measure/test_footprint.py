"""Parts of memory add up, whatever a kernel tells."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.machine.messages import GuestMemory
from imagebuilder.machine.usage import HostMemory
from imagebuilder.measure.footprint import MEANING, TWICE, guest_parts, host_parts, twice_bytes

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
    assert parts is not None and min(parts.values()) >= 0
    twice = parts.pop(TWICE, 0)
    assert sum(parts.values()) - twice == 2 * 10**9 and twice == twice_bytes({**parts, TWICE: twice})


def test_a_root_that_is_used_where_it_lies_counts_once() -> None:
    """nginx from a root in memory: its pages lie outside of what the kernel gives out, and are mapped. That once came
    to a kernel of -5,464,064 bytes."""
    nginx = GuestMemory(
        total_bytes=35115008,
        free_bytes=30502912,
        available_bytes=29000000,
        cached_bytes=200704,
        slab_bytes=2215936,
        buffers_bytes=0,
        shmem_bytes=0,
        anonymous_bytes=1212416,
        mapped_bytes=5988352,
        stacks_bytes=294912,
        tables_bytes=368640,
    )
    parts = guest_parts(nginx, memory_bytes=48 * MIB)
    assert parts is not None and sum(parts.values()) == 48 * MIB and min(parts.values()) >= 0
    assert parts["mapped"] == 5988352 and parts["page_cache"] == 0
    assert parts["reserved"] == 48 * MIB - 35115008 - (5988352 - 200704)
    assert parts["kernel_other"] == 35115008 - 30502912 - 200704 - 2215936 - 1212416 - 294912 - 368640


def test_an_older_report_says_how_much_it_counted_twice() -> None:
    assert twice_bytes({"reserved": 10, "kernel_other": -4, "free": 6}) == 4
    assert twice_bytes({"reserved": 10, "kernel_other": 0}) == 0


def test_an_older_init_has_not_told_all() -> None:
    assert guest_parts(replace(GUEST, anonymous_bytes=None), memory_bytes=32 * MIB) is None


def test_qemu_beside_an_empty_one() -> None:
    whole, empty = HostMemory(9, 8, 7), HostMemory(3, 2, 1)
    assert host_parts(whole, floor=None) == {"rss": 9, "pss": 8, "private": 7}
    assert host_parts(whole, floor=empty) == {"rss": 9, "pss": 8, "private": 7, "floor_pss": 2, "floor_private": 1}
