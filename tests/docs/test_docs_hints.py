"""Each hint that the source gives is followed by a test, or the reason why no test can do so stands here.

A hint is what stands behind ``hint=`` in the source, with ``{}`` for what is filled in; what functions make of the case
(a nearest name, a remedy) is followed where these are tested: tests/closure/test_hints.py, tests/recipe/test_hints.py,
tests/kernel/test_definition.py, tests/test_lacking.py; the commands that write a lockfile in tests/cli/test_lock.py and
tests/sources/test_locking.py.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

import imagebuilder

PACKAGE = Path(imagebuilder.__file__).parent
TESTS = Path(__file__).parent.parent
Scope = Mapping[str, Sequence[ast.expr]]

HERE = "test_hints.py::"
FOLLOWED = {
    "{} writes one": "attestation/test_signing.py::test_keys_that_are_none",
    "pip install 'imagebuilder[sign]'": "cli/test_sign.py::test_the_libraries_are_an_extra",
    "imagebuilder sign NAME --key FILE writes it": "cli/test_sign.py::test_what_is_missing_is_said_and_each_hint_works",
    "put its passphrase into ${}": "cli/test_sign.py::test_a_key_with_a_passphrase",
    "imagebuilder build {}": "cli/test_sign.py::test_what_is_missing_is_said_and_each_hint_works",
    "such as 1767225600, as date +%s prints it": f"{HERE}test_a_time",
    "such as 10G, 500M or none": f"{HERE}test_a_size",
    "set IMAGEBUILDER_CACHE to a folder": f"{HERE}test_a_place_for_the_cache",
    "set IMAGEBUILDER_CACHE to a folder of your own": f"{HERE}test_a_place_that_is_no_cache",
    "chmod -R go-w {}; or rm -r {}, where you do not trust them": f"{HERE}test_a_cache_that_cannot_be_trusted",
    "rm {}": f"{HERE}test_a_cache_that_cannot_be_trusted",
    "chmod +x {}": f"{HERE}test_a_program_that_may_not_run",
    'write "{}", or the numbers of user and group: "{}:{}"':
        "guest/test_users.py::test_nobody_becomes_root_under_another_name_and_each_hint_works",
    'write "root"': "guest/test_users.py::test_nobody_becomes_root_under_another_name_and_each_hint_works",
    "'{}' would do": f"{HERE}test_a_name_that_would_do",
    "such as CONFIG_IPV6=y; there are no modules": f"{HERE}test_a_line_of_a_fragment",
    "write {} or less, or add a file with CONFIG_NR_CPUS=N to fragments under [kernel]": f"{HERE}test_processors",
    "take network = false out of [machine] in the recipe": f"{HERE}test_a_network",
    "mount it elsewhere, or leave that out of the image": f"{HERE}test_mounts",
    "choose another path for it": f"{HERE}test_mounts",
    "give it a larger size=, or leave that out of the image": f"{HERE}test_mounts",
    "put the outer one first, and each target once": f"{HERE}test_mounts",
    "imagebuilder build NAME": f"{HERE}test_an_image_that_is_not_there",
    "give another --out": f"{HERE}test_an_image_that_is_not_there",
    "use a kernel that is compiled, such as micro": f"{HERE}test_fragments_of_a_kernel_that_is_not_compiled",
    "build the image again": "machine/test_machine_boot.py::test_a_kernel_that_is_none",
    "pip install pytest": "plugin/test_plugin_verb.py::test_bad_input",
    "if it needs longer, give it more with timeout_s under [source]":
        "sources/test_build.py::test_a_command_that_needs_longer_gets_it_by_the_hint",
    "lock it again, as with: uv export --format pylock.toml, or uv pip compile --generate-hashes":
        "sources/test_python.py::test_a_lock_that_does_not_fit_its_project",
    "check the network, and what pip is configured for: pip config list":
        "sources/test_python.py::test_no_index_that_can_be_asked",
    "build a wheel of it (pip wheel), and lock that":
        "sources/test_python.py::test_a_source_distribution_alone_is_refused_and_a_wheel_of_it_taken",
    'name it, as main = "com.example.Main" under [source]':
        "sources/test_java.py::test_a_jar_without_a_main_class_is_one_sentence_and_its_hint_works",
    "class_data = false under [source] leaves the archive of classes out, and starts nothing while it is built":
        "sources/test_java.py::test_what_a_machine_makes_of_sources",
    "npm install --package-lock-only": "sources/test_npm_lock.py::test_a_lock_that_does_not_fit_its_project",
    "modules are kept that include names too":
        "closure/test_bytecode.py::test_modules_that_are_not_kept_are_by_the_hint",
    "write it, as ready = { tcp = { port = 80 } }, or ready = { exit = 0 } for a program that ends":
        "recipe/test_from_image.py::test_when_it_is_ready_is_written_by_the_hint",
    "make an image that names one, or write the recipe with command under [application]":
        "recipe/test_from_image.py::test_a_program_is_named_by_the_hint",
    'did you mean "{}"?': "closure/test_hints.py::test_the_command_that_was_meant",
    "--accel tcg works everywhere, slower": "machine/test_machine_accel.py::test_qemus_own_reason_when_kvm_is_refused",
    "--egress none starts it without a way out":
        "machine/test_firewall.py::test_where_there_is_no_filter_there_is_no_way_out",
    'write its path under [application], as command = "/usr/bin/NAME"':
        "sources/test_toy.py::test_what_it_knows_of_the_application_counts_where_the_recipe_is_silent",
    "remove it, and `imagebuilder lock {}` writes it again":
        "sources/test_locking.py::test_a_damaged_one_is_written_anew_by_the_hint",
    'such as "docker.io/library/nginx:1.27" or "registry.example.com/team/app@sha256:…"':
        "oci/test_reference.py::test_the_hints_of_a_name_are_followed",
    "{}, without https://": "oci/test_reference.py::test_the_hints_of_a_name_are_followed",
    "sha256: and 64 digits of 0-9 and a-f": "oci/test_reference.py::test_the_hints_of_a_name_are_followed",
    'name one of them, as tag = "…": {}': "oci/test_source.py::test_a_tag_by_the_hints",
    "it has none: leave the tag out": "oci/test_source.py::test_a_tag_by_the_hints",
    "it has {}": "oci/test_registry.py::test_an_unknown_tag_and_those_there_are",
    "docker login, podman login or skopeo login keeps them where imagebuilder finds them":
        "oci/test_registry.py::test_a_user_and_a_password",
    "imagebuilder template create {}": "cli/test_template.py::test_from_create_to_rm",
    "start it cold: imagebuilder run {} --secret {}=FILE":
        "build/test_given.py::test_the_application_alone_reads_its_secrets",
    "imagebuilder run {} --secret {}=FILE; test takes it too":
        "build/test_given.py::test_the_application_alone_reads_its_secrets",
    "give it less with memory_mib under [[prepare]]": "build/test_prepare.py::test_more_memory_than_a_file_can_have",
    "free some disk space where the cache is":
        "build/test_prepare.py::test_a_full_disk_of_this_host_is_said_and_not_waited_for",
    "if it needs longer, give it more with timeout_s under [[prepare]]":
        "build/test_prepare.py::test_a_command_that_needs_longer_gets_it_by_the_hint",
    "give it more with memory_mib under [[prepare]]: three quarters of it can be written":
        "build/test_prepare.py::test_a_command_that_fails_shows_its_console",
    'name it under packages of a [[source]] of type "debian"':
        "build/test_prepare.py::test_a_package_that_no_source_brings",
}  # fmt: skip
OTHER_MACHINE = "it takes root, a package manager, or another machine"
SPACE = "it takes a disk that is full, and somebody who frees some of it"
THOUGHT = "it says in which direction to think; what is to be written is not in it"
ITSELF = "it is the command that the message is about, which has tests of its own"
REASONS = {
    OTHER_MACHINE: (
        "sudo apt-get install {}",
        "sudo apt-get install libelf-dev",
        "sudo sysctl fs.pipe-max-size=4194304",
        "is it complete? {} --version",
        "ss -ltnp 'sport = :{}'",
        "set IMAGEBUILDER_CACHE to a folder in which programs may run",
        "on a machine that is not Debian's: sudo apt-get install debian-archive-keyring, and set IMAGEBUILDER_APT to a"
        " folder with a sources.list for Debian (docs/recipe.md, 'On a machine that is not Debian')",
        "put the newest version there; kernels/README.md says how",
        "put the new version and the tarball's new sha256 there; kernels/README.md says how",
        "try again; do not trust it",
        "check the network, and the URL",
        "try again, or check the mirror",
        "check the network, and what apt is configured for",
        "check the name, the network, and the proxy if there is one",
        "try again later",
        "without TLS a registry is asked on this machine alone: 127.0.0.1, localhost or [::1]",
    ),
    SPACE: (
        "free some disk space",
        "free some space, or give --out",
        "free some disk space, or set IMAGEBUILDER_CACHE to a folder with more of it",
        "set TMPDIR to a folder with room",
        "set IMAGEBUILDER_CACHE to another folder",
        "give --memory, or close other programs",
    ),
    THOUGHT: (
        "-v shows where it happened; please report it",
        "a guest that never waits cannot be counted: do without --instructions",
        "a symbol that depends on another needs that one too, and one that another selects cannot be off",
        "a relative path is that of an input; programs of the machine are named without a folder",
        "end their clones first",
        "it needs CONFIG_PRINTK and a word console= on its command line",
        "known are {}",
        "name, or name=version",
        "such as bookworm",
        "write its absolute path in the recipe, as command under [application]",
        "take what never ends, such as a stream of events, out of what is asked",
        "write a document for each",
        "install imagebuilder again",
    ),
    ITSELF: (
        "build again",
        "build again: it is rebuilt",
        "bench both in one run: imagebuilder bench NAME --vs OTHER",
        "build those of before elsewhere: imagebuilder build NAME --out before",
        "ask for {} or less",
        "cpus = {} under [machine] in the recipe",
        "give it more: machine.memory_mib of the recipe, or --memory",
        "imagebuilder template create NAME",
        "imagebuilder template create {}, or run with --refresh-template",
        "imagebuilder template list",
        "imagebuilder test NAME --json FILE",
        "make it again: python3 -m imagebuilder.kernel {}",
        'ready.http = { port = 80, path = "/" }',
        "restore {}, or remove it and the kernel is compiled",
        'root.format = "erofs" makes it a disk',
        'include = ["{}/**"] keeps its standard library',
        'write "auto", "memory" or "initramfs", or take the kernel micro',
        "--kernel cloud",
        "shorten cmdline under [kernel]",
        "change cmdline under [kernel]",
        "--format {}",
        "--format {} has the same content",
        "leave --format out",
    ),
}


def texts(node: ast.expr, scope: Scope) -> Iterator[str]:
    """The texts that an expression may give."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr():
            yield "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
        case ast.IfExp():
            yield from (text for each in (node.body, node.orelse) for text in texts(each, scope))
        case ast.BoolOp():
            yield from (text for each in node.values for text in texts(each, scope))
        case ast.Name():
            yield from (text for each in scope.get(node.id, ()) for text in texts(each, {}))


def hints() -> set[str]:
    """Those of the source."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        scope: dict[str, list[ast.expr]] = {}
        for node in nodes:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                scope.setdefault(node.targets[0].id, []).append(node.value)
        given = (each.value for each in nodes if isinstance(each, ast.keyword) and each.arg == "hint")
        found |= {text for each in given for text in texts(each, scope)}
    return found - {"", " ({})"}


def test_each_hint_is_followed_or_has_a_reason() -> None:
    known = [*FOLLOWED, *(text for each in REASONS.values() for text in each)]
    assert hints() - {*known} == set(), "follow it in a test, or give the reason here"
    assert {*known} - hints() == set(), "the source has it no longer"
    assert len(known) == len({*known})


@pytest.mark.parametrize("place", sorted({*FOLLOWED.values()}))
def test_who_follows_it_is_there(place: str) -> None:
    name, _, function = place.partition("::")
    defined = ast.walk(ast.parse((TESTS / name).read_text()))
    assert function in {each.name for each in defined if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
