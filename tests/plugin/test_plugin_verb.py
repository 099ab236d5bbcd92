"""``imagebuilder test``, as a user types it: pytest runs the tests, and what was measured is shown at the end."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from imagebuilder import pytest_plugin
from imagebuilder.cli import test as verb
from imagebuilder.measure import image, report
from tests.app import CONSOLE, HTTP, OTHERS
from tests.cli.test_left_behind import processes
from tests.junit import validated

from .conftest import Write

pytestmark = pytest.mark.tools

GENERATED = ["builds", "boots", "gets_ready", "answers", "powers_off_with_status_0", "starts_every_time"]
TOO_SMALL = "[budget]\nimage_bytes = 100\nstartup_floors = 100_000\n"
WEB = HTTP.format(timeout_s=120)
GONE_S = 20.0
SHOWN = r"GET http://127.0.0.1:\d+/ → 200.*It works.*median of 2.*× the floor.*✗ │ image"


def argv(*words: str) -> list[str]:
    return [sys.executable, "-m", "imagebuilder", "test", "app", "--accel", "tcg", *words]


def environment(cache: Path, **env: str) -> dict[str, str]:
    return {**os.environ, "IMAGEBUILDER_CACHE": str(cache), "PYTEST_ADDOPTS": OTHERS, **env}


def imagebuilder_test(folder: Path, cache: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    given = environment(cache, **env)
    return subprocess.run(argv(*words), cwd=folder, env=given, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def lines(done: subprocess.CompletedProcess[str]) -> list[tuple[str, str]]:
    """The mark and the name of each test."""
    return re.findall(r"^([✓✗–]) app +(\S+)", done.stdout, re.MULTILINE)


def test_the_number_of_starts_is_the_same_everywhere() -> None:
    adds = inspect.getsource(pytest_plugin.pytest_addoption)
    assert verb.RUNS == image.RUNS and f'"--ib-runs", type=_positive, default={verb.RUNS},' in adds


@pytest.mark.vm
def test_the_answer_of_a_tcp_recipe_is_what_came_over_tcp(write: Write, pytester: pytest.Pytester, cache: Path) -> None:
    ready = 'tcp = { port = 80, send = "PING", expect = "It works" }\ntimeout_s = 120'
    write("say=on the console", "http=200", ready=ready)
    done = imagebuilder_test(pytester.path, cache, "--show-answer", "--", "-k", "answers", COLUMNS="200")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"TCP 127\.0\.0\.1:\d+, sent 'PING'.*HTTP/1\.1 200 Told.*It works", done.stdout, re.DOTALL)
    assert "on the console" not in done.stdout


@pytest.mark.vm
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_all_that_the_verb_gives(
    write: Write, pytester: pytest.Pytester, cache: Path, workers: tuple[str, ...]
) -> None:
    name = write("http=200", ready=WEB, more=TOO_SMALL)
    (pytester.path / "app" / "test_more.py").write_text("def test_page(probe): assert probe.get('/').status == 200")
    wanted = ("--runs=2", "--json=r.json", "--junit=r.xml", "--show-answer", "--", *workers)
    done = imagebuilder_test(pytester.path, cache, *wanted)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr, done
    expected = [("✓", test) for test in GENERATED]
    expected += [("✗", "keeps[image_bytes]"), ("✓", "keeps[startup_floors]"), ("✓", "same_bytes_twice")]
    assert sorted(lines(done)) == sorted([*expected, ("✓", "test_more.py::test_page")]), done.stdout
    if not workers:
        assert lines(done)[:-1] == expected
    assert f"{name}: image_bytes is" in done.stdout and "1 failed, 9 passed" in done.stdout, done.stdout
    after = done.stdout.partition("1 failed, 9 passed")[2]
    assert re.search(
        r"GET http://127.0.0.1:\d+/ → 200.*It works.*median of 2.*× the floor.*✗ │ image", after, re.DOTALL
    )
    document = json.loads((pytester.path / "r.json").read_text())
    jsonschema.validate(document, report.json_schema())
    (measured,) = report.parse(document).images
    assert [check.holds for check in measured.checks] == [True, True, True]
    assert measured.startup is not None and len(measured.startup.ready_ms.samples) == 2
    suites = validated((pytester.path / "r.xml").read_bytes())
    assert len(list(suites.iter("testcase"))) == 10
    ready = next(each.get("value") for each in suites.iter("property") if each.get("name") == f"{name}.ready_ms")
    assert float(ready or 0) == pytest.approx(measured.startup.ready_ms.median)
    assert not (pytester.path / ".pytest_cache").exists() and not processes(name)


@pytest.mark.vm
def test_what_was_measured_is_shown_where_junit_cannot_be_written(
    write: Write, pytester: pytest.Pytester, cache: Path
) -> None:
    write("say=hello")
    words = ("--runs=1", "--junit=/dev/full", "--", "-k", "starts_every_time")
    done = imagebuilder_test(pytester.path, cache, *words)
    assert done.returncode == 2 and "/dev/full cannot be written: No space left on device" in done.stderr, done
    assert "median of 1" in done.stdout, done


@pytest.mark.vm
def test_what_goes_wrong_is_told_once(write: Write, pytester: pytest.Pytester, cache: Path) -> None:
    name = write("say=here", "wait", ready=CONSOLE.replace("120", "3"), more=TOO_SMALL)
    done = imagebuilder_test(pytester.path, cache, "--json=r.json")
    assert done.returncode == 1, done
    broken = {test: mark for mark, test in lines(done)}
    assert [test for test, mark in broken.items() if mark == "✗"] == ["gets_ready"], done.stdout
    assert [test for test, mark in broken.items() if mark == "✓"] == ["builds", "boots"], done.stdout
    folder = pytester.path / "out" / "artefacts" / "app-recipe.toml-gets_ready"
    assert f"artefacts: {folder}" in done.stdout and "by hand: qemu-system-x86_64" in done.stdout
    (measured,) = report.load(pytester.path / "r.json").images
    assert (measured.name, [check.holds for check in measured.checks]) == (name, [True, True, False])
    assert "was not ready within 3 s" in str(measured.checks[2].message) and measured.bytes


@pytest.mark.vm
def test_some_of_the_tests(write: Write, pytester: pytest.Pytester, cache: Path) -> None:
    write("say=hello")
    done = imagebuilder_test(pytester.path, cache, "--json=r.json", "--", "-k", "answers or powers_off")
    assert lines(done) == [("✓", "answers"), ("✓", "powers_off_with_status_0")], done
    assert done.returncode == 2 and "r.json was not written: no test that measures an image was run" in done.stdout
    assert not (pytester.path / "r.json").exists()
    done = imagebuilder_test(pytester.path, cache, "-q", "--", "-k", "boots")
    assert (done.returncode, lines(done), done.stderr) == (0, [("✓", "boots")], ""), done
    done = imagebuilder_test(pytester.path, cache, "--", "-k", "boots", "-v", "-v")
    assert done.returncode == 0 and re.search(r"app/recipe.toml::boots PASSED", done.stdout), done


def test_whoever_has_pytest_alone_can_test_what_ships(tmp_path: Path, cache: Path) -> None:
    """Nothing of what our own tests are set up with is asked for, in this repository either."""
    given = environment(cache, PYTEST_ADDOPTS="", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    words = [sys.executable, "-m", "imagebuilder", "test", "hello", "--accel", "tcg", "--", "--collect-only"]
    done = subprocess.run(words, cwd=tmp_path, env=given, capture_output=True, text=True)
    assert done.returncode == 0 and "hello/recipe.toml::starts_every_time" in done.stdout, done


def test_a_project_without_settings_for_asyncio_is_not_told_about_them(
    write: Write, pytester: pytest.Pytester, cache: Path
) -> None:
    write("say=hello")
    pytester.makeini("[pytest]\naddopts = -ra\n")
    given = environment(cache, PYTEST_ADDOPTS="-p pytest_asyncio.plugin", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    words = [sys.executable, "-m", "imagebuilder", "test", "app", "--accel", "tcg", "--", "--collect-only"]
    done = subprocess.run(words, cwd=pytester.path, env=given, capture_output=True, text=True)
    assert done.returncode == 0 and "asyncio_default_fixture_loop_scope" not in done.stderr, done


@pytest.mark.vm
def test_kernels(write: Write, pytester: pytest.Pytester, cache: Path) -> None:
    write("say=hello", more='[kernel]\nname = "micro"\n')
    words = ("--kernel=micro", "--runs=1", "--json=r.json", "--memory=40", "--", "-k", "starts_every_time")
    done = imagebuilder_test(pytester.path, cache, *words)
    assert done.returncode == 0 and lines(done) == [("✓", "starts_every_time[micro]")], done
    (measured,) = report.load(pytester.path / "r.json").images
    assert measured.machine is not None and (measured.kernel, measured.machine.memory_mib) == ("micro", 40)


@pytest.mark.vm
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_ended(write: Write, pytester: pytest.Pytester, cache: Path, number: int, status: int) -> None:
    name = write("http=200", ready=WEB)
    (pytester.path / "app" / "test_more.py").write_text(
        "import pathlib, time\ndef test_it(instance, image):\n    pathlib.Path('there').touch()\n    time.sleep(600)\n"
    )
    words, given = argv("--", "-k", "test_it"), environment(cache)
    run = subprocess.Popen(words, cwd=pytester.path, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not (pytester.path / "there").exists() and run.poll() is None:
            time.sleep(0.05)
        run.send_signal(number)
        _, said = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode == status and b"Traceback" not in said, said
    until = time.monotonic() + GONE_S
    while processes(name) and time.monotonic() < until:
        time.sleep(0.05)
    assert not processes(name)


@pytest.mark.parametrize(
    ("words", "env", "status", "sentence"),
    [
        (("--", "-k", "boots"), {"PATH": "/nonexistent"}, 3, "qemu-system-x86_64 is needed and not installed"),
        (("--json", "nowhere/r.json"), {}, 2, "nowhere/r.json cannot be written"),
        (("--junit", "nowhere/r.xml"), {}, 2, "nowhere/r.xml cannot be written"),
        (("--kernel", "macro"), {}, 2, "micro"),
        (("--runs", "0"), {}, 2, "--runs"),
        (("--out", "/proc/out"), {}, 2, "cannot be written: No such file or directory"),
        (("--", "--nonsense"), {}, 2, "unrecognized arguments: --nonsense"),
        (("--", "-k", "nothing_like_it"), {}, 2, "deselected"),
        ((), {"PYTHONPATH": "without"}, 3, "pip install pytest"),
    ],
    ids=["no QEMU", "JSON", "JUnit", "kernel", "runs", "out", "words", "no test", "no pytest"],
)
def test_bad_input(
    write: Write,
    pytester: pytest.Pytester,
    cache: Path,
    words: tuple[str, ...],
    env: dict[str, str],
    status: int,
    sentence: str,
) -> None:
    write("say=hello")
    (pytester.mkdir("without") / "pytest.py").write_text("raise ImportError")
    done = imagebuilder_test(pytester.path, cache, *words, **env)
    assert done.returncode == status, done
    assert sentence in done.stdout + done.stderr and "Traceback" not in done.stdout + done.stderr, done


def test_an_image_that_cannot_be_built(write: Write, pytester: pytest.Pytester, cache: Path) -> None:
    name = write("say=hello", more=TOO_SMALL)
    recipe = pytester.path / "app" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"/usr/bin/app"', '"/usr/bin/ap"'))
    done = imagebuilder_test(pytester.path, cache, "--json=r.json")
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr, done
    assert [mark for mark, _ in lines(done)] == ["✗", *"––––––––"] and done.stdout.count("did you mean") >= 2, done
    (measured,) = report.load(pytester.path / "r.json").images
    assert (measured.name, [check.holds for check in measured.checks]) == (name, [False, None, None])
