"""What init reads, by its own parsers, compiled as an ordinary program that stops at any undefined behaviour."""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagebuilder import process
from imagebuilder.errors import InputError
from imagebuilder.platforms.linux.build import INIT
from imagebuilder.platforms.linux.config import (
    LIMIT_NAMES,
    Await,
    HelperConfig,
    InitConfig,
    Limit,
    Sysctl,
    init_conf,
)
from imagebuilder.platforms.values import Ahead, Mount
from tests.examples import examples

pytestmark = pytest.mark.skipif(process.find("gcc") is None, reason="gcc is not installed")

Ask = Callable[[str, Sequence[bytes]], list[bytes]]
UNITS = ("conf.c", "text.c", "words.c")  # parsers.c has dhcp.c in itself
MAC = bytes.fromhex("525400123456")
XID = b"\1\2\3\4"


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Give inputs to the parsers, get their answers."""
    program = tmp_path_factory.mktemp("parsers") / "parsers"
    strict = ("-Wall", "-Wextra", "-Werror", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    units = (Path(__file__).with_name("parsers.c"), *(INIT.sources / name for name in UNITS))
    process.run(["gcc", "-std=c11", "-D_GNU_SOURCE", *strict, "-I", INIT.sources, "-o", program, *units])

    def give(kind: str, inputs: Sequence[bytes]) -> list[bytes]:
        stream = b"".join(struct.pack("=I", len(data)) + data for data in inputs)
        return list(_pieces(process.run([program, kind], stdin=stream, timeout_s=300).stdout))

    return give


def _pieces(stream: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(stream):
        (size,) = struct.unpack_from("=I", stream, at)
        yield stream[at + 4 : at + 4 + size]
        at += 4 + size


def words_of(answer: bytes) -> list[str]:
    """The words of an answer."""
    return [word.decode() for word in answer.split(b"\0")[:-1]]


def expected(config: InitConfig) -> list[str]:
    """What the parser must say about a configuration."""
    words = [word for arg in config.args for word in ("arg", arg)]
    words += [word for variable in config.env for word in ("env", variable)]
    words += ["uid", str(config.uid), "gid", str(config.gid)]
    words += [word for group in config.groups for word in ("group", str(group))]
    words += [word for number in sorted(set(config.capabilities)) for word in ("capability", str(number))]
    words += ["cwd", config.cwd, "hostname", config.hostname]
    words += [] if config.network else ["no network"]
    words += ["listen signal"] if config.listen_signal else []
    words += [word for path in config.modules for word in ("module", path)]
    for each in config.ahead:
        words += ["ahead", each.path]
        words += [word for first, count in each.parts for word in ("part", str(first), str(count))]
    words += [word for m in config.mounts for word in ("mount", m.type, m.target, m.options)]
    words += [word for path in config.copies for word in ("copy", path)]
    words += ["overlay", config.overlay] if config.overlay else []
    words += [word for limit in config.limits for word in ("limit", limit.name, limit.soft, limit.hard)]
    words += [word for sysctl in config.sysctls for word in ("sysctl", sysctl.path, sysctl.value)]
    words += ["stop", str(config.stop_signal), "grace", str(config.stop_grace_ms)]
    return [*words, *(word for helper in config.helpers for word in expected_helper(helper))]


def expected_helper(helper: HelperConfig) -> list[str]:
    """What it must say about a helper."""
    words = ["helper", helper.name, "uid", str(helper.uid), "gid", str(helper.gid)]
    words += ["restart"] if helper.restart else []
    words += [helper.ready.kind, helper.ready.text, str(helper.ready.limit_ms)] if helper.ready else []
    words += [word for variable in helper.env for word in ("env", variable)]
    return [*words, *(word for arg in helper.args for word in ("arg", arg))]


escapes = st.text("\\n\n #=", max_size=9)
text = escapes | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)
word = text.map(lambda value: "w" + value.replace(" ", ""))
path = text.map(lambda value: "/" + value)
path_word = word.map(lambda value: "/" + value)
bound = st.integers(0, 2**64 - 2).map(str) | st.just("unlimited")
ids = st.integers(0, 2**32 - 2)
pages = st.integers(1, 2**16 - 1)
commands = st.builds(lambda command, rest: (command, *rest), path, st.lists(text, max_size=5))
variables = st.lists(st.builds(lambda name, value: f"{name.replace('=', '')}={value}", word, text), max_size=4).map(
    tuple
)
limits_ms = st.integers(0, 2**31 - 1)
awaits = st.builds(Await, st.just("port"), st.integers(1, 65535).map(str), limits_ms) | st.builds(
    Await, st.sampled_from(("file", "line")), text.filter(len), limits_ms
)
helpers = st.builds(HelperConfig, text.filter(len), commands, variables, ids, ids, st.booleans(), st.none() | awaits)
configs = st.builds(
    InitConfig,
    args=commands,
    env=variables,
    uid=ids,
    gid=ids,
    groups=st.lists(ids, max_size=4).map(tuple),
    cwd=path,
    hostname=st.text("abcxyz0189-.", min_size=1, max_size=64),
    modules=st.lists(path, max_size=3).map(tuple),
    mounts=st.lists(st.builds(Mount, word, path_word, word), max_size=4).map(tuple),
    overlay=st.none() | st.just("yes") | st.from_regex(r"[0-9]{1,6}[kKmMgG%]?", fullmatch=True),
    limits=st.lists(st.builds(Limit, st.sampled_from(LIMIT_NAMES), bound, bound), max_size=4).map(tuple),
    sysctls=st.lists(st.builds(Sysctl, word, text), max_size=3).map(tuple),
    stop_signal=st.integers(1, 64),
    stop_grace_ms=st.integers(0, 2**31 - 1),
    copies=st.lists(path, max_size=3).map(tuple),
    capabilities=st.lists(st.integers(0, 63), max_size=4).map(tuple),
    network=st.booleans(),
    listen_signal=st.booleans(),
    ahead=st.lists(st.builds(Ahead, path, st.lists(st.tuples(pages, pages), max_size=5).map(tuple)), max_size=3).map(
        tuple
    ),
    helpers=st.lists(helpers, max_size=3).map(tuple),
)
in_batches = settings(max_examples=examples(30), deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.tools
@in_batches
@given(st.lists(configs, min_size=1, max_size=20))
def test_what_is_written_is_what_init_reads(ask: Ask, batch: list[InitConfig]) -> None:
    answers = ask("conf", [init_conf(config) for config in batch])
    assert [words_of(answer) for answer in answers] == [expected(config) for config in batch]


def test_the_configuration_is_written_like_this() -> None:
    config = InitConfig(
        ("/bin/app", "-c", "a\nb\\"), ("A=1",), 33, 34, (4, 5), "/srv", "web", ("/m.ko",),
        (Mount("tmpfs", "/tmp", "size=8m"),), "16m", (Limit("nofile", "1024", "unlimited"),),
        (Sysctl("net/core/somaxconn", "1024"),), 3, 100, False, (Ahead("/bin/app", ((0, 3), (9, 1))), Ahead("/lib")),
        True, ("/run",), (7, 6),
        (
            HelperConfig("web", ("/bin/web", "-f"), ("A=1",), 5, 6, True, Await("port", "80", 1000)),
            HelperConfig("db", ("/bin/db",), ready=Await("line", "is ready")),
        ),
    )  # fmt: skip
    assert init_conf(config).decode() == (
        "module /m.ko\noverlay 16m\nahead /bin/app\npart 0 3\npart 9 1\nahead /lib\n"
        "mount tmpfs /tmp size=8m\ncopy /run\nsysctl net/core/somaxconn 1024\n"
        "hostname web\nnetwork none\nlisten signal\nuid 33\ngid 34\n"
        "groups 4,5\ncapabilities 7,6\ncwd /srv\nlimit nofile 1024 unlimited\n"
        "env A=1\narg /bin/app\narg -c\narg a\\nb\\\\\nstop 3 100\n"
        "helper web\nhelper-user 5 6\nhelper-restart on-failure\nhelper-ready port 80 1000\nhelper-env A=1\n"
        "helper-arg /bin/web\nhelper-arg -f\nhelper db\nhelper-ready line is ready 30000\nhelper-arg /bin/db\n"
    )
    assert init_conf(InitConfig(("/app",))) == b"arg /app\n"


GOOD = InitConfig(("/app",))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (replace(GOOD, args=()), "there is no command"),
        (replace(GOOD, args=("app",)), "'app' is no absolute path"),
        (replace(GOOD, args=("/app", "a\0b")), "holds a NUL byte"),
        (replace(GOOD, args=("/app", "\ud800")), "cannot be written as UTF-8"),
        (replace(GOOD, args=("/app",) * 257), "257 arguments are too many"),
        (replace(GOOD, args=("/app", "x" * 65_536)), "at most 65535 fit"),
        (replace(GOOD, env=("=1",)), "'=1' is not NAME=VALUE"),
        (replace(GOOD, env=("A",)), "'A' is not NAME=VALUE"),
        (replace(GOOD, uid=-1), "-1 is no uid"),
        (replace(GOOD, capabilities=(64,)), "64 is no capability (0 to 63)"),
        (replace(GOOD, gid=2**32 - 1), "is no gid"),
        (replace(GOOD, groups=(2**32,)), "is no group"),
        (replace(GOOD, cwd="srv"), "'srv' is no absolute path"),
        (replace(GOOD, hostname=""), "1 to 64 bytes"),
        (replace(GOOD, hostname="é" * 33), "1 to 64 bytes"),
        (replace(GOOD, overlay="much"), "'much' is neither a size"),
        (replace(GOOD, overlay=""), "'' is neither a size"),
        (replace(GOOD, mounts=(Mount("tmpfs", "/a b"),)), "one word"),
        (replace(GOOD, mounts=(Mount("tmpfs", "a"),)), "no absolute path to mount on"),
        (replace(GOOD, mounts=(Mount("", "/a"),)), "one word"),
        (replace(GOOD, limits=(Limit("files", "1", "1"),)), "'files' is no limit (one of as core"),
        (replace(GOOD, limits=(Limit("nofile", "-1", "1"),)), "'-1' is no value"),
        (replace(GOOD, limits=(Limit("nofile", "1", str(2**64)),)), "is no value"),
        (replace(GOOD, sysctls=(Sysctl("a b", "1"),)), "one word"),
        (replace(GOOD, ahead=(Ahead("/app", ((0, 0),)),)), "[0, 0] is no range of pages"),
        (replace(GOOD, ahead=(Ahead("/app", ((65_536, 1),)),)), "[65536, 1] is no range of pages"),
        (replace(GOOD, ahead=(Ahead("/app"),) * 65), "65 files to read ahead are too many"),
        (replace(GOOD, ahead=(Ahead("/app", ((0, 1),) * 257),) * 2), "514 parts to read ahead are too many"),
        (replace(GOOD, stop_signal=0), "0 is no signal"),
        (replace(GOOD, stop_grace_ms=-1), "-1 ms"),
        (replace(GOOD, helpers=(HelperConfig("a", ("/a",)),) * 9), "9 helpers are too many, at most 8"),
        (replace(GOOD, helpers=(HelperConfig("", ("/a",)),)), "a helper has a name"),
        (replace(GOOD, helpers=(HelperConfig("a", ("b",)),)), "a has no absolute path of a command"),
        (replace(GOOD, helpers=(HelperConfig("a", ("/b",) * 65),)), "65 arguments of a are too many"),
        (replace(GOOD, helpers=(HelperConfig("a", ("/b",), ("A=1",) * 65),)), "65 variables of a are too many"),
        (replace(GOOD, helpers=(HelperConfig("a", ("/b",), uid=-1),)), "-1 is no uid"),
        (replace(GOOD, helpers=(HelperConfig("a", ("/b",), ready=Await("port", "0")),)), "'0' is no port"),
        (replace(GOOD, helpers=(HelperConfig("a", ("/b",), ready=Await("line", "")),)), "'' is no line"),
        (replace(GOOD, helpers=(HelperConfig("a", ("/b",), ready=Await("door", "x")),)), "none of port, file and line"),
        (replace(GOOD, helpers=(HelperConfig("a", ("/b",), ready=Await("file", "/x", -1)),)), "-1 ms is no time"),
    ],
)  # fmt: skip
def test_the_writer_refuses(config: InitConfig, sentence: str) -> None:
    with pytest.raises(InputError, match=r"^init: ") as caught:
        init_conf(config)
    assert sentence in str(caught.value)


@pytest.mark.tools
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "no line 'arg' says what to start"),
        (b"# nothing\n\nuid 3\n", "no line 'arg' says what to start"),
        (b"arg /a\ncolour blue\n", "line 2: 'colour blue' is no key"),
        (b"arg /a\n\n#\ncolour", "line 4: 'colour' is no key"),
        (b"arg", "line 1: 'arg' has no value"),
        (b"arg a", "line 1: 'arg a' is no absolute path"),
        (b"arg /a\\t", "line 1: 'arg /a\\t' has a '\\' that stands before neither 'n' nor '\\'"),
        (b"arg /a\\", "line 1: 'arg /a\\' has a '\\' that stands"),
        (b"arg /a\0b", "there is a NUL byte in it"),
        (b"env A", "line 1: 'env A' is not NAME=VALUE"),
        (b"uid x", "line 1: 'uid x' is not a number that fits"),
        (b"uid 4294967295", "line 1: 'uid 4294967295' is not a number that fits"),
        (b"uid 99999999999999999999999", "is not a number that fits"),
        (b"groups 1,,2", "is not a number that fits"),
        (b"capabilities 64", "line 1: 'capabilities 64' is not a number that fits"),
        (b"capabilities 1,", "is not a number that fits"),
        (b"mount tmpfs /tmp", "is not TYPE TARGET OPTIONS"),
        (b"mount tmpfs tmp defaults", "is not TYPE TARGET OPTIONS"),
        (b"mount e  x", "line 1: 'mount e' is not TYPE TARGET OPTIONS"),
        (b"mount  /t o", "line 1: 'mount ' is not TYPE TARGET OPTIONS"),
        (b"mount  ", "is not TYPE TARGET OPTIONS"),
        (b"stop 100 ", "is not SIGNAL GRACE_MS"),
        (b"stop 100  ", "is not SIGNAL GRACE_MS"),
        (b"stop  100", "is not SIGNAL GRACE_MS"),
        (b"limit  1 1", "is not NAME SOFT HARD"),
        (b"ahead /a\npart  1", "is not FIRST COUNT of a file"),
        (b"sysctl  1", "is not PATH VALUE"),
        (b"copy run", "line 1: 'copy run' is no absolute path"),
        (b"arg /a\n" + b"copy /run\n" * 65, "line 66: 'copy /run' is one too many"),
        (b"limit nofile 1", "is not NAME SOFT HARD"),
        (b"limit files 1 1", "is not NAME SOFT HARD"),
        (b"limit nofile 1 18446744073709551615", "is not NAME SOFT HARD"),
        (b"overlay big", "is neither a size nor 'yes'"),
        (b"overlay ", "is neither a size nor 'yes'"),
        (b"sysctl kernel/x", "is not PATH VALUE"),
        (b"part 0 1", "line 1: 'part 0 1' is not FIRST COUNT of a file"),
        (b"ahead /a\npart 0", "line 2: 'part 0' is not FIRST COUNT of a file"),
        (b"ahead /a\npart 0 0", "is not FIRST COUNT of a file"),
        (b"ahead /a\npart 0 x", "is not FIRST COUNT of a file"),
        (b"ahead /a\npart 65536 1", "is not FIRST COUNT of a file"),
        (b"ahead /a\npart 0 1 2", "is not FIRST COUNT of a file"),
        (b"ahead /a\n" + b"part 0 1\n" * 513, "line 514: 'part 0 1' is one too many"),
        (b"ahead /a\n" * 65, "line 65: 'ahead /a' is one too many"),
        (b"stop 65 1", "is not SIGNAL GRACE_MS"),
        (b"stop 0 1", "is not SIGNAL GRACE_MS"),
        (b"stop 15 2147483648", "is not SIGNAL GRACE_MS"),
        (b"arg /a\n" * 257, "line 257: 'arg /a' is one too many"),
        (b"groups " + b"1," * 32 + b"1", "is one too many"),
        (b"helper-arg /a", "line 1: 'helper-arg /a' stands before any line 'helper'"),
        (b"helper-env A=1", "stands before any line 'helper'"),
        (b"helper-user 1 1", "stands before any line 'helper'"),
        (b"helper-restart on-failure", "stands before any line 'helper'"),
        (b"helper-ready port 80 1", "stands before any line 'helper'"),
        (b"helper ", "is no name"),
        (b"helper a\nhelper-arg b", "is no absolute path"),
        (b"helper a\nhelper-env =", "is not NAME=VALUE"),
        (b"helper a\nhelper-user 1", "is not UID GID"),
        (b"helper a\nhelper-user 1 x", "is not UID GID"),
        (b"helper a\nhelper-user 1 1 1", "is not UID GID"),
        (b"helper a\nhelper-restart always", "is not 'on-failure'"),
        (b"helper a\nhelper-ready port 80", "is not KIND TEXT LIMIT_MS"),
        (b"helper a\nhelper-ready port  80", "is not KIND TEXT LIMIT_MS"),
        (b"helper a\nhelper-ready", "has no value"),
        (b"helper a\nhelper-ready port 0 1", "is not a number that fits"),
        (b"helper a\nhelper-ready port 65536 1", "is not a number that fits"),
        (b"helper a\nhelper-ready door x 1", "is none of 'port', 'file' and 'line'"),
        (b"helper a\nhelper-ready file /x 2147483648", "is not KIND TEXT LIMIT_MS"),
        (b"helper a\nhelper-arg /a\n" * 9, "line 17: 'helper a' is one too many"),
        (b"helper a\n" + b"helper-arg /a\n" * 65, "line 66: 'helper-arg /a' is one too many"),
        (b"helper a\n" + b"helper-env A=1\n" * 65, "line 66: 'helper-env A=1' is one too many"),
        (b"arg /a\nhelper a\nhelper b\nhelper-arg /b", "no line 'helper-arg' says what to start as a"),
    ],
)
def test_init_says_what_is_wrong(ask: Ask, text: bytes, sentence: str) -> None:
    (answer,) = ask("conf", [text])
    kind, why = words_of(answer)
    assert kind == "wrong"
    assert sentence in why


@pytest.mark.tools
def test_init_has_room_for_what_the_writer_allows(ask: Ask) -> None:
    full = InitConfig(
        ("/app",) * 256, ("A=1",) * 256, groups=(1,) * 32, modules=("/m",) * 64, mounts=(Mount("a", "/b"),) * 64,
        limits=(Limit("as", "1", "1"),) * len(LIMIT_NAMES), sysctls=(Sysctl("a", "b"),) * 64,
        ahead=(Ahead("/app", ((0, 1),) * 8),) * 64,
        helpers=(HelperConfig("a", ("/a",) * 64, ("A=1",) * 64),) * 8,
    )  # fmt: skip
    assert words_of(ask("conf", [init_conf(full)])[0]) == expected(full)


BROKEN = (
    b"arg /a", b"ahead /a\n", b"part 1 2", b"mount", b"limit nofile 1 2", b"overlay", b"stop 1", b"groups 1", b"\\",
    b" ", b"\n", b"env A=", b"uid", b"helper a\n", b"helper-arg /", b"helper-ready ", b"helper-ready line  1\n",
)  # fmt: skip
texts = st.lists(st.binary(max_size=20) | st.sampled_from(BROKEN), max_size=30).map(b"".join)


@pytest.mark.tools
@in_batches
@given(st.lists(texts, min_size=1, max_size=30))
def test_no_text_harms_the_reader(ask: Ask, batch: list[bytes]) -> None:
    assert len(ask("conf", batch)) == len(batch)


NO_ADDRESS = (
    "10.0.2.15", "10.0.2.15/33", "10.0.2.15/0", "10.0.2/24", "10.0.2.256/24", "10.0.2.15/24,x",
    "10.0.2.15/24,1.1.1.1,y", "10.0.2.15/24x", "", ".../8", "10.0.2.15/24" + ",1.1.1.1" * 5,
)  # fmt: skip
NET = ["", "", "", "", "10.0.2.15", "255.255.255.0"]


@pytest.mark.tools
@pytest.mark.parametrize(
    ("cmdline", "words"),
    [
        ("console=ttyS0 ib.channel=1 ib.hostname=web quiet\n", ["web", "1", "", ""]),
        ("ib.channel=vport0p1 ib.listen=1", ["", "vport0p1", "listen", ""]),
        ("ib.learn=/dev/vda", ["", "", "", "/dev/vda"]),
        ("ib.given=1", ["", "", "", "given"]),
        ("ib.given=0", ["", "", "", ""]),
        ("ib.more=fw_cfg", ["", "", "", "fw_cfg"]),
        ("ib.acpi=1 ib.channel=0", ["", "", "", ""]),
        ("ib.ip=10.0.2.15/24,10.0.2.2,10.0.2.3", [*NET, "10.0.2.2", "0", "10.0.2.3"]),
        ("ib.ip=10.0.2.15/24", [*NET, "0.0.0.0", "0"]),
        ("ib.ip=10.0.2.15/24,", [*NET, "0.0.0.0", "0"]),
        ("ib.ip=10.0.2.15/32,10.0.2.2", [*NET[:5], "255.255.255.255", "10.0.2.2", "0"]),
        ("ib.ip=10.0.2.15/24,,1.1.1.1,8.8.8.8", [*NET, "0.0.0.0", "0", "1.1.1.1", "8.8.8.8"]),
        *((f"ib.ip={wrong}", ["", "", "", ""]) for wrong in NO_ADDRESS),
    ],
)
def test_the_command_line(ask: Ask, cmdline: str, words: list[str]) -> None:
    assert words_of(ask("words", [cmdline.encode()])[0]) == words


addresses = st.text(",./0123456789 ib.hostname=", max_size=60).map(lambda words: f"ib.ip={words}".encode())


@pytest.mark.tools
@in_batches
@given(st.lists(addresses, min_size=1, max_size=30))
def test_no_command_line_harms_the_reader(ask: Ask, batch: list[bytes]) -> None:
    assert len(ask("words", batch)) == len(batch)


def option(number: int, *value: int) -> bytes:
    """One DHCP option."""
    return bytes((number, len(value), *value))


USUAL = (option(53, 5), option(54, 10, 0, 2, 2), option(1, 255, 255, 255, 0), option(3, 10, 0, 2, 2))


def reply(
    *options: bytes,
    xid: bytes = XID,
    mac: bytes = MAC,
    address: bytes = b"\n\0\2\x0f",
    file: bytes = b"",
    op: int = 2,
) -> bytes:
    """A server's answer, laid out as in RFC 2131, figure 1."""
    head = bytes((op, 1, 6, 0)) + xid + bytes(8) + address + bytes(8) + mac.ljust(16, b"\0")
    return head + bytes(64) + file.ljust(128, b"\0") + b"\x63\x82\x53\x63" + b"".join(options) + b"\xff"


