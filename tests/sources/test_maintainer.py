"""What maintainer scripts would make: read, followed and made from the tree, never run."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder import process
from imagebuilder.sources.maintainer import Control, Setup, certificates, joined, set_up
from imagebuilder.sources.maintainer.accounts import FIRST, LAST, usual_number
from imagebuilder.sources.maintainer.capabilities import encoded
from imagebuilder.sources.maintainer.reader import Unreadable, parse
from imagebuilder.sources.maintainer.shell import UNKNOWN, Did, Status, follow
from imagebuilder.tree import Kind, Node, Tree, directory, file, symlink
from tests.examples import examples

MASTERS = {
    "/usr/share/base-passwd/passwd.master": file(b"root:*:0:0::/root:/bin/bash\nwww-data:*:33:33::/var/www:/x\n"),
    "/usr/share/base-passwd/group.master": file(b"root:*:0:\nadm:*:4:\nwww-data:*:33:\nnogroup:*:65534:\n"),
}


class Listener:
    """A host that answers what it is told to, and remembers what was done."""

    def __init__(self, **statuses: Status) -> None:
        self.statuses, self.did = statuses, list[Did]()

    def run(self, did: Did) -> Status:
        self.did.append(did)
        return self.statuses.get(did.words[0])

    def output(self, words: Sequence[str]) -> str:
        return "said" if words[0] == "say" else UNKNOWN

    def test(self, operator: str, path: str) -> Status:
        return path.startswith("/there")


def done(script: str, **statuses: Status) -> list[str]:
    """The commands that a script comes to; those in doubt with a question mark."""
    listener = Listener(**statuses)
    follow(script, listener)
    return [" ".join(did.words) + ("?" if did.doubtful else "") for did in listener.did]


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        ('if [ "$1" = configure ]; then a; else b; fi', ["a"]),
        ('if [ -n "$2" ]; then upgrade; elif [ -z "$2" ]; then first; fi', ["first"]),
        ('case "$1" in configure|x) a;; *) b;; esac', ["a"]),
        ("for each in one two; do a $each \\\n  --last; done", ["a one --last", "a two --last"]),
        ("X='one two'; a $X \"$X\" ${X%% *} ${Y:-usual} pre${X}post", ["a one two one two one usual preone twopost"]),
        ("f() { a $1; return 0; b; }; f one && c", ["a one", "c"]),
        ("a <<EOF\ntext with 'quotes\nEOF\nb", ["a", "b"]),
        ("if unknown; then a; exit 1; else b; fi; c", ["unknown", "a?", "b?", "c"]),
        ("false || a; true && b; ! false && c", ["a", "b", "c"]),
        ("if [ -e /there/x ] && [ ! -d /none ]; then a; fi; exit 0; b", ["a"]),
        ("a $(say) $(other) | b # comment", [f"a said {UNKNOWN}", "b"]),
        ("exec >/dev/null 2>&1; { a; (b); } >/dev/null", ["exec", "a", "b"]),
        ("set -- x y; while [ $# -gt 0 ]; do a $1; shift; done; a \"$@\"", ["a x?", "a y"]),
    ],
)  # fmt: skip
def test_scripts_are_followed(script: str, commands: list[str]) -> None:
    assert done(script) == commands


@pytest.mark.parametrize(
    "script",
    [
        "if",
        "a )",
        "'",
        '"',
        "$(",
        "case x in",
        "for",
        "a <<",
        "${",
        "(" * 100,
        "f() " * 100,
        '"$(' * 1000,
        "a" * (1 << 19),
    ],
)
def test_what_cannot_be_read_is_said(script: str) -> None:
    with pytest.raises(Unreadable):
        parse(script)


@pytest.mark.parametrize(
    "script",
    [
        "f() { f; f; }; f",
        "for a in 1 2 3 4 5 6 7 8 9; do\n" * 12 + "x\n" + "done\n" * 12,
        "a=x\n" + "a=$a$a\n" * 1000 + "x $a",
        "while true; do x; done",
        'case aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa in ' + "*a" * 200 + "b) x;; esac",
        "x=" + "a" * 900 + "; y ${x%%" + "*a" * 50 + "b}",
    ],
)  # fmt: skip
def test_hostile_scripts_end_soon(script: str) -> None:
    started = time.process_time()
    done(script)
    assert time.process_time() - started < 5


SIGNS = "\n ;&|()'\"$`\\{}<>#!=@*/"
WORDS = ("if ", "then ", "fi", "case ", "in ", "esac", ";;", "for ", "do ", "done", "<<E", "\nE\n", "$(", "${a:-", "x")
COMMANDS = ("chmod ", "chown a:b ", "adduser --system ", "/etc/x", " > ", "update-alternatives --install ")
PIECES = st.sampled_from([*SIGNS, *WORDS, *COMMANDS])


@settings(max_examples=examples(150), deadline=2000)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=60).map("".join)))
def test_any_script_is_followed_or_named(script: str) -> None:
    tree = Tree({**MASTERS, "/usr/bin/x": file(b"")})
    whole, _, setup = set_up(tree, {}, {"odd": Control(f"#!/bin/sh\n{script}")})
    assert set(tree) <= set(whole)
    assert Setup.load(setup.describe()) == setup


# What is made of it


def made(script: str, files: dict[str, Node] | None = None, **more: str) -> tuple[Tree, Setup]:
    """The tree and the setup of one package."""
    tree = Tree({**MASTERS, "/usr/bin/tool": file(b"tool", mode=0o755), **(files or {})})
    whole, origins, setup = set_up(tree, {}, {"pack": Control(f"#!/bin/sh\nset -e\n{script}", **more)})
    assert set(origins.values()) <= {"pack", "ca-certificates", ""}
    return whole, setup


ALTERNATIVES = """
for name in tool other; do
    update-alternatives \\
        --install \\
        /usr/bin/$name-link $name \\
        /usr/bin/$name 10 \\
        --slave /usr/share/man/$name $name.1 /usr/share/doc/tool
