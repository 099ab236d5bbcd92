"""Jars as a source: what their manifests say, those in others, and what a machine is told to make of them."""

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from imagebuilder.errors import SourceError
from imagebuilder.events import Event, Note
from imagebuilder.sources import SOURCES, Context, debian, java
from imagebuilder.sources.java import JavaSource
from imagebuilder.sources.java import jar as jars
from imagebuilder.sources.kind import Choice, Package
from imagebuilder.tree import Blob

from .jars import NESTED, jar, manifest, nested
from .provided import provided

MAIN = {"Main-Class": "com.example.Main"}
JDK = Package("openjdk-17-jdk-headless", "17.0.1", "a" * 64, 1)


def source(**values: object) -> JavaSource:
    return JavaSource.model_validate({"type": "java", "release": "bookworm", **values})


def written(context: Context, content: bytes, name: str = "app.jar") -> Path:
    path = context.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", fullmatch=True), st.text(max_size=200), max_size=5
    ),
    st.sampled_from(["\n", "\r\n"]),
)
def test_a_manifest_is_read_as_it_is_written(attributes: dict[str, str], end: str) -> None:
    plain = {name: "".join(each for each in value if each.isprintable()) for name, value in attributes.items()}
    expected = {name.lower(): value for name, value in plain.items()}
    assert jars.manifest(manifest(plain, end)) == {"manifest-version": "1.0", **expected}


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_what_a_manifest_says_is_a_class_or_refused(text: bytes) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr(jars.MANIFEST, b"Main-Class: " + text)
    try:
        said = jars.read(stream, "app.jar")
    except SourceError as error:
        assert error.message.startswith("app.jar is refused: its main class ") and error.message.isprintable()
    else:
        assert said.main is None or not set(said.main) & set("-/\\ \t\n:;")


def test_an_application_is_its_main_class_on_the_class_path_of_its_jar(context: Context, events: list[Event]) -> None:
    written(context, jar({**MAIN, "Class-Path": "lib/a%20b.jar lib/gone.jar ../out.jar lib/"}), "build/app.jar")
    written(context, jar({}), "build/lib/a b.jar")
    written(context, jar({}), "out.jar")
    wanted = source(jar="build/app.jar", options=["-Xmx64m"], arguments=["--port", "80"])
    application = java.resolve(wanted, context).defaults.application
    assert (application["command"], application["directory"]) == ("/opt/java/bin/java", "/srv/app")
    assert application["arguments"] == (
        *("-XX:-UsePerfData", "-XX:SharedArchiveFile=/opt/java/lib/application.jsa", "-Xmx64m"),
        *("-cp", "/srv/app/app.jar:/srv/app/lib/a b.jar", "com.example.Main", "--port", "80"),
    )
    assert {*provided(wanted, context).tree} >= {"/srv/app/app.jar", "/srv/app/lib/a b.jar"}
    assert Note("build/app.jar names what is no file beside it, and is left out: lib/gone.jar and 2 more") in events


def test_a_jar_without_a_main_class_is_one_sentence_and_its_hint_works(context: Context) -> None:
    written(context, jar({}))
    with pytest.raises(SourceError, match=r"^source\.jar: app\.jar has no main class in its manifest") as caught:
        java.resolve(source(jar="app.jar"), context)
    assert caught.value.hint == 'name it, as main = "com.example.Main" under [source]'
    application = java.resolve(source(jar="app.jar", main="com.example.Main"), context).defaults.application
    assert application["arguments"][-1] == "com.example.Main"