ACK = ["5", "10.0.2.15", "255.255.255.0", "10.0.2.2", "0"]


@pytest.mark.tools
@pytest.mark.parametrize(
    ("packet", "words"),
    [
        (reply(*USUAL), ACK),
        (reply(option(53, 2), *USUAL[1:]), ["2", *ACK[1:]]),
        (
            reply(*USUAL, option(6, 1, 1, 1, 1, 8, 8, 8, 8, 9), option(26, 5, 170)),
            [*ACK[:4], "1450", "1.1.1.1", "8.8.8.8"],
        ),
        (reply(*USUAL, b"\0\0\0", option(6, 1, 1, 1, 1)), [*ACK, "1.1.1.1"]),
        (reply(*USUAL, option(52, 1), file=option(6, 1, 1, 1, 1)), [*ACK, "1.1.1.1"]),
        (reply(*USUAL)[:-1], ACK),
        (reply(option(53, 6)), ["6"]),
        (reply(*USUAL, option(1, 255, 0, 255, 0)), ["5", "10.0.2.15", "0.0.0.0", "10.0.2.2", "0"]),
        (reply(*USUAL, option(26, 0, 68)), ACK),
        (reply(*USUAL, option(52, 1), file=b"\x06\xff"), ["0"]),
        (reply(*USUAL, op=1), ["0"]),
        (reply(*USUAL, xid=b"\1\2\3\5"), ["0"]),
        (reply(*USUAL, mac=bytes(6)), ["0"]),
        (reply(*USUAL, address=bytes(4)), ["0"]),
        (reply(*USUAL, address=b"\x7f\0\0\1"), ["0"]),
        (reply(*USUAL, address=b"\xe0\0\0\1"), ["0"]),
        (reply(*USUAL[0:1]), ["0"]),
        (reply(*USUAL[1:]), ["0"]),
        (reply(*USUAL, b"\x06\x09\x01"), ["0"]),
        (reply(*USUAL)[:230], ["0"]),
        (b"", ["0"]),
    ],
)
def test_dhcp_answers(ask: Ask, packet: bytes, words: list[str]) -> None:
    assert words_of(ask("dhcp", [packet])[0]) == words


