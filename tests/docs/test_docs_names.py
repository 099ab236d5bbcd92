"""What our pages name exists: links, files, verbs, options, keys, variables of the environment. And what there is to
know of has a place in them."""

import re
from collections.abc import Iterator

import pytest

from imagebuilder import process
from tests.docs import commands, formats, sources
from tests.docs.blocks import ALL, PAGES, ROOT, prose, text

LINK = re.compile(r"\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.M)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
FILE = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|toml|json|c|h|md|yml|yaml|config|xz|j2|conf)")
OTHERS_OPTIONS = {
    "--verify": "sgdisk",
    "--collect-only": "pytest",
    "--junitxml": "pytest",
    "--app": "flask",
    "--customize-hook": "mmdebstrap",
    "--include": "mmdebstrap",
    "--variant": "mmdebstrap",
    "--no-install-recommends": "apt-get",
    "--privileged": "docker",
    "--pdeathsig": "setpriv",
    "--help": "every verb",
    "--hash": "pip",
    "--require-hashes": "pip",
    "--omit": "npm",
    "--ignore-scripts": "npm",
}
"""Options of other programs."""
MADE = {
    "keep.json",
    "provenance.json",
    "sbom.cdx.json",
    "sbom.spdx.json",
    "out/NAME/provenance.json",
    "out/NAME/sbom.cdx.json",
    "out/NAME/sbom.spdx.json",
    "FILE.json",
    "image.json",
    "template.json",
    "report.json",
    "linux-source-6.12.tar.xz",
    ".github/workflows/images.yml",
    ".gitlab-ci.yml",
    "registries.conf",
    "registries.conf.d/*.conf",
    "~/.config/containers/registries.conf",
    "/etc/containers/registries.conf",
    "auth.json",
    "containers/auth.json",
    "config.json",
}
"""Files that a page names and that the tree has not."""
VARIABLE = re.compile(r"""(?:environ(?:\.get\(|\[)"|= "(?=IMAGEBUILDER_)|"(?=PIP_|XDG_CONFIG_DIRS))([A-Z_]+)\"""")
BY_LIBRARIES = {"NO_COLOR", "COLUMNS"}
"""Read by rich and click."""


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")


OPTIONS = {row.name: row.long_options for row in commands.rows()}
PLUGIN = frozenset(re.findall(r'"(--i[a-z-]+)"', (ROOT / "imagebuilder" / "pytest_plugin" / "__init__.py").read_text()))
FILES = frozenset(
    path.relative_to(ROOT).as_posix()
    for folder in ("imagebuilder", "tests", "docs", "kernels", "recipes", "pyproject.toml")
    for path in ((ROOT / folder).rglob("*") if (ROOT / folder).is_dir() else [ROOT / folder])
    if path.is_file()
)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / page).parent / path if path else ROOT / page
        assert found.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in {slug(each) for each in HEADING.findall(found.read_text())}, f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page: str) -> None:
    """By the end of their path, as a page says them: those that are made, or are the user's, are listed. ``NAME`` is
    any."""
    named = {span for span in SPAN.findall(prose(page)) if FILE.fullmatch(span)} - MADE
    named -= {block.file for block in ALL if block.page == page}
    patterns = {name: re.compile(rf"(?:.*/)?{re.escape(name).replace('NAME', '[^/]+')}") for name in sorted(named)}
    assert [name for name, pattern in patterns.items() if not any(map(pattern.fullmatch, FILES))] == []


def verb_of(words: str) -> str | None:
    """The verb of a command line of ours, with its own verb where it has one."""
    found = re.match(r"imagebuilder ([a-z]+)(?: ([a-z]+))?", words)
    if not found:
        return None
    return next((verb for verb in (f"{found[1]} {found[2]}", found[1]) if verb in OPTIONS), found[1])


def ours(page: str) -> Iterator[str]:
    """Every command line of ours that a page shows, in a block or in a sentence."""
    yield from (command.words for block in ALL if block.page == page for command in block.commands)
    yield from (span for span in SPAN.findall(prose(page)) if span.startswith("imagebuilder "))


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_have_verbs_and_options_that_there_are(page: str) -> None:
    for words in ours(page):
        if verb := verb_of(words):
            assert verb in OPTIONS, f"{page}: `{words}`"
            assert set(OPTION.findall(words.partition(" -- ")[0])) <= OPTIONS[verb], f"{page}: `{words}`"


@pytest.mark.parametrize("page", PAGES)
def test_options_that_are_named_exist(page: str) -> None:
    """Of any verb, of the plugin, or of another program that the page speaks of."""
    known = {option for options in OPTIONS.values() for option in options} | PLUGIN | set(OTHERS_OPTIONS)
    assert set(OPTION.findall(text(page))) - known == set()


def test_every_verb_and_option_is_in_the_docs() -> None:
    assert commands.PAGE.read_text(encoding="utf-8") == commands.page(), "run `make docs`"
    assert formats.PAGE.read_text(encoding="utf-8") == formats.page(), "run `make docs`"


def test_every_kind_of_source_is_in_the_reference() -> None:
    assert sources.PAGE.read_text(encoding="utf-8") == sources.page(), "run `make docs`"


def test_every_option_of_the_plugin_is_in_its_page() -> None:
    assert PLUGIN - set(OPTION.findall(text("docs/testing.md"))) == set()


def test_what_is_listed_here_is_needed() -> None:
    whole = "\n".join(text(page) for page in PAGES)
    assert [word for word in OTHERS_OPTIONS if word not in whole] == []
    assert [name for name in MADE if f"`{name}`" not in whole] == []


def test_every_variable_of_the_environment_is_explained() -> None:
    """And the page explains none that nobody reads."""
    read = {name for path in (ROOT / "imagebuilder").rglob("*.py") for name in VARIABLE.findall(path.read_text())}
    told = set(re.findall(r"^\| `([A-Za-z_]+)`", text("docs/environment.md"), re.M))
    assert told == read | {*process.PASSED, *process.PROXIES} | BY_LIBRARIES


def test_every_page_can_be_found() -> None:
    """From the README, by links."""
    seen, todo = set[str](), ["README.md"]
    while todo:
        page = todo.pop()
        seen.add(page)
        links = {target.partition("#")[0] for target in LINK.findall(prose(page)) if not target.startswith("http")}
        found = {((ROOT / page).parent / each).resolve() for each in links if each.endswith(".md")}
        todo += [name for name in (path.relative_to(ROOT).as_posix() for path in found) if name not in seen]
    assert set(PAGES) - seen == set()
