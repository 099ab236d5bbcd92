"""Jars for tests, as tools of Java write them."""

import io
import zipfile
from collections.abc import Mapping


def manifest(attributes: Mapping[str, str], end: str = "\r\n") -> str:
    """A manifest, with lines of at most 72 bytes."""
    lines = []
    for name, value in {"Manifest-Version": "1.0", **attributes}.items():
        line = f"{name}: {value}".encode()
        while len(line) > 72:
            cut = 72
            while line[cut] & 0xC0 == 0x80:
                cut -= 1
            lines.append(line[:cut])
            line = b" " + line[cut:]
        lines.append(line)
    return end.join([*(line.decode() for line in lines), "", "Name: other/", "Main-Class: Wrong", ""])


def jar(attributes: Mapping[str, str], files: Mapping[str, bytes] | None = None) -> bytes:
    """A jar with these attributes of its main section, and files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr("META-INF/MANIFEST.MF", manifest(attributes))
        for path, content in (files or {}).items():
            made.writestr(zipfile.ZipInfo(path), content)
    return stream.getvalue()


NESTED = {
    "Main-Class": "org.springframework.boot.loader.launch.JarLauncher",
    "Start-Class": "com.example.Main",
    "Spring-Boot-Classes": "BOOT-INF/classes/",
    "Spring-Boot-Lib": "BOOT-INF/lib/",
    "Spring-Boot-Classpath-Index": "BOOT-INF/classpath.idx",
}
"""What the manifest of an executable jar of Spring Boot says."""


def nested() -> bytes:
    """Such a jar, with two libraries."""
    return jar(
        NESTED,
        {
            "org/springframework/boot/loader/launch/JarLauncher.class": b"loader",
            "BOOT-INF/classes/": b"",
            "BOOT-INF/classes/com/example/Main.class": b"main",
            "BOOT-INF/classes/application.properties": b"a=1",
            "META-INF/services/a.Service": b"b.Provider",
            "META-INF/SIGNED.RSA": b"signature",
            "BOOT-INF/lib/one-1.0.jar": jar({}),
            "BOOT-INF/lib/two-2.0.jar": jar({}, {"a": b"a"}),
            "BOOT-INF/classpath.idx": b'- "BOOT-INF/lib/two-2.0.jar"\n- "BOOT-INF/lib/gone.jar"\n',
        },
    )
