"""What of a console is told, and that it holds what one needs."""

import pytest

from imagebuilder.machine.diagnosis import NO_EGRESS, Seen, last_words, late, remedies
from imagebuilder.machine.excerpt import excerpt
from imagebuilder.machine.messages import Listens

LONG = "/usr/share/app/" + "very/" * 10 + "page.conf"


@pytest.mark.parametrize(
    "line",
    [
        f'nginx: [emerg] open() "{LONG}" failed (2: No such file or directory) in /etc/nginx/nginx.conf:23',
        f"FileNotFoundError: [Errno 2] No such file or directory: '{LONG}'",
        f"Error: ENOENT: no such file or directory, open '{LONG}'",
        f"2026/11/29 06:00:00 open {LONG}: permission denied",
    ],
)
@pytest.mark.parametrize(
    "behind", [[], ["nginx: configuration file /etc/nginx/nginx.conf test failed"], ["z" * 500] * 2]
)
def test_the_path_and_the_reason_of_a_refusal_survive(line: str, behind: list[str]) -> None:
    said = last_words("\n".join(["x" * 500, line, *behind]))
    assert said is not None and line in said
    assert len(said) <= 400


def test_lines_share_the_room() -> None:
    said = last_words("\n".join(["short", "x" * 500, "y" * 90]))
    assert said == f"the console ends with: short / {'x' * 134} … {'x' * 68} / {'y' * 90}"


def test_of_a_long_line_the_refusal_in_its_middle() -> None:
    text = f"{'x' * 500} open(/etc/app/y.conf): No such file or directory, {'z' * 500}"
    said = excerpt(text, 200)
    assert "open(/etc/app/y.conf): No such file or directory" in said and len(said) <= 200
    assert said.startswith("xxx") and said.endswith("zzz") and said.count(" … ") == 2
    for at in (0, 20, 480, 900, 1000):
        moved = excerpt("x" * at + "No such file or directory" + "z" * (1000 - at), 200)
        assert "No such file or directory" in moved and len(moved) <= 200


@pytest.mark.parametrize(
    "line",
    [
        "connect to 10.1.2.3 port 5432: Network is unreachable",
        'psql: error: could not translate host name "db" to address: Temporary failure in name resolution',
        "socket.gaierror: [Errno -2] Name or service not known",
        "Error: getaddrinfo EAI_AGAIN db",
        "Error: connect ECONNREFUSED 10.1.2.3:5432",
        "dial tcp: lookup db on 10.0.2.3:53: no such host",
        "java.net.UnknownHostException: db",
        "curl: (6) Could not resolve host: example.org",
        "connect() failed (110: Connection timed out) while connecting to upstream",
    ],
)
def test_an_application_that_wants_out_is_told_how(line: str) -> None:
    console = f"starting\r\n{line}\r\nbye\r\n"
    _, hint = late(Seen("app", 32, console=console, closed=True), 5, "port 80 says no", 80)
    assert hint is not None and hint.endswith(NO_EGRESS)
    assert list(remedies(Seen("app", 32, console=console, closed=False))) == []


@pytest.mark.parametrize(
    "line",
    [
        "connect to 127.0.0.1:5432 failed: Connection refused",
        "Error: connect ECONNREFUSED ::1:5432",
        "connect to unix:/run/app.sock failed (111: Connection refused)",
        'connection to server at "localhost" failed: Connection refused',
        "listening on 10.0.2.15:80",
    ],
)
def test_who_is_refused_inside_needs_no_way_out(line: str) -> None:
    assert list(remedies(Seen("app", 32, console=line, closed=True))) == []


def test_one_remedy_for_one_fault() -> None:
    """What listens on the loopback only may have complained of a missing IPv6 beside that."""
    console = "Error: Address family not supported by protocol\r\n"
    for listens, hints in (((Listens("127.0.0.1", 1883),), 1), ((), 1)):
        _, hint = late(Seen("app", 32, console=console, listens=listens), 5, "port 1883 says no", 1883)
        assert hint is not None and hint.count("have it listen on 0.0.0.0") == hints


def test_colours_are_not_shown() -> None:
    assert last_words("\x1b[1mapp.rb:1:in 'f'\x1b[m: \x1b[1;31mno such thing\x1b[0m") == (
        "the console ends with: app.rb:1:in 'f': no such thing"
    )
