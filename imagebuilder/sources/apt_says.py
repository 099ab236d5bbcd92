"""What apt says when it fails, in the user's terms."""

import re

from imagebuilder.errors import SourceError, ToolFailed

# A repository that cannot be used at all, as apt names it: its address and why.
UNUSABLE = re.compile(r"The repository '(?P<uri>\S+) \S+ \w+' (?P<why>is not signed|does not have a Release file)")
TAMPERED = re.compile(r"GPG error: (?P<uri>\S+) .*(BADSIG|EXPKEYSIG|REVKEYSIG)")

GONE_VERSION = r"Version '(?P<version>[^']+)' for '(?P<name>[^']+)' was not found"
GONE_FILE = r"\b404\b"

# What apt says (the end of it) -> what it means for the user. The first that matches counts.
Meaning = tuple[str, str, str | None]
MEANINGS: tuple[Meaning, ...] = (
    (
        r"does not have a Release file",
        'source.release: the configured archives have no Debian release "{release}"',
        "known are for example bookworm and trixie",
    ),
    (
        r"NO_PUBKEY|BADSIG|EXPKEYSIG|is not signed|Missing key|signature",
        "the archive's signature of Debian {release} cannot be verified",
        "a newer package debian-archive-keyring may have its key: sudo apt-get install debian-archive-keyring",
    ),
    (
        r"Hash Sum mismatch|unexpected size",
        "a file from the archive of Debian {release} is damaged: {file}",
        "try again, or check the mirror",
    ),
    (
        GONE_VERSION,
        'source.packages: Debian {release} does not have "{name}" in version {version}',
        "it may have been replaced by a newer one: ask for that, or for none",
    ),
    (
        GONE_FILE,
        "the archive of Debian {release} no longer has {file}",
        "it may have been replaced by a newer one: resolve again with --refresh",
    ),
    (
        r"Package '?(?P<name>[^' ]+)'? (has no installation candidate|is a virtual package)",
        'source.packages: Debian {release} knows "{name}" only by name: name a package that provides it',
        None,
    ),
    (
        r"unmet dependencies|held broken packages|Unable to correct",
        "source.packages: packages of Debian {release} that cannot be installed together were asked for",
        None,
    ),
    (r"No space left|write error", "the cache is full while apt works for Debian {release}", "free some disk space"),
    (
        r"Failed to fetch|Could not resolve|onnect to|onnection|Temporary failure",
        "the archive of Debian {release} cannot be reached: {last}",
        "check the network, and what apt is configured for",
    ),
)


class UnknownFailure(SourceError):
    """apt failed, and what it said is none of ``MEANINGS``."""


class NoLongerThere(SourceError):
    """An archive no longer has a version of a package, or its file: a newer one has taken its place, mostly."""


def explain(error: ToolFailed, release: str) -> SourceError:
    """What apt's failure means for the user."""
    said = error.stderr
    file = re.findall(r"Failed to fetch (\S+)", said)
    last = re.findall(r"E: (?:Failed to fetch \S+ +)?(.*\S)", said)
    words = {"release": release, "file": file[0] if file else "a file", "last": last[0] if last else error.message}
    for pattern, message, hint in MEANINGS:
        if match := re.search(pattern, said):
            kind = NoLongerThere if pattern in (GONE_VERSION, GONE_FILE) else SourceError
            return kind(message.format(**{**words, **match.groupdict()}), hint=hint)
    return UnknownFailure(f"apt failed for Debian {release}: {words['last']}")


def unusable(said: str) -> dict[str, str]:
    """By address the archives that apt cannot use, and why: not those whose signature is there and wrong."""
    tampered = {match["uri"] for match in TAMPERED.finditer(said)}
    return {match["uri"]: match["why"] for match in UNUSABLE.finditer(said) if match["uri"] not in tampered}
