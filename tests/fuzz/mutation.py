"""Inputs that are nearly right: a valid one, changed in a few places. The same seed gives the same input."""

import re
from collections.abc import Callable, Sequence
from random import Random

HOW_MANY = (0, 1, 1, 1, 1, 2, 2, 3, 4)
LARGEST_BYTES = 1 << 16
# What documents, protocols and scripts are made of: a text in quotes, a word or number, any other character.
TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[A-Za-z0-9_.+-]+|\S')
ODD = (
    *(b"", b'""', b"0", b"-1", b"1.5", b"1e999", b"true", b"null", b"nan", b"[]", b"{}", b"[[", b"}", b'"', b"'''"),
    *(b"9" * 19, b"9" * 400, b"0x10", b"07", b"65536", b"4294967296", b"9223372036854775807", b"-9223372036854775808"),
    *(b'"\\ud800"', b'"\\u0000"', b'"a\\nb"', b'"\\u001b[31m"', b'"../x"', b'"/etc/passwd"', b'"."', b'"a/b"', b"\xff"),
    *(b"\0", b"\n", b"\r\n", b"\t", b"%", b"$(", b"`", b"{{", b"{%", b"*", b"**", b"[a-", b"\\", b"\xe2\x80\xae"),
    *(b"1979-05-27", b"[" * 70, b"{a=" * 70, b"a." * 70, b"x" * 5000, b'["x"]', b'{"x": 1}', b'{ x = "y" }'),
)


def mutated(corpus: Sequence[bytes], words: Sequence[bytes], seed: int) -> bytes:
    """One of the inputs with some changes; ``words`` are those of its language."""
    random = Random(seed)
    data = random.choice(corpus)
    for _ in range(random.choice(HOW_MANY)):
        data = random.choice(CHANGES)(data, corpus, (*words, *ODD), random)[:LARGEST_BYTES]
    return data


def _token(data: bytes, _corpus: Sequence[bytes], words: Sequence[bytes], random: Random) -> bytes:
    """Another word in the place of one."""
    found = list(TOKEN.finditer(data))
    if not found:
        return random.choice(words)
    at = random.choice(found)
    return data[: at.start()] + random.choice(words) + data[at.end() :]


def _swap(data: bytes, _corpus: Sequence[bytes], _words: Sequence[bytes], random: Random) -> bytes:
    """A word of its own in the place of one."""
    found = list(TOKEN.finditer(data))
    if not found:
        return data
    one, other = random.choice(found), random.choice(found)
    return data[: one.start()] + other[0] + data[one.end() :]


def _insert(data: bytes, _corpus: Sequence[bytes], words: Sequence[bytes], random: Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(words) + data[at:]


def _byte(data: bytes, _corpus: Sequence[bytes], _words: Sequence[bytes], random: Random) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([random.choice((0, 1, 127, 128, 255, random.randrange(256)))]) + data[at + 1 :]


def _number(data: bytes, _corpus: Sequence[bytes], _words: Sequence[bytes], random: Random) -> bytes:
    """A number of a binary format."""
    size = random.choice((2, 4, 8))
    at = random.randint(0, max(0, len(data) - size)) & -size
    value = random.choice((0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63, 2**64 - 1, len(data), at))
    return data[:at] + (int(value) % (1 << 8 * size)).to_bytes(size, "little") + data[at + size :]


def _without(data: bytes, _corpus: Sequence[bytes], _words: Sequence[bytes], random: Random) -> bytes:
    begin, end = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
    return data[:begin] + data[end:]


def _line(data: bytes, _corpus: Sequence[bytes], _words: Sequence[bytes], random: Random) -> bytes:
    """A line left out, or written again elsewhere."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    taken = lines.pop(random.randrange(len(lines)))
    if random.random() < 0.7:
        for _ in range(random.choice((1, 2, 2, 300))):
            lines.insert(random.randint(0, len(lines)), taken)
    return b"".join(lines)


def _spliced(data: bytes, corpus: Sequence[bytes], _words: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(corpus)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _again(data: bytes, _corpus: Sequence[bytes], _words: Sequence[bytes], random: Random) -> bytes:
    """A piece, many times."""
    begin = random.randint(0, len(data))
    end = min(len(data), begin + random.choice((1, 4, 16, 64)))
    return data[:end] + data[begin:end] * random.choice((2, 100, 1000)) + data[end:]


Change = Callable[[bytes, Sequence[bytes], Sequence[bytes], Random], bytes]
CHANGES: tuple[Change, ...] = (
    *(_token, _token, _token, _swap, _swap, _insert, _byte, _byte, _number, _without, _line, _line, _spliced, _again),
)
