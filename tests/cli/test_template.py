"""``imagebuilder template`` and clones by ``run`` and ``bench``, as a user has them."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuilder.cache import held
from tests.cli.conftest import Cli
from tests.test_documents import TEMPLATE

WHO = Path(__file__).parent.parent / "machine" / "who"


@pytest.mark.tools
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("template", "rm"), "give a NAME or a KEY"),
        (("template", "rm", "nobody"), "there is no template of nobody"),
        (("template", "create", "nothing-of-this-name"), "there is no recipe of this name"),
        (("run", "app", "--env", "A=1", "--dry-run"), "stands on no command line to paste"),
        (("run", "app", "--from-template", "--env", "1A=1"), "is not NAME=VALUE"),
        (("run", "app", "--from-template", "--user-data", "gone"), "gone"),
        (("run", "app", "--from-template", "--dry-run"), "no command line to paste"),
    ],
)
def test_refused(cli: Cli, recipe: Path, words: tuple[str, ...], says: str) -> None:
    ran = cli(*words)
    assert ran.status == 2, ran
    assert says in " ".join(ran.err.split()) and "Traceback" not in ran.err, ran


@pytest.mark.tools
def test_a_damaged_one_hides_no_other(cli: Cli, tmp_path: Path) -> None:
    for name, document in {
        "deep": "[" * 100_000,
        "odd": json.dumps(TEMPLATE | {"ready": {"tcp": 80}}),
        "good": json.dumps(TEMPLATE | {"made": "[/markup]"}),
    }.items():
        (tmp_path / "cache/templates" / name).mkdir(parents=True)
        (tmp_path / "cache/templates" / name / "template.json").write_text(document)
    ran = cli("template", "list", env={"IMAGEBUILDER_CACHE": str(tmp_path / "cache")})
    assert (ran.status, "[/markup]" in ran.out, "Traceback" in ran.err) == (0, True, False), ran
    assert "2 templates (deep and 1 more) cannot be used" in ran.err, ran
    own = {"IMAGEBUILDER_CACHE": str(tmp_path / "cache")}
    assert cli("template", "rm", "--stale", env=own).status == 0
    assert "cannot be used" not in cli("template", "list", env=own).err


@pytest.mark.tools
def test_rm_says_as_json_what_is_gone(cli: Cli, tmp_path: Path) -> None:
    torn = tmp_path / "cache" / "templates" / "torn"
    torn.mkdir(parents=True)
    ran = cli("template", "rm", "--all", "--json", env={"IMAGEBUILDER_CACHE": str(tmp_path / "cache")})
    assert json.loads(ran.out) == [{"name": "torn", "key": "torn", "removed": True}] and not torn.exists(), ran
    torn.mkdir()
    with held(torn, fcntl.LOCK_SH):
        ran = cli("template", "rm", "--all", "--json", env={"IMAGEBUILDER_CACHE": str(tmp_path / "cache")})
    assert json.loads(ran.out) == [{"name": "torn", "key": "torn", "removed": False}], ran
    assert ran.status == 2 and "in use" in ran.err and cli("template", "rm", "--all").status == 0


@pytest.mark.vm
def test_from_create_to_rm(cli: Cli, cache: Path, tmp_path: Path) -> None:
    ran = cli("run", str(WHO), "--accel", "tcg", "--from-template")
    assert ran.status == 2 and "there is no template of who" in ran.err, ran
    assert "imagebuilder template create who" in ran.err
    ran = cli("template", "create", str(WHO), "--accel", "tcg", "--json")
    assert ran.status == 0, ran
    (made,) = json.loads(ran.out)
    assert made["schema"] == "imagebuilder.template/1" and made["bytes"] > 1 << 20
    assert (made["hook"], made["signal"], made["disks"]) == ("/usr/bin/hook", int(signal.SIGUSR1), ["scratch"])
    ran = cli("template", "list")
    assert ran.status == 0 and made["key"][:12] in ran.out, ran
    ran = cli("run", str(WHO), "--accel", "tcg", "--from-template", "--memory", "40")
    assert ran.status == 2 and "it is another machine" in ran.err and "--refresh-template" in ran.err, ran
    ran = cli("bench", str(WHO), "--accel", "tcg", "--template", "--runs", "3", "--json", "bench.json")
    assert ran.status == 0, ran
    cold, clone, copy = json.loads((tmp_path / "bench.json").read_text())["images"]
    assert (cold["name"], clone["name"], copy["name"]) == ("who", "who clone", "who copy")
    assert copy["startup"]["ready_ms"]["min"] < cold["startup"]["ready_ms"]["min"]
    assert clone["startup"]["ready_ms"]["min"] < cold["startup"]["ready_ms"]["min"]
    phases = {name: found["median"] for name, found in clone["startup"]["phases_ms"].items() if found}
    assert phases["kernel"] == phases["network"] == 0 < phases["handover"]
    assert sum(phases.values()) == pytest.approx(clone["startup"]["ready_ms"]["median"], rel=0.2)
    ran = cli("template", "rm", "--stale")
    assert ran.status == 0 and made["key"][:12] in cli("template", "list").out, ran
    used, torn = cache / "templates" / made["key"] / "used", cache / "templates" / "torn"
    torn.mkdir()
    os.utime(used, (0, 0))
    ran = cli("template", "rm", made["key"][:12], "--stale")
    assert ran.status == 0 and not used.parent.exists() and torn.exists(), ran
    assert cli("template", "rm", "--all").status == 0 and not torn.exists()
    assert json.loads(cli("template", "list", "--json").out) == []


@pytest.mark.vm
def test_a_clone_by_run(cache: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "data").write_bytes(b"for this one alone")
    words = ("run", str(WHO), "--accel", "tcg", "--refresh-template", "--port", f"{port}:7000")
    argv = [sys.executable, "-m", "imagebuilder", *words, "--env", "A=1", "--user-data", "data"]
    given = {**os.environ, "IMAGEBUILDER_CACHE": str(cache)}
    running = subprocess.Popen(argv, cwd=tmp_path, env=given, stdin=subprocess.DEVNULL)
    try:
        told = _told(port, running)
        assert told["environment"] == "A=1|"
        assert told["user_data"] == "for this one alone"
        assert told["hostname"].startswith("who-")
        running.send_signal(signal.SIGINT)
        assert running.wait(300) == 130, "ended as Ctrl-C ends any verb"
    finally:
        running.kill()
        running.wait()


def _told(port: int, running: "subprocess.Popen[bytes]") -> dict[str, str]:
    """What the application tells at the port, as soon as it does."""
    end_s = time.monotonic() + 300
    while time.monotonic() < end_s and running.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
                text = b"".join(iter(lambda: peer.recv(4096), b"")).decode()
        except OSError:
            time.sleep(0.1)
            continue
        if "end" in text:
            return dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
        time.sleep(0.1)
    raise AssertionError("the clone never answered")
