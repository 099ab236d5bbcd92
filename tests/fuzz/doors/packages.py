"""What comes out of an archive of packages."""

import gzip
import json
import lzma
from io import BytesIO
from pathlib import Path

from imagebuilder.closure import binding
from imagebuilder.closure.slimming import slim
from imagebuilder.errors import ToolFailed
from imagebuilder.sources import archives, deb
from imagebuilder.sources.apt_says import explain, unusable
from imagebuilder.sources.layer import Layer
from imagebuilder.sources.maintainer import Control, Setup, set_up
from imagebuilder.tree import Blob, Tree, file
from tests.closure.elves import elf, program
from tests.closure.trees import BASE
from tests.fuzz.doors.door import Door, is_sentence
from tests.sources.test_deb import GOOD as MEMBERS
from tests.sources.test_deb import ar, tar

SCRIPT = rb"""set -e
. /usr/share/debconf/confmodule
case "$1" in configure|abort-*)
  if ! getent passwd app >/dev/null 2>&1; then adduser --system --group --home /var/lib/app app || true; fi
  for f in /etc/a "/etc/b"; do chown app:adm $f; chmod 0640 "$f"; done
  update-alternatives --install /usr/bin/y y /usr/bin/x 10 --slave /usr/share/man/y y.1 /usr/bin/x
  cat > /etc/app.conf <<EOF
name=${NAME:-app}
EOF
  install -d -m 755 -o app /var/lib/app; ln -sf /usr/bin/x /usr/bin/z; mkdir -p /var/log/app
;; *) echo "unknown $1" >&2; exit 1 ;; esac
x=$(dpkg-statoverride --list /x) && while [ $# -gt 0 ]; do shift; done
"""
ACCOUNTS = b"""\
root:*:0:0:root:/root:/bin/bash
www-data:*:33:33:www-data:/var/www:/usr/sbin/nologin
u third 500:fixed "A third" /home
g fourth -
m third adm
d /run/app 0755 app app -
L+ /etc/mtab - - - - ../proc/mounts
Template: app/x
Default: yes
"""
APT = b"""\
deb [signed-by=/usr/share/keyrings/a.gpg arch=amd64] http://archive.example/debian bookworm-updates main contrib
Types: deb
URIs: http://archive.example/debian
Suites: bookworm bookworm-security
Components: main
Enabled: yes
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .

"""
APT_SAYS = (
    b"E: The repository 'http://a/debian bookworm Release' is not signed.\n",
    b"W: GPG error: http://a bookworm InRelease: BADSIG 1\nE: Failed to fetch http://a/x.deb 404 Not Found\n",
    b"E: Version '1' for 'nginx' was not found\nE: Package 'a' has no installation candidate\n",
)
PACKAGES = tuple(
    ar({"debian-binary": b"2.0\n", f"control.tar{end}": pack(tar(MEMBERS)), f"data.tar{end}": pack(tar(MEMBERS))})
    for end, pack in ((".xz", lzma.compress), (".gz", gzip.compress), ("", bytes))
)
ELVES = (program("libc.so.6"), elf("libc.so.6", runpath="$ORIGIN/../lib"), b"#!/usr/bin/env app\n/usr/bin/env\n")


def _package(data: bytes, _folder: Path) -> None:
    deb.read_control(BytesIO(data), "odd.deb")
    Tree(deb.read(BytesIO(data), "odd.deb", Blob.of_content))


def _members(data: bytes, folder: Path) -> None:
    _package(ar({"control.tar": data, "data.tar": data}), folder)


def _script(data: bytes, _folder: Path) -> None:
    text = data.decode(errors="surrogateescape")
    files = {
        "/usr/bin/x": file(b"x"),
        "/usr/lib/sysusers.d/a.conf": file(data),
        "/usr/lib/tmpfiles.d/a.conf": file(data),
    }
    files |= {f"/usr/share/base-passwd/{name}.master": file(data) for name in ("passwd", "group")}
    _, _, setup = set_up(Tree(files), {}, {"odd": Control(f"#!/bin/sh\n{text}", templates=text)})
    assert Setup.load(json.loads(json.dumps(setup.describe()))) == setup


def _archives(data: bytes, folder: Path) -> None:
    (folder / "sources.list.d").mkdir()
    (folder / "sources.list").write_bytes(data)
    (folder / "sources.list.d/a.sources").write_bytes(data)
    archives.sources_list(archives.stanzas_for("bookworm", archives.read(folder)))


def _apt_says(data: bytes, _folder: Path) -> None:
    said = data.decode(errors="replace")
    unusable(said)
    assert is_sentence(explain(ToolFailed("apt-get failed", status=100, stderr=said), "bookworm"))


def _elf(data: bytes, _folder: Path) -> None:
    nodes = {
        **BASE,
        "/usr/bin/env": file(program("libc.so.6"), mode=0o755),
        "/usr/bin/app": file(data, mode=0o755),
        "/etc/ld.so.conf": file(data[-200:]),
    }
    slimmed = slim([Layer(Tree(nodes), slim=True)], roots=["/usr/bin/app"], include=[], exclude=[])
    binding.bound(slimmed.tree, {})


ROWS = (
    Door("package", "a .deb: ar, control, data", _package, PACKAGES),
    Door("members", "the tar archives of a .deb", _members, (tar(MEMBERS),)),
    Door("script", "maintainer scripts, accounts, debconf's templates", _script, (SCRIPT, ACCOUNTS)),
    Door("archives", "apt's sources.list and *.sources", _archives, (APT,)),
    Door("apt", "what apt says", _apt_says, APT_SAYS),
    Door("elf", "ELF files and scripts of an image, ld.so.conf", _elf, ELVES),
)
