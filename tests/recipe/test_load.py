"""Every mistake is said in plain words, with its line, and all of them at once."""

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.errors import Problem, RecipeError
from imagebuilder.recipe.load import load
from imagebuilder.recipe.lookup import find, names

from .toml import GOOD, PAGE, documents, spell, write_recipe

HERE = "  # here"  # marks the line that a mistake must be reported on
JARGON = ("Input should", "Field required", "pydantic", "Extra inputs", "valid string", "Traceback")


def problems(folder: Path, text: str, *, page: str = PAGE) -> tuple[Problem, ...]:
    """What is wrong with a recipe."""
    with pytest.raises(RecipeError) as caught:
        load(write_recipe(folder, text, page=page))
    return caught.value.problems


@dataclass(frozen=True)
class Bad:
    """A change of the good recipe, and what is to be said about it."""

    old: str
    new: str
    key: str
    message: str
    hint: str | None = None


BUILD = GOOD[GOOD.index("[source]") : GOOD.index("[application]")]
DEBIAN = '[source]\ntype = "debian"\nrelease = "bookworm"\npackages = ["nginx"]\n'
FILES = GOOD[GOOD.index("[[files]]") : GOOD.index("[variables]")]
READY = 'http = { port = 80, body = "Hello" }'
COMMAND = 'command = "/usr/bin/server"'

