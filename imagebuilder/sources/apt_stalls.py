"""Whether apt gets on: for a file that it lost when the disk was full it waits for ever, and says so twice a second."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import SourceError

FULL_S, LITTLE_BYTES = 5.0, 64 << 10
STALLED_S = 300.0  # apt itself tries four times and waits 30 s each time


@dataclass
class Stalls:
    """Looks at the lines of apt's status as they come (``APT::Status-Fd``); times are those of a steady clock."""

    folder: Path
    release: str
    _line: str = ""
    _since_s: float = 0.0

    def look(self, line: str, now_s: float) -> None:
        """Raise SourceError when it has been the same line for too long."""
        if line != self._line:
            self._line, self._since_s = line, now_s
            return
        waited_s = now_s - self._since_s
        if waited_s > FULL_S and shutil.disk_usage(self.folder).free < LITTLE_BYTES:
            raise SourceError(
                f"the cache is full while apt works for Debian {self.release}", hint="free some disk space"
            )
        if waited_s > STALLED_S:
            message = f"the archive of Debian {self.release} cannot be reached: nothing came for {STALLED_S:g} s"
            raise SourceError(message, hint="check the network, and what apt is configured for")
