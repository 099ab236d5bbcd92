"""Boot tests as users write them, and images that fail in many ways: a sentence, the artefacts, nothing left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagebuilder.measure.phases import PHASES
from tests.app import CONSOLE, HTTP
from tests.cli.test_left_behind import processes
from tests.junit import validated

from .conftest import Run, Write

pytestmark = pytest.mark.vm

WEB = HTTP.format(timeout_s=120)
KEPT = {"console.log", "qmp-events.json", "qemu-stderr.log", "phases.json", "command.txt"}
GONE_S = 20.0


def gone(name: str) -> bool:
    """Whether no process has the name in its command line, or none has it soon."""
    until = time.monotonic() + GONE_S
    while processes(name) and time.monotonic() < until:
        time.sleep(0.05)
    return not processes(name)


def test_a_recipe_alone(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    more = "[budget]\nimage_bytes = 100\nguest_used_bytes = 30_000_000\nstartup_floors = 100_000\n"
    name = write("say=hello", "wait", more=more)
    result = run("app/recipe.toml", "--ib-runs=1", "--junitxml=report.xml")
    assert result.ret == 1
    result.assert_outcomes(passed=9, failed=1)
    result.stdout.fnmatch_lines([f"{name}: image_bytes is *, and at most 100 is promised"])
    suites = validated((pytester.path / "report.xml").read_bytes())
    assert len(list(suites.iter("testcase"))) == 10
    properties = {each.get("name"): each.get("value", "") for each in suites.iter("property")}
    assert float(properties[f"{name}.ready_ms"]) > float(properties[f"{name}.floor_ms"]) > 0
    assert properties["host.accelerator"] == "tcg"
    result.stdout.no_fnmatch_line("*Traceback*")


def test_tests_beside_a_recipe(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    name = write("http=200", ready=WEB)
    (pytester.path / "app" / "test_app.py").write_text(
        f"""
import pytest

def test_starting(instance_factory):
    running = instance_factory(ready=False)
    running.wait_started()
    known = [name for name, took in running.phases_ms.items() if took is not None]
    assert known[:7] == {list(PHASES)[:7]} and "answer" not in known and running.ready_ms is None

def test_image(image):
    assert image.image.name == {name!r} and image.root.is_file()

@pytest.mark.parametrize("machine", [{{"memory_mib": 40}}], indirect=True)
def test_instance(instance, probe, machine):
    assert machine.memory_mib == instance.spec.memory_mib == 40
    assert list(instance.phases_ms) == {list(PHASES)} and instance.phases_ms["answer"] is not None
    assert abs(sum(instance.phases_ms.values()) - instance.ready_ms) < 1
    assert instance.guest_memory().total_bytes < 40 << 20 and instance.host_memory().rss_bytes > 0
    answer = probe.get("/")
    assert (answer.status, answer.text) == (200, "It works\\n")
    assert probe.tcp(b"GET /\\r\\n\\r\\n", until=b"\\r\\n") == b"HTTP/1.1 200 Told\\r\\n"

def test_two_at_once(instance_factory):
    one, two = instance_factory(), instance_factory(machine={{"memory_mib": 36}})
    assert one.host_port(80) != two.host_port(80) and two.spec.memory_mib == 36
    found = one.terminate()
    assert found.signal == 15 and two.wait_ready() > two.ready_ms

def test_clones(instance_factory):
    one, two = instance_factory(template=True), instance_factory(template=True)
    assert one.host_port(80) != two.host_port(80)
    assert one.phases_ms["kernel"] == 0 < one.phases_ms["handover"]
    assert two.wait_ready() > two.ready_ms
"""
    )
    result = run("app")
    assert result.ret == 0, result.outlines
    result.assert_outcomes(passed=5)
    assert gone(name) and not (pytester.path / "out" / "artefacts").exists()


def test_what_is_measured_is_the_machine_of_the_test(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    write("say=hello", "wait")
    (pytester.path / "app" / "test_app.py").write_text(
        """
import pytest

@pytest.mark.parametrize("machine", [{}, {"cpus": 1}], indirect=True)
def test_figures(figures, machine):
    assert figures.startup is not None
    assert (figures.machine.memory_mib, figures.machine.cpus) == (40, machine.cpus)