@pytest.mark.tools
@in_batches
@given(st.lists(st.binary(max_size=400), min_size=1, max_size=40), st.integers(0, 3), st.integers(0, 300))
def test_no_dhcp_answer_harms_the_reader(ask: Ask, tails: list[bytes], overload: int, cut: int) -> None:
    packets = [reply(*USUAL, option(52, overload), tail, file=tail[:128])[: 240 + cut + len(tail)] for tail in tails]
    assert len(ask("dhcp", packets)) == len(packets)


@pytest.mark.tools
def test_dhcp_questions(ask: Ask) -> None:
    discover, request = ask("ask", [b"", b"x"])
    assert len(discover) >= 300
    assert discover[:4] == b"\1\1\6\0" and discover[4:8] == XID and discover[28:34] == MAC
    assert discover[10:12] == b"\x80\0", "asks for a broadcast answer"
    assert option(53, 1) in discover and option(50, 10, 0, 2, 15) not in discover
    assert option(53, 3) in request and option(50, 10, 0, 2, 15) in request and option(54, 10, 0, 2, 2) in request


DISCOVER, OFFER, REQUEST, NAK = 1, 2, 3, 6
OURS, ANOTHER = (10, 0, 2, 2), (10, 0, 2, 3)


def of_server(kind: int, server: tuple[int, ...]) -> bytes:
    """An answer of that type, of that server."""
    return reply(option(53, kind), option(54, *server), *USUAL[2:])