def test_an_executable_jar_of_spring_boot_is_taken_apart(context: Context) -> None:
    written(context, nested())
    wanted = source(jar="app.jar")
    arguments = java.resolve(wanted, context).defaults.application["arguments"]
    paths = [f"/srv/app/{name}" for name in ("classes.jar", "two-2.0.jar", "one-1.0.jar")]
    assert arguments[-2:] == (":".join(paths), "com.example.Main")
    layer = provided(wanted, context)
    assert {path for path in layer.tree if path.endswith(".jar")} == {*paths}
    with zipfile.ZipFile(io.BytesIO(layer.tree[paths[0]].content.read())) as own:
        assert own.namelist() == ["com/example/Main.class", "application.properties", "META-INF/services/a.Service"]
    assert layer.tree[paths[2]].content.read() == jar({})
    assert provided(wanted, context) == layer


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no zip", "no zip archive, or a damaged one"),
        (jar(MAIN)[:-30], "no zip archive, or a damaged one"),
        (jar({"Main-Class": "com/example/Main"}), "its main class 'com/example/Main' is no name of a class"),
        (jar({"Main-Class": "-version"}), "its main class '-version' is no name of a class"),
        (jar(NESTED, {"BOOT-INF/lib/a:b.jar": b""}), "has a name that no class path can have"),
        (jar(NESTED, {"BOOT-INF/lib/a.jar": b"", "BOOT-INF/lib/x/a.jar": b""}), "two libraries in it have one name"),
        (jar({**MAIN, "Long": "a" * (2 << 20)}), r"MANIFEST\.MF' has more than 1,048,576 bytes"),
    ],
)
def test_what_is_no_jar_is_refused_in_a_sentence(context: Context, content: bytes, said: str) -> None:
    written(context, content)
    with pytest.raises(SourceError, match=said) as caught:
        provided(source(jar="app.jar"), context)
    assert caught.value.message.startswith("app.jar is") and "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "expected exactly one of jar, url, sources"),
        ({"url": "https://example.org/a.jar"}, "what is downloaded needs its sha256"),
        ({"sources": ["Main.java"]}, "main\n  this key is missing"),
        ({"sources": ["Main.java"], "main": "a-b"}, "match"),
        ({"jar": "app.jar", "modules": ["java.base,x"]}, "match"),
    ],
)
def test_keys_that_do_not_fit(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        source(**values)


def test_another_content_than_the_recipe_expects(context: Context) -> None:
    written(context, jar(MAIN))
    with pytest.raises(SourceError, match=f"app.jar has the sha256 {Blob.of(jar(MAIN)).digest}, and the recipe exp"):
        java.resolve(source(jar="app.jar", sha256="0" * 64), context)


def test_what_a_machine_makes_of_sources(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The JDK is of that machine alone; of what it makes, the runtime and the jar are kept."""
    monkeypatch.setattr(debian, "_choice", lambda *_: Choice("debian", {}, (JDK,)))
    written(context, b"class Main {}", "Main.java")
    wanted = source(sources=["*.java"], main="Main", modules=["jdk.crypto.ec"])
    locked = java.resolve(wanted, context)
    asked = java.prepare(locked, context, "http://127.0.0.1:80/")
    assert asked.made == ("/opt/java", "/srv/app/application.jar") and not java.fetch(locked, context).origins
    assert asked.command[3:] == ("-XX:-UsePerfData", "-cp", "/srv/app/application.jar", "Main")
    assert asked.environment == {
        "SOURCES": "/usr/src/application/Main.java",
        "JARS": "/srv/app/application.jar",
        "CLASS_PATH": "/srv/app/application.jar",
        "CLASS_DATA": "/opt/java/lib/application.jsa",
        "MAIN": "Main",
        "MODULES": "jdk.crypto.ec",
        "FEATURE": "17",
        "URL": "http://127.0.0.1:80/",
    }
    assert {*asked.files} == {"/prepare-java", "/usr/src/application/Main.java"}
    assert [each.packages for each in asked.tools if isinstance(each, debian.DebianSource)] == [java.TOOLS]
    assert SOURCES["java"].implied is java.implied and SOURCES["java"].prepare is java.prepare
    plain = java.resolve(source(sources=["*.java"], main="Main", class_data=False), context)
    without = java.prepare(plain, context, "")
    assert (without.environment["CLASS_DATA"], without.hint) == ("", "")