done
update-alternatives --install /usr/bin/tool-link tool /usr/bin/better 20
update-alternatives --install /usr/bin/tool-link tool /usr/bin/best-but-absent 99
update-alternatives --install /usr/bin/real real /usr/bin/tool 5
"""


@pytest.mark.parametrize("number", ["²", "9" * 5000, "99999999999", "--5"])
def test_numbers_that_are_none(number: str) -> None:
    script = f"shift {number}\nif [ {number} -gt 1 ]; then :; fi\nchown {number}:{number} /usr/bin/tool\n"
    script += f"update-alternatives --install /usr/bin/y y /usr/bin/tool {number}\n"
    tree, setup = made(script, {"/usr/share/base-passwd/passwd.master": file(f"odd:*:{number}:{number}:::\n".encode())})
    assert (tree["/usr/bin/tool"].uid, setup.alternatives) == (0, ())
    assert "odd" not in {user.name for user in setup.users}


def test_alternatives_of_the_highest_priority() -> None:
    files = {"/usr/bin/better": file(b"b"), "/usr/bin/real": file(b"r"), "/usr/share/doc/tool": file(b"")}
    tree, setup = made(ALTERNATIVES, files)
    assert tree["/usr/bin/tool-link"] == symlink("/etc/alternatives/tool")
    assert tree["/etc/alternatives/tool"] == symlink("/usr/bin/better")
    assert "/usr/share/man/tool" not in tree  # of the offer that was not taken
    assert tree["/usr/bin/real"].kind is Kind.FILE
    assert [(offer.link, offer.target) for offer in setup.alternatives] == [("/usr/bin/tool-link", "/usr/bin/better")]
    del files["/usr/bin/better"]
    tree, _ = made(ALTERNATIVES, files)
    assert tree["/etc/alternatives/tool"] == symlink("/usr/bin/tool")
    assert tree.resolve("/usr/share/man/tool") == "/usr/share/doc/tool"


ACCOUNTS = """
adduser --system --quiet --group --home /var/lib/app --gecos "The app" app
addgroup --system --gid 77 fixed
useradd -r -g fixed -d /x -s /bin/false second
adduser app adm >/dev/null
chown app:adm /usr/bin/tool
systemd-sysusers pack.conf
"""
SYSUSERS = b'u third 500:fixed "A third" /home\ng fourth -\nm third adm\nu odd "unclosed\n'


def test_users_and_groups() -> None:
    tree, setup = made(ACCOUNTS, {"/usr/lib/sysusers.d/pack.conf": file(SYSUSERS)})
    number = usual_number("app")
    assert FIRST <= number <= LAST
    users = {user.name: (user.uid, user.gid, user.home) for user in setup.users}
    assert users["www-data"] == (33, 33, "/var/www")
    assert users["app"] == (number, number, "/var/lib/app")
    assert users["second"] == (usual_number("second"), 77, "/x")
    assert users["third"][0] == 500
    assert setup.group["adm"] in ("adm:*:4:app,third", "adm:*:4:third,app")
    assert (tree["/usr/bin/tool"].uid, tree["/usr/bin/tool"].gid) == (number, 4)
    again, _ = made(f"adduser --system --group another\n{ACCOUNTS}")
    assert again["/usr/bin/tool"].uid == number  # whatever else is installed


FILES = """
if ! [ -e /etc/app.conf ]; then cp /usr/share/app.conf /etc/app.conf; chmod u=rw,go= /etc/app.conf; fi
install -d -m 2750 -o www-data -g adm /var/lib/app
mkdir -p /var/log/app; chown -R www-data: /var/log/app
ln -sf ../tool /usr/bin/link
echo "made here" > /etc/made; echo more >> /etc/made
cat > /etc/text <<EOF
for $1
EOF
dpkg-statoverride --list /usr/bin/tool >/dev/null || dpkg-statoverride --update --add root adm 4750 /usr/bin/tool
ucf --three-way /usr/share/app.conf /etc/ucf.conf
"""


def test_files_folders_owners_and_modes() -> None:
    tree, setup = made(FILES, {"/usr/share/app.conf": file(b"conf")})
    modes = {path: (tree[path].mode, tree[path].uid, tree[path].gid) for path in tree}
    assert modes["/etc/app.conf"] == (0o600, 0, 0)
    assert modes["/var/lib/app"] == (0o2750, 33, 4)
    assert modes["/var/log/app"] == (0o755, 33, 0)
    assert modes["/usr/bin/tool"] == (0o4750, 0, 4)
    assert tree["/usr/bin/link"] == symlink("../tool")
    assert tree["/etc/made"].content.read() == b"made here\nmore\n"
    assert tree["/etc/text"].content.read() == b"for configure\n"
    assert tree["/etc/ucf.conf"].content.read() == b"conf"
    assert not setup.unmade


@pytest.mark.parametrize(
    ("script", "unmade"),
    [
        ("deb-systemd-helper enable x; py3compile -p x; ldconfig; dpkg-maintscript-helper rm_conffile /usr/bin", ()),
        ('[ -z "$2" ] || make-things /etc', ()),
        ("make-things --into /usr/bin", ("make-things",)),
        ("sed -i s/a/b/ /usr/bin/tool", ("/usr/bin/tool",)),
        ('echo "$(hostname)" > /etc/made-of-host', ("/etc/made-of-host",)),
        ("date > /var/log/x; rm -f /etc/x; echo hello >&2", ()),
        ("compile-schemas /usr/share/empty", ()),  # there is nothing that it would work on
        ("fi", ('what its postinst does, which cannot be read (a "fi" where none belongs)',)),
    ],
)
def test_what_is_not_made_is_named(script: str, unmade: tuple[str, ...]) -> None:
    _, setup = made(script, {"/usr/share/empty": directory()})
    assert setup.unmade.get("pack", ()) == unmade


def test_a_script_of_another_language_is_named() -> None:
    _, _, setup = set_up(Tree(MASTERS), {}, {"pack": Control("#!/usr/bin/perl -w\nexit 0\n")})
    assert setup.unmade == {"pack": ("what its postinst does, which is no shell script",)}


def test_what_a_later_layer_made_is_not_named() -> None:
    first = Setup(unmade={"pack": ("make-it",), "other": ("tool",)})
    assert joined([first, Setup(unmade={"pack": ()})]).unmade == {"other": ("tool",)}


def test_debconf_answers_with_the_default() -> None:
    script = 'db_get pack/caps\nif test "$RET" = "true"; then setcap cap_net_raw+ep /usr/bin/tool; fi'
    for default, has in (("true", True), ("false", False)):
        tree, _ = made(script, templates=f"Template: pack/caps\nType: boolean\nDefault: {default}\n")
        assert bool(tree["/usr/bin/tool"].xattrs) is has


# iputils-ping's own script
PING = """
PROGRAM=$(dpkg-divert --truename /usr/bin/tool)
if command -v setcap > /dev/null; then
    if setcap cap_net_raw+ep $PROGRAM; then chmod u-s $PROGRAM; else chmod u+s $PROGRAM; fi