@pytest.mark.tools
@pytest.mark.parametrize(
    ("question", "packets", "taken"),
    [
        (DISCOVER, [b"", of_server(5, OURS), of_server(OFFER, ANOTHER)], ["2", "10.0.2.3"]),
        (DISCOVER, [of_server(NAK, OURS), of_server(OFFER, OURS)], ["2", "10.0.2.2"]),
        (REQUEST, [of_server(OFFER, OURS), of_server(5, ANOTHER), of_server(5, OURS)], ["5", "10.0.2.2"]),
        (REQUEST, [of_server(5, ANOTHER)], ["0", "10.0.2.2"]),
        (REQUEST, [of_server(5, ANOTHER), of_server(NAK, OURS)], ["6", "10.0.2.2"]),
        (REQUEST, [reply(*USUAL, xid=b"\4\3\2\1"), reply(*USUAL)], ["5", "10.0.2.2"]),
    ],
)
def test_only_an_answer_that_fits_the_question_counts(
    ask: Ask, question: int, packets: list[bytes], taken: list[str]
) -> None:
    """A second server may answer late, and the first one twice."""
    waiting = b"".join(struct.pack("=H", len(packet)) + packet for packet in packets)
    assert words_of(ask("wait", [bytes((question,)) + waiting])[0]) == taken