BAD = {
    # The whole
    "unknown key": Bad('name = "page"', 'name = "page"\nsumary = "x"' + HERE, "sumary", "this key is not known",
                       "did you mean 'summary'?"),
    "unknown table": Bad("[machine]", "[machin]" + HERE, "machin", "this key is not known", "did you mean 'machine'?"),
    "unlike any key": Bad("[machine]", "[zzz]" + HERE, "zzz", "this key is not known", "known here: name, version,"),
    "folder is no key": Bad('name = "page"', 'name = "page"\nfolder = "/"' + HERE, "folder", "this key is not known"),
    "missing key": Bad('version = "1.0"\n', "", "version", "this key is missing", "The application's version."),
    "missing table": Bad("[ready]\n" + READY, "", "ready", "this key is missing", "How one sees that the"),
    "name": Bad('"page"', '"My Page"' + HERE, "name", "expected a name of a-z, 0-9", "write 'my-page'"),
    "long name": Bad('"page"', f'"{"a" * 64}"' + HERE, "name", "expected at most 63 characters"),
    "version is a number": Bad('"1.0"', "1.22" + HERE, "version", "expected a text, found the number 1.22",
                               'write "1.22"'),
    "summary of two lines": Bad('"One page"', '"One\\npage"' + HERE, "summary", "expected one line of text"),
    # Sources
    # Helpers
    "helper without a command": Bad("[ready]", "[[helper]]" + HERE + '\nuser = "root"\n[ready]', "helper.command",
                                    "this key is missing", "The program: its absolute path"),
    "helper's command": Bad("[ready]", '[[helper]]\ncommand = ["web"]' + HERE + "\n[ready]", "helper.command",
                            "expected an absolute path, as in '/etc/app.conf', found 'web'"),
    "helper of no words": Bad("[ready]", "[[helper]]\ncommand = []" + HERE + "\n[ready]", "helper.command",
                              "expected at least 1 entry"),
    "helper's restart": Bad("[ready]", '[[helper]]\ncommand = ["/a"]\nrestart = "always"' + HERE + "\n[ready]",
                            "helper.restart", "expected 'never' or 'on-failure'"),
    "helper's readiness": Bad("[ready]", '[[helper]]\ncommand = ["/a"]\nready = { port = 1, file = "/a" }' + HERE
                              + "\n[ready]", "helper.ready.file",
                              "expected exactly one of port, file, line, found port and file"),
    "helper's port without a network": Bad("memory_mib = 32\n\n[ready]\n" + READY, "network = false\n[[helper]]\n"
                                           + 'command = ["/a"]\nready = { port = 1 }' + HERE + "\n[ready]\nexit = 0",
                                           "helper.ready.port",
                                           "a machine without a network, not even the loopback, has no ports",
                                           "wait for a file or a line"),
    "source type": Bad('type = "build"', 'type = "biuld"' + HERE, "source.type",
                       "expected 'debian', 'files', 'build'", "did you mean 'build'?"),
    "source type missing": Bad('type = "build"\n', "", "source.type", "the key 'type' is missing"),
    "source is a text": Bad(BUILD, 'source = "nginx"' + HERE + "\n", "source",
                           "expected a table [source], or several [[source]], found the text 'nginx'"),
    "debian key": Bad(BUILD, DEBIAN.replace("packages", "package"), "source.package",
                      "this key is not known", "did you mean 'packages'?"),
    "debian packages missing": Bad(BUILD, DEBIAN.replace('packages = ["nginx"]', ""), "source.packages",
                                   "this key is missing", "Packages to take files from"),
    "debian no packages": Bad(BUILD, DEBIAN.replace('["nginx"]', "[]" + HERE), "source.packages",
                              "expected at least 1 entry"),
    "debian packages is a text": Bad(BUILD, DEBIAN.replace('["nginx"]', '"nginx"' + HERE), "source.packages",
                                     "expected a list, found the text 'nginx'", 'write ["nginx"]'),
    "debian package": Bad(BUILD, DEBIAN.replace('["nginx"]', '[\n"ok",\n"N G"' + HERE + "\n]"), "source.packages",
                          "expected the name of a Debian package, found the text 'N G'"),
    "debian release": Bad(BUILD, DEBIAN.replace("bookworm", 'bokworm"' + HERE + '\n#"'), "source.release",
                          "no Debian release is called 'bokworm'", "did you mean 'bookworm'?"),
    "debian include": Bad(BUILD, DEBIAN + 'include = ["usr/lib"]' + HERE + "\n", "source.include",
                          "expected an absolute path"),
    "input matches nothing": Bad('"*.c"', '"*.c",\n"servr.c"' + HERE + "\n", "source.inputs",
                                 "no file beside the recipe matches 'servr.c'", "did you mean 'server.c'?"),
    "input outside": Bad('"*.c"', '\n"../x.c"' + HERE + "\n", "source.inputs", "expected a path beside the recipe"),
    "files match nothing": Bad(BUILD, '[source]\ntype = "files"\nfiles = ["styles/**"]' + HERE + "\n", "source.files",
                               "no file beside the recipe matches 'styles/**'"),
    "files target": Bad(BUILD, '[source]\ntype = "files"\nfiles = ["*.c"]\ntarget = "srv"' + HERE + "\n",
                        "source.target", "expected an absolute path"),
    "output path": Bad('{ server = "/usr/bin/server" }', '{ server = "/usr//bin/server" }' + HERE,
                       "source.outputs.server", "or a '/' at the end, '/usr/bin/server'"),
    "two outputs": Bad('{ server = "/usr/bin/server" }', '{ server = "/a", b = "/a" }' + HERE, "source.outputs.b",
                       "/a is given twice"),
    # The application
    "command": Bad(COMMAND, 'command = "server"' + HERE, "application.command", "expected an absolute path"),
    "command leaves": Bad(COMMAND, 'command = "/../x"' + HERE, "application.command",
                          "expected an absolute path without '..'"),
    "command is a list": Bad(COMMAND, 'command = ["/x"]' + HERE, "application.command",
                             "expected a text, found a list"),
    "arguments is a text": Bad(COMMAND, COMMAND + '\narguments = "-g x"' + HERE, "application.arguments",
                               "expected a list, found the text '-g x'"),
    "argument is a number": Bad(COMMAND, COMMAND + "\narguments = [80]" + HERE, "application.arguments",
                                "expected a text, found the number 80", 'write "80"'),
    "argument with NUL": Bad(COMMAND, COMMAND + '\narguments = ["\\u0000"]' + HERE, "application.arguments",
                             "expected a text without NUL"),
    "environment name": Bad(COMMAND, COMMAND + '\nenvironment = { "a-b" = "" }' + HERE, "application.environment.a-b",
                            "expected a name of letters, digits and '_'"),
    "environment value": Bad(COMMAND, COMMAND + "\nenvironment = { PORT = 80 }" + HERE, "application.environment.PORT",
                             "expected a text, found the number 80", 'write "80"'),
    "user": Bad(COMMAND, COMMAND + '\nuser = "a b"' + HERE, "application.user", "expected a user: a name, 'uid'"),
    "user number": Bad(COMMAND, COMMAND + '\nuser = "4294967295"' + HERE, "application.user", "of at most 4294967294"),
    "signal": Bad(COMMAND, COMMAND + '\nstop_signal = "TREM"' + HERE, "application.stop_signal",
                  "expected 'TERM', 'INT',", "did you mean 'TERM'?"),
    "long signal": Bad(COMMAND, COMMAND + '\nstop_signal = "SIGQUIT"' + HERE, "application.stop_signal",
                       "expected 'TERM', 'INT',", "did you mean 'QUIT'?"),
    "grace": Bad(COMMAND, COMMAND + "\nstop_grace_ms = -1" + HERE, "application.stop_grace_ms",
                 "expected at least 0, found the number -1"),
    "capability": Bad(COMMAND, COMMAND + '\ncapabilities = ["CAP_NET_BIND_SERVICE"]' + HERE, "application.capabilities",
                      "expected 'chown', 'dac_override',", "did you mean 'net_bind_service'?"),
    "capability twice": Bad(COMMAND, COMMAND + '\ncapabilities = ["setuid", "setuid"]' + HERE,
                            "application.capabilities", "setuid is given twice"),
    "capabilities is a text": Bad(COMMAND, COMMAND + '\ncapabilities = "setuid"' + HERE, "application.capabilities",
                                  "expected a list, found the text 'setuid'", 'write ["setuid"]'),
    "limit name": Bad(COMMAND, COMMAND + "\nlimits = { nofiles = 3 }" + HERE, "application.limits.nofiles",
                      "expected 'as',", "did you mean 'nofile'?"),
    "limit": Bad(COMMAND, COMMAND + '\nlimits = { nofile = "9:3" }' + HERE, "application.limits.nofile",
                 "expected a soft limit that is at most the hard one, found '9:3'"),
    "limit is a list": Bad(COMMAND, COMMAND + "\nlimits = { nofile = [3] }" + HERE, "application.limits.nofile",
                           "expected a limit: a number, 'unlimited' or 'soft:hard'"),
    # Files
    "missing template": Bad('"page.html.j2"', '"page.htm.j2"' + HERE, "files.template",
                            "there is no file 'page.htm.j2' beside the recipe", "did you mean 'page.html.j2'?"),
    "missing source": Bad('"logo.svg"', '"logo.png"' + HERE, "files.source", "there is no file 'logo.png'",
                          "did you mean 'logo.svg'?"),
    "source outside": Bad('"logo.svg"', '"../logo.svg"' + HERE, "files.source", "expected a path beside the recipe"),
    "source absolute": Bad('"logo.svg"', '"/etc/passwd"' + HERE, "files.source", "expected a path beside the recipe"),
    "source too long": Bad('"logo.svg"', f'"{"x" * 300}"' + HERE, "files.source", "there is no file"),
    "source is a folder": Bad('"logo.svg"', '"static"' + HERE, "files.source", "'static' is a folder",
                              "the files of a folder"),
    "two contents": Bad('source = "logo.svg"', 'source = "logo.svg"\ntext = "x"' + HERE, "files.text",
                        "expected exactly one of source, template, text, directory, symlink, found source and text"),
    "no content": Bad('[[files]]\npath = "/srv/logo"\nsource = "logo.svg"',
                      f'[[files]]{HERE}\npath = "/srv/logo"', "files", "directory, symlink, found none"),
    "no folder": Bad('source = "logo.svg"', "directory = false" + HERE, "files.directory",
                     "expected true, found false"),
    "same path": Bad('path = "/srv/logo"', 'path = "/srv/page.html"' + HERE, "files.path",
                     "/srv/page.html is given twice"),
    "path": Bad('path = "/srv/logo"', 'path = "/srv/logo/"' + HERE, "files.path", "'/srv/logo'"),
    "mode": Bad('source = "logo.svg"', 'source = "logo.svg"\nmode = "0689"' + HERE, "files.mode",
                "expected a file mode in octal, as in '0644', found the text '0689'"),
    "mode is a number": Bad('source = "logo.svg"', 'source = "logo.svg"\nmode = 644' + HERE, "files.mode",
                            "expected a text, found the number 644", 'write "644"'),
    "link's mode": Bad('source = "logo.svg"', 'symlink = "x"\nmode = "0777"' + HERE, "files.mode",
                       "a symbolic link has no mode"),
    "files is a table": Bad(FILES, "[files]" + HERE + "\n", "files", "expected a list, found a table"),
    # Variables, kernel, root, machine
    "variable name": Bad('title = "Hello"', 'title = "Hello"\n"a-b" = 1' + HERE, "variables.a-b",
                         "expected a name of letters, digits and '_'"),
    "variable recipe": Bad('title = "Hello"', 'title = "Hello"\nrecipe = 1' + HERE, "variables.recipe",
                           "templates see the recipe itself"),
    "variable date": Bad('title = "Hello"', 'title = "Hello"\nday = 2026-01-01' + HERE, "variables.day",
                         "expected a text, number, true, false, list or table, found a date or time"),
    "variable infinite": Bad('title = "Hello"', 'title = "Hello"\nbig = inf' + HERE, "variables.big",
                             "expected a finite number"),
    "kernel": Bad("[machine]", '[kernel]\nname = "micor"' + HERE + "\n[machine]", "kernel.name",
                  "there is no kernel 'micor'", "did you mean 'micro'?"),
    "fragment": Bad("[machine]", '[kernel]\nfragments = ["extra.config"]' + HERE + "\n[machine]", "kernel.fragments",
                    "there is neither a file 'extra.config' beside the recipe nor a shared fragment"),
    "shared fragment": Bad("[machine]", '[kernel]\nfragments = ["ipv7"]' + HERE + "\n[machine]", "kernel.fragments",
                           "there is neither a file 'ipv7' beside", "did you mean 'ipv6'?"),
    "root format": Bad("[machine]", '[root]\nformat = "ext4"' + HERE + "\n[machine]", "root.format",
                       "expected 'auto', 'initramfs', 'memory', 'erofs' or 'squashfs', found the text 'ext4'"),
    "root format typo": Bad("[machine]", '[root]\nformat = "EROF"' + HERE + "\n[machine]", "root.format",
                            "expected 'auto'", "did you mean 'erofs'?"),
    "writable": Bad("[machine]", '[root]\nwritable = "yes"' + HERE + "\n[machine]", "root.writable",
                    "expected true or false, found the text 'yes'"),
    "bind libraries": Bad("[machine]", "[root]\nbind_libraries = 0" + HERE + "\n[machine]", "root.bind_libraries",
                          "expected true or false, found the number 0"),
    "list of pages": Bad("[machine]", '[root]\npages = "pages.json"' + HERE + "\n[machine]", "root.pages",
                         "there is no file 'pages.json' beside", "until `imagebuilder learn` has written it"),
    "mount type": Bad("[machine]", '[root]\nmounts = ["tmpsf /run"]' + HERE + "\n[machine]", "root.mounts",
                      "'tmpsf' cannot be mounted", "did you mean 'tmpfs'?"),
    "mount": Bad("[machine]", '[root]\nmounts = ["tmpfs"]' + HERE + "\n[machine]", "root.mounts",
                 "expected 'TYPE TARGET OPTIONS'"),
    "memory is a text": Bad("memory_mib = 32", 'memory_mib = "32"' + HERE, "machine.memory_mib",
                            "expected a whole number, found the text '32'", "write 32 without quotes"),
    "memory is true": Bad("memory_mib = 32", "memory_mib = true" + HERE, "machine.memory_mib",
                          "expected a whole number, found true"),
    "memory is a fraction": Bad("memory_mib = 32", "memory_mib = 32.5" + HERE, "machine.memory_mib",
                                "expected a whole number, found the number 32.5"),
    "no memory": Bad("memory_mib = 32", "memory_mib = 0" + HERE, "machine.memory_mib", "expected at least 1"),
    "port": Bad("memory_mib = 32", "ports = [\n80,\n70000" + HERE + "\n]", "machine.ports",
                "expected at most 65535, found the number 70000"),
    "port twice": Bad("memory_mib = 32", "ports = [80,\n80" + HERE + "\n]", "machine.ports", "80 is given twice"),
    "ports without a network": Bad("memory_mib = 32", "network = false\nports = [22]" + HERE, "machine.ports",
                                   "a machine without a network has no ports", "leave one of both out"),
    "asked without a network": Bad("memory_mib = 32", "network = false" + HERE, "machine.network",
                                   "ready.http asks over the network", "leave network = false out"),
    "disk": Bad("memory_mib = 32", "disks = [{ size_mb = 3 }]" + HERE, "machine.disks.size_mb",
                "this key is not known", "did you mean 'size_mib'?"),
    # Ready and budget
    "no way to see": Bad("[ready]\n" + READY, f"[ready]{HERE}\ntimeout_s = 3", "ready",
                         "expected exactly one of http, tcp, console, exit, found none"),
    "two ways to see": Bad(READY, READY + "\nexit = 0" + HERE, "ready.exit",
                           "expected exactly one of http, tcp, console, exit, found http and exit"),
    "port missing": Bad("port = 80, ", "", "ready.http.port", "this key is missing"),
    "status": Bad("port = 80", "status = 99, port = 80", "ready.http.status", "expected at least 100"),
    "url path": Bad("port = 80", 'path = "x", port = 80', "ready.http.path", "expected the path of a URL"),
    "expression": Bad(READY, 'console = "(x"' + HERE, "ready.console", "a regular expression (RE2), but missing )"),
    "exit": Bad(READY, "exit = 256" + HERE, "ready.exit", "expected at most 255"),
    "time limit": Bad(READY, READY + "\ntimeout_s = 0" + HERE, "ready.timeout_s", "expected at least 1"),
    "budget is no number": Bad("[ready]", '[budget]\nimage_bytes = "6 MB"' + HERE + "\n[ready]", "budget.image_bytes",
                               "expected a whole number, found the text '6 MB'"),
    "budget is negative": Bad("[ready]", "[budget]\nmemory_mib = -1" + HERE + "\n[ready]", "budget.memory_mib",
                              "expected at least 1"),
    "unknown budget": Bad("[ready]", "[budget]\nstartup_floor = 3" + HERE + "\n[ready]", "budget.startup_floor",
                          "this key is not known", "did you mean 'startup_floors'?"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of this name at hand, whatever ships."""
    (tmp_path / "kernels" / "micro").mkdir(parents=True)
    (tmp_path / "kernels" / "micro" / "kernel.toml").touch()
    monkeypatch.chdir(tmp_path)


def test_a_recipe_without_mistakes(tmp_path: Path) -> None:
    recipe = load(write_recipe(tmp_path / "page"))
    assert recipe.name == "page"
    assert recipe.folder == tmp_path / "page"
    assert recipe.source[0].type == "build"


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_mistake(bad: Bad, tmp_path: Path) -> None:
    assert bad.old in GOOD
    text = GOOD.replace(bad.old, bad.new, 1)
    found = problems(tmp_path / "page", text)
    (problem,) = [problem for problem in found if problem.key == bad.key]
    assert bad.message in problem.message
    assert problem.file == Path("page/recipe.toml")
    if bad.hint is not None:
        assert problem.hint is not None and bad.hint in problem.hint
    if HERE in text:
        assert text.splitlines()[problem.line - 1].endswith(HERE)
    assert not any(word in str(problem) for word in JARGON)


def test_all_mistakes_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("summary", "sumary").replace('"*.c"', '"*.cc"').replace("80", '"80"')
    text = text.replace('source = "logo.svg"', 'source = "logo.png"\nowner = 3').replace("32", "0")
    found = problems(tmp_path / "page", text, page="{{ titel }}\n{{ again }}")
    places = [(problem.file.name, problem.line, problem.key) for problem in found]
    assert places == [
        ("recipe.toml", 1, "summary"),
        ("recipe.toml", 3, "sumary"),
        ("recipe.toml", 7, "source.inputs"),
        ("recipe.toml", 20, "files.source"),
        ("recipe.toml", 21, "files.owner"),
        ("recipe.toml", 27, "machine.memory_mib"),
        ("recipe.toml", 30, "ready.http.port"),
        ("page.html.j2", 1, "titel"),
        ("page.html.j2", 2, "again"),
    ]


def test_the_sentence_that_is_shown(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "page", GOOD.replace("memory_mib", "memory"))
    shown = "page/recipe.toml:26: machine.memory: this key is not known (did you mean 'memory_mib'?)"
    assert str(problem) == shown


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('name = "page"\nversion "1"\n', 2, "this is not TOML: expected '=' after a key"),
        ("a = 1\nb = 2\na = 3\n", 3, "this is not TOML: cannot overwrite a value"),
        ('name = "page\n', 1, "this is not TOML: "),
        ("name = [1,\n2\n", 2, "this is not TOML: unclosed array"),
        ("\ufeffname = 1", 1, "this is not TOML: "),
        ("a = " + "[" * 5000, 1, "nested too deeply"),
        ("a = " + "9" * 5000, 0, "this is not TOML: "),
    ],
)
def test_broken_toml_is_one_problem_with_its_line(text: str, line: int, said: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "page", text)
    assert problem.line == line
    assert problem.message.startswith(said) or said in problem.message


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "page")
    (folder / "recipe.toml").write_bytes(b"name = 1\n\xff")
    with pytest.raises(RecipeError, match=r"recipe.toml:2: this is no UTF-8 text"):
        load(folder)


def test_found_by_folder_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_recipe(tmp_path / "recipes" / "mine")
    assert find("mine") == find(folder) == find("recipes/mine") == folder
    monkeypatch.chdir(folder)
    assert find(".") == folder
    assert load(".").folder == folder


def test_a_recipe_that_does_not_exist(tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipes" / "mine")
    assert "mine" in names()
    with pytest.raises(RecipeError, match=r"mnie: there is no recipe of this name \(did you mean 'mine'\?\)"):
        load("mnie")
    with pytest.raises(RecipeError, match=r"the folder holds no recipe\.toml"):
        load(tmp_path)
    with pytest.raises(RecipeError, match="there is no recipe of this name"):
        load("x" * 300)


VALUES = st.recursive(
    st.one_of(
        st.text(max_size=8),
        st.integers(),
        st.booleans(),
        st.floats(),
        st.sampled_from(["debian", "files", "/", "/a/b", "*", "**", ".", "", "0644", "1:1", "tmpfs /run", "[", "a\0b"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "path", "files", "port", "text", "x", "", "0"]), inner, max_size=3),
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(sorted({*re.findall(r"^\[*([a-z_]+)", GOOD, re.M), "kernel", "root", "budget", "x", ""}))


@settings(deadline=None)
@given(st.lists(st.tuples(KEYS, KEYS, VALUES), max_size=4))
def test_no_value_anywhere_gives_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str, object]]
) -> None:
    document = tomllib.loads(GOOD)
    for table, key, value in changes:
        place = document.get(table)
        if isinstance(place, dict) and key:
            place[key] = value
        else:
            document[table] = value
    text = "\n".join(f"{spell(key)} = {spell(value)}" for key, value in document.items())
    check(tmp_path_factory, text)


@settings(deadline=None)
@given(st.one_of(documents(), st.text(), st.lists(st.sampled_from(GOOD.split()), max_size=9).map("\n".join)))
def test_no_text_gives_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    check(tmp_path_factory, text)


def check(factory: pytest.TempPathFactory, text: str) -> None:
    """The recipe is fine, or is refused with mistakes that stand in it and speak our language."""
    folder = write_recipe(factory.getbasetemp() / "random", text)
    try:
        load(folder)
    except RecipeError as error:
        assert error.problems
        for problem in error.problems:
            assert 0 <= problem.line <= text.count("\n") + 1
            assert not any(word in problem.message for word in JARGON)


@pytest.mark.parametrize("format_name", ["initramfs", "memory"])
def test_a_list_of_pages_beside_a_root_in_memory(tmp_path: Path, format_name: str) -> None:
    (tmp_path / "pages.json").write_text("{}")
    root = f'[root]\nformat = "{format_name}"\npages = "pages.json"\n[machine]'
    (found,) = (each for each in problems(tmp_path, GOOD.replace("[machine]", root)) if each.key == "root.pages")
    assert found.message == f'a root in memory (format = "{format_name}") reads nothing ahead'


def test_a_recipe_is_found_by_its_folder_and_by_its_file(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path, GOOD)
    assert find(folder) == find(folder / "recipe.toml") == folder


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a device", "a link that leads to nothing"])
def test_a_recipe_that_is_no_file_is_not_said_to_be_missing(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "page" / "recipe.toml"
    file.parent.mkdir()
    match kind:
        case "a folder":
            file.mkdir()
        case "a pipe":
            os.mkfifo(file)
        case "a device":
            file.symlink_to("/dev/null")
        case _:
            file.symlink_to("nowhere")
    for named in (file, file.parent):
        with pytest.raises(RecipeError) as caught:
            find(named)
        (problem,) = caught.value.problems
        assert (problem.file, problem.message) == (file, f"it is no file, but {kind}")
