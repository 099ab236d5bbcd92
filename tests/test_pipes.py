"""What a program prints: its lines as they come, the last of it kept, and an end."""

import pytest

from imagebuilder import pipes


def test_lines_however_the_pieces_are_cut() -> None:
    printed = b"one\n\ntwo\xff\nthree"
    for size in range(1, len(printed)):
        lines: list[str] = []
        output = pipes.Output(on_line=lines.append)
        for begin in range(0, len(printed), size):
            output.take(printed[begin : begin + size])
        output.end()
        assert lines == ["one", "", "two\ufffd", "three"]
        assert output.kept == printed


def test_the_last_is_kept() -> None:
    output = pipes.Output(10)
    for number in range(1000):
        output.take(b"%03d" % number)
    assert output.kept.endswith(b"996997998999") and len(output.kept) <= 20


@pytest.mark.parametrize(("data", "limit"), [(b"x" * (1 << 20), "64 MiB"), (b"\n" * 100_000, "1,000,000 lines")])
def test_it_has_an_end(data: bytes, limit: str) -> None:
    output = pipes.Output(on_line=lambda _line: None)
    with pytest.raises(pipes.TooMuch, match=f"^{limit}$"):
        for _ in range(100):
            output.take(data)