else
    chmod u+s $PROGRAM
fi
"""


def test_file_capabilities() -> None:
    tree, _ = made(PING)
    tool = tree["/usr/bin/tool"]
    assert tool.mode == 0o755
    assert tool.xattrs == (("security.capability", bytes.fromhex("0100000200200000000000000000000000000000")),)
    assert encoded("cap_checkpoint_restore,cap_chown=eip") is not None
    assert [encoded(text) for text in ("-r", "cap_odd+ep", "", "cap_chown+", "all=ep")] == [None] * 5


def test_a_tree_with_attributes_is_another_one() -> None:
    plain, _ = made("true")
    capable, _ = made(PING)
    assert plain.digest != capable.digest


# Certificates


@pytest.mark.tools
def test_the_bundle_of_authorities() -> None:
    if process.find("openssl") is None:
        pytest.skip("needs openssl")
    subject = "/C=DE/O=Two  Words and ÄÖ/CN=Test Authority"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "/dev/null",
        "-utf8",
        "-subj",
        subject,
    ]
    pem = process.run(words).stdout
    hashed = process.run(["openssl", "x509", "-hash", "-noout"], stdin=pem).text.strip()
    folder = "/usr/share/ca-certificates/mozilla"
    files = {f"{folder}/One.crt": file(pem), f"{folder}/Two.crt": file(pem), f"{folder}/Odd.crt": file(b"odd")}
    files["/etc/ca-certificates.conf"] = file(b"!mozilla/Off.crt\n")
    nodes = certificates.made(Tree({**files, f"{folder}/Off.crt": file(pem)}))
    assert nodes["/etc/ssl/certs/ca-certificates.crt"].content.read() == b"odd\n" + pem + pem
    assert nodes[f"/etc/ssl/certs/{hashed}.0"] == symlink("One.pem")
    assert nodes[f"/etc/ssl/certs/{hashed}.1"] == symlink("Two.pem")
    assert nodes["/etc/ssl/certs/One.pem"] == symlink(f"{folder}/One.crt")
    assert not certificates.made(Tree())


@given(st.binary())
def test_any_certificate_is_hashed_or_passed_by(data: bytes) -> None:
    certificates.subject_hash(b"-----BEGIN CERTIFICATE-----\n" + data + b"-----END CERTIFICATE-----")
    certificates.subject_hash(data)
