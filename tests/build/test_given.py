"""Variables and secrets of one start: what the application finds, and where they are not."""

import hashlib
from pathlib import Path

import pytest

from imagebuilder.build.walk import Build
from imagebuilder.bundle import Bundle
from imagebuilder.errors import InputError
from imagebuilder.events import silent
from imagebuilder.machine.accel import choose
from imagebuilder.machine.artefacts import write
from imagebuilder.machine.given import Given
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launch import Launch
from imagebuilder.machine.spec import MachineSpec, spec_of
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

pytestmark = [pytest.mark.vm, pytest.mark.network]
RECIPE = r"""
name = "vault"
version = "1"
summary = "Tells the sum of its secret."
[source]
type = "debian"
release = "bookworm"
packages = ["busybox-static"]
[[files]]
path = "/tell"
mode = "0755"
text = '''
#!/bin/busybox sh
bb=/bin/busybox
$bb sha256sum $CREDENTIALS_DIRECTORY/key
$bb wc -c $CREDENTIALS_DIRECTORY/empty
$bb stat -c "%a %u %n" $CREDENTIALS_DIRECTORY $CREDENTIALS_DIRECTORY/key
$bb echo "A=$A B=$B"
$bb cat /run/instance/environment /run/instance/user-data
'''
[[helper]]
command = ["/bin/busybox", "sh", "-c", "/bin/busybox ls /run/credentials; echo other; exec /bin/busybox sleep 99"]
user = "1001"
ready = { line = "other" }
[application]
command = "/tell"
user = "1000"
environment = { A = "recipe", B = "recipe" }
secrets = ["key"]
[root]
format = "FORMAT"
[ready]
exit = 0
"""
SECRET = b"s3cr3t-" + hashlib.sha256(b"ours").hexdigest().encode() * 20 + b"\n"
GIVEN = Given({"A": "one = 1 'x'"}, b"data", {"key": SECRET, "empty": b""})


def image(folder: Path, root: str = "initramfs") -> Bundle:
    """The built image."""
    app = folder / "vault"
    app.mkdir()
    (app / "recipe.toml").write_text(RECIPE.replace("'''\n#!", "'''#!").replace("FORMAT", root))
    return Build(load(app), Store(folder / "store"), silent).run(folder / "out")


def machine(bundle: Bundle, given: Given | None) -> MachineSpec:
    """Its machine."""
    return spec_of(bundle, accelerator=choose("tcg").accelerator, given=given)


@pytest.mark.parametrize("root", ["initramfs", "erofs"])
async def test_the_application_alone_reads_its_secrets(tmp_path: Path, root: str) -> None:
    bundle = image(tmp_path, root)
    async with Instance.start(machine(bundle, GIVEN)) as instance:
        command = Path(f"/proc/{instance.pid}/cmdline").read_bytes()
        assert (await instance.wait_exit()).ok, instance.console
        write(instance, tmp_path / "out" / "artefacts")
        lines = instance.console.splitlines()
    assert "ls: can't open '/run/credentials': Permission denied" in lines
    assert f"{hashlib.sha256(SECRET).hexdigest()}  /run/credentials/key" in lines
    assert "0 /run/credentials/empty" in lines
    assert "500 1000 /run/credentials" in lines and "400 1000 /run/credentials/key" in lines
    assert "A=one = 1 'x' B=recipe" in lines
    assert lines[-2:] == ["A=one = 1 'x'", "data"]
    # Neither QEMU's command line nor any file that is left has it, or what the variable says.
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name != "console.log"]
    assert {"image.json", "phases.json"} <= {path.name for path in left}
    for content in (command, *(path.read_bytes() for path in left), repr(instance.spec).encode()):
        assert SECRET[:32] not in content and SECRET[:32].hex().encode() not in content
        assert b"one = 1" not in content


async def test_a_secret_that_is_missing_is_told_before_anything_starts(tmp_path: Path) -> None:
    bundle = image(tmp_path)
    for given in (None, Given(secrets={"other": b"x"})):
        with pytest.raises(InputError, match=r"^vault needs the secret key, and it was not given") as caught:
            async with Instance.start(machine(bundle, given)):
                pass
        assert caught.value.hint == "imagebuilder run vault --secret key=FILE; test takes it too"
    with pytest.raises(InputError, match=r"^vault needs the secret key, which a template of it would keep"):
        async with Instance.start(machine(bundle, GIVEN), Launch.kept(tmp_path / "memory")):
            pass