"""
    )
    result = run("app", "--ib-runs=1", "--ib-memory=40", "--ib-cpus=2", "--ib-json=report.json")
    assert result.ret == 0, result.outlines
    images = json.loads((pytester.path / "report.json").read_text())["images"]
    assert [image["machine"]["cpus"] for image in images] == [2, 1]


@pytest.mark.parametrize(
    ("words", "ready", "more", "sentence"),
    [
        (("say=here", "wait"), CONSOLE.replace("120", "5"), "", "was not ready within 5 s: no line of the console"),
        (
            ("say=why", "exit=3"),
            CONSOLE,
            "",
            "the application started and exited with status 3 before it was ready (the console ends with: why)",
        ),
        (("exit=0",), CONSOLE, '[kernel]\ncmdline = "rdinit=/usr/bin/app"\n', "the guest's kernel panicked: Attempted"),
        (("reboot", "wait"), CONSOLE, "", "the machine powered off while the application ran, before it was ready"),
    ],
    ids=["never ready", "exits at once", "panics", "reboots"],
)
def test_images_that_fail(
    write: Write, run: Run, pytester: pytest.Pytester, words: tuple[str, ...], ready: str, more: str, sentence: str
) -> None:
    name = write(*words, ready=ready, more=more)
    result = run("app/recipe.toml", "-k", "gets_ready")
    assert result.ret == 1
    result.assert_outcomes(failed=1, deselected=6)
    result.stdout.fnmatch_lines([f"{name}*{sentence}*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    folder = pytester.path / "out" / "artefacts" / "app-recipe.toml-gets_ready"
    result.stdout.fnmatch_lines([f"artefacts: {folder} (*)", "by hand: qemu-system-x86_64 *", "phases so far: *"])
    assert {path.name for path in folder.iterdir()} == KEPT
    assert list(json.loads((folder / "phases.json").read_text()))[:2] == ["spawned", "greeting"]
    if "exit=3" in words:
        assert "why" in (folder / "console.log").read_text()
    assert gone(name)


@pytest.mark.parametrize(("status", "good"), [(0, True), (143, True), (130, False), (1, False)])
def test_asked_to_end(write: Write, run: Run, status: int, good: bool) -> None:
    """128 + SIGTERM is what a JVM that ended by it says; 128 + another signal is not what asked it."""
    write(f"term={status}", "say=hello", "wait")
    result = run("app/recipe.toml", "-k", "powers_off")
    result.assert_outcomes(passed=int(good), failed=int(not good), deselected=6)
    if not good:
        result.stdout.fnmatch_lines([f"*exited with status {status}, where status 0 was expected"])


def test_a_machine_that_qemu_refuses(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    """Its root does not fit into its memory: a broken promise, with what there is to see; no word of the library that
    talks to QEMU."""
    name = write(
        "say=hello", "wait", more='[[files]]\npath = "/large"\nsource = "large"\n[root]\nformat = "initramfs"\n'
    )
    (pytester.path / "app" / "large").write_bytes(os.urandom(8 << 20))
    result = run("app/recipe.toml", "-k", "boots", "--ib-memory=5")
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"{name}: its root (*MiB) does not fit into a machine of 5 MiB (give it more: *"])
    folder = pytester.path / "out" / "artefacts" / "app-recipe.toml-boots"
    result.stdout.fnmatch_lines(
        [f"artefacts: {folder} (command.txt, qemu-stderr.log)", "by hand: qemu-system-x86_64 *"]
    )
    for word in ("*Traceback*", "*qmp*", "*not connected*"):
        result.stdout.no_fnmatch_line(word)


def test_a_server_that_answers_with_another_status(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    name = write("http=500", ready=WEB)
    (pytester.path / "app" / "test_app.py").write_text(
        "from imagebuilder.recipe.model import Http, Ready\n"
        "def test_it(instance_factory):\n"
        "    running = instance_factory(ready=False)\n"
        "    running.wait_ready(Ready(http=Http(port=80, status=500)), timeout_s=120)\n"
        "    running.wait_ready(timeout_s=3)\n"
    )
    result = run("app")
    assert result.ret == 1
    sentence = f"E *NotReady: {name} was not ready within 3 s: port 80 answered with HTTP status 500 instead of 200*"
    result.stdout.fnmatch_lines([sentence, "artefacts: *"])
    assert gone(name)


def test_the_command_line_that_is_left_repeats_the_boot(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    write("say=goodbye", "exit=3")
    result = run("app/recipe.toml", "-k", "gets_ready", "--ib-artefacts=left")
    assert result.ret == 1
    line = (pytester.path / "left" / "app-recipe.toml-gets_ready" / "command.txt").read_text()
    argv = ["sh", "-c", f"exec timeout 120 {line}"]
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert "goodbye" in done.stdout, (line, done)


def test_a_qemu_that_is_killed_from_outside(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    name = write("http=200", ready=WEB)
    (pytester.path / "app" / "test_app.py").write_text(
        "import os, signal\n"
        "def test_it(instance):\n"
        "    os.kill(instance.pid, signal.SIGKILL)\n"
        "    instance.wait_ready()\n"
    )
    result = run("app")
    assert result.ret == 1
    sentence = f"E *GuestFailed: {name}: QEMU was ended by SIGKILL before it was ready*"
    result.stdout.fnmatch_lines([sentence, "artefacts: *"])
    assert gone(name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_session_that_is_ended_leaves_nothing(
    write: Write, run: Run, pytester: pytest.Pytester, number: signal.Signals
) -> None:
    name = write("http=200", ready=WEB)
    (pytester.path / "app" / "test_app.py").write_text(
        "import pathlib, time\ndef test_it(instance, image):\n    pathlib.Path('there').touch()\n    time.sleep(600)\n"
    )
    argv = [sys.executable, "-m", "pytest", "--ib-accel=tcg", "app"]
    session = subprocess.Popen(argv, cwd=pytester.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (pytester.path / "there").exists() and session.poll() is None:
            time.sleep(0.05)
        assert processes(name)
        session.send_signal(number)
        session.wait(timeout=120)
    finally:
        session.kill()
    assert gone(name)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_console_that_is_flooded(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    """100 MB, of which the beginning and the end are kept."""
    name = write("say=first", "flood=100", "say=last", "exit=3", ready='console = "^never"\ntimeout_s = 3000')
    result = run("app/recipe.toml", "-k", "gets_ready", timeout_s=3600)
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"{name}: the application started and exited with status 3 before it was ready*"])
    console = (pytester.path / "out" / "artefacts" / "app-recipe.toml-gets_ready" / "console.log").read_text()
    assert console.startswith("first") and "last" in console[-200:] and "bytes left out" in console
    assert len(console) < 1 << 20 and gone(name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thirty_boots_by_two_workers(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    name = write("http=200", ready=WEB, more="[budget]\nimage_bytes = 100\n")
    (pytester.path / "app" / "test_app.py").write_text(
        "import pytest\n@pytest.mark.parametrize('number', range(30))\n"
        "def test_it(probe, instance, number):\n"
        "    print('port', instance.host_port(80))\n"
        "    assert probe.get('/').status == 200\n"
    )
    result = run("app", "app/recipe.toml", "-n2", "--junitxml=report.xml", "--ib-runs=1", timeout_s=1800)
    assert result.ret == 1
    result.assert_outcomes(passed=37, failed=1)  # nothing is as small as 100 bytes
    suites = validated((pytester.path / "report.xml").read_bytes())
    assert len(list(suites.iter("testcase"))) == 38
    assert gone(name)
    assert not [path for path in (Path(os.environ["IMAGEBUILDER_CACHE"]) / "scratch").iterdir() if path.is_dir()]


def test_processors_are_those_that_were_asked_for(write: Write, run: Run, pytester: pytest.Pytester) -> None:
    write("cpus", "say=hello", "wait")
    (pytester.path / "app" / "test_app.py").write_text(
        """
import pytest

@pytest.mark.parametrize("machine", [{"cpus": 2}], indirect=True)
def test_two(instance, instance_factory):
    assert "runs on 2" in instance.console
    assert "runs on 1" in instance_factory(machine={"cpus": 1}).console

@pytest.mark.parametrize("machine", [{"memory": 32}, {"cpus": 0}], indirect=True)
def test_none(instance):
    pass
"""
    )
    result = run("app/test_app.py")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*machine: 'memory' is not known: there are accelerator, memory_mib, cpus*"])
    result.stdout.fnmatch_lines(["*machine: cpus is 0, and a number from 1 on is expected*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result = run("app/recipe.toml", "--ib-cpus=2", "--ib-runs=1")
    result.assert_outcomes(passed=7)
    assert run("app", "--ib-cpus=0").ret == 4
