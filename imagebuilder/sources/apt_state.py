"""The folder in which apt keeps its lists, between one run and the next. What is damaged there apt uses as it is: it
verifies what it downloads, and not what it had kept."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder import private
from imagebuilder.errors import OutputError
from imagebuilder.store import canonical, key_of, sha256_file

FOLDERS = ("lists/partial", "cache/archives/partial", "sources.list.d")
SOURCES = "sources.list.d/debian.sources"
KEPT = ("lists", "cache", "updated")  # what apt keeps, and what we know of it


@dataclass(frozen=True, slots=True)
class AptState:
    """The state of one apt. ``updated`` is there once the lists were complete: it says which archives were used, and
    what the lists must be."""

    folder: Path

    @property
    def sources(self) -> str:
        """The list of the archives that were used; empty before that, and when it is damaged."""
        return str(self._noted().get("sources", ""))

    @property
    def damaged(self) -> bool:
        """Whether something is there that is not what was kept."""
        noted = self._noted()
        return (self.folder / "updated").exists() and noted.get("lists") != self._lists()

    def note(self, sources: str) -> None:
        """The lists are complete. Raises OutputError."""
        value = {"sources": sources, "lists": self._lists()}
        self.write("updated", canonical({"value": value, "sha256": key_of(value)}).decode())

    def forget(self) -> None:
        """The lists may change from here on. Raises OutputError."""
        private.remove(self.folder / "updated")

    def clear(self) -> None:
        """Remove what apt keeps, so that it is fetched again. Raises OutputError."""
        for name in KEPT:
            private.remove(self.folder / name)
        self.prepare({})

    def prepare(self, files: Mapping[str, str]) -> None:
        """Make what is missing, and write these files. Raises OutputError."""
        try:
            for name in FOLDERS:
                private.make_folder(self.folder / name)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        for name, text in files.items():
            self.write(name, text)  # a proxy's address may hold a password

    def write(self, name: str, text: str) -> None:
        """Write a file of it. Raises OutputError."""
        path = self.folder / name
        try:
            if path.is_dir():
                private.remove(path)
            private.write(path, text.encode())
        except OSError as error:
            raise _unwritable(path, error) from error

    def _noted(self) -> dict[str, Any]:
        try:
            document = json.loads((self.folder / "updated").read_bytes())
            value = document["value"]
            return value if document["sha256"] == key_of(value) and isinstance(value, dict) else {}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def _lists(self) -> dict[str, str]:
        """The hashes of apt's lists, by their names."""
        files = (path for path in (self.folder / "lists").glob("*_*") if path.is_file())
        return {path.name: sha256_file(path) for path in files}


def _unwritable(path: Path, error: OSError) -> OutputError:
    hint = "set IMAGEBUILDER_CACHE to another folder"
    return OutputError(f"the cache {path} cannot be written: {error.strerror}", hint=hint)
