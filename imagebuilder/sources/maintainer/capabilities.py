"""File capabilities as ``setcap`` writes them, in the kernel's form (``struct vfs_cap_data`` of linux/capability.h)."""

import re
import struct
from collections.abc import Mapping

NAME = "security.capability"
REVISION_2, EFFECTIVE = 0x02000000, 1
_NAMES = (  # in the order of their numbers
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service "
    "net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin "
    "sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override "
    "mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore"
)
NUMBERS: Mapping[str, int] = {f"cap_{name}": number for number, name in enumerate(_NAMES.split())}
CLAUSE = re.compile(r"([a-z_,]+)([=+])([eip]+)")


def encoded(text: str) -> bytes | None:
    """The attribute's value for a text such as ``cap_net_raw+ep``; None for one that is not understood."""
    sets = dict.fromkeys("eip", 0)
    for clause in text.split():
        match = CLAUSE.fullmatch(clause)
        if match is None or not all(name in NUMBERS for name in match[1].split(",")):
            return None
        bits = sum(1 << number for number in {NUMBERS[name] for name in match[1].split(",")})
        for letter in match[3]:
            sets[letter] |= bits
    if not any(sets.values()):
        return None
    effective = EFFECTIVE if sets["e"] else 0
    low, high = 0xFFFF_FFFF, 32
    words = (sets["p"] & low, sets["i"] & low, sets["p"] >> high, sets["i"] >> high)
    return struct.pack("<5I", REVISION_2 | effective, *words)
