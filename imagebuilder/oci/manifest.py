"""From a tag to what an image is made of: the manifest for our platform, its configuration and its layers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagebuilder import documents
from imagebuilder.arch import TARGET
from imagebuilder.errors import SourceError
from imagebuilder.oci.content import (
    CONFIGURATION,
    CONFIGURATIONS,
    FOREIGN,
    INDEXES,
    LAYERS,
    MANIFESTS,
    Content,
    Descriptor,
    Platform,
    check_digest,
    json_of,
)
from imagebuilder.words import shortened

MOST_LAYERS = 1_000  # overlay file systems take 500
MOST_SHOWN = 8
OURS = Platform("linux", TARGET.oci)
UNKNOWN = "unknown"  # the platform of attestations

T = TypeVar("T", bound=BaseModel)


class _Table(BaseModel):
    """What of a document counts; the specification lets it have more."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _Platform(_Table):
    os: str = ""
    architecture: str = ""
    variant: str | None = None


class _Descriptor(_Table):
    mediaType: str = ""
    digest: str
    size: int = Field(ge=0)
    platform: _Platform | None = None
    urls: tuple[str, ...] | None = Field(default=None, strict=False)

    @property
    def value(self) -> Descriptor:
        """As all others have it."""
        told = self.platform
        platform = Platform(told.os, told.architecture, told.variant or "") if told else None
        return Descriptor(self.mediaType, check_digest(self.digest), self.size, platform, self.urls or ())


class _Index(_Table):
    manifests: tuple[_Descriptor, ...] = Field(strict=False)


class _Manifest(_Table):
    config: _Descriptor
    layers: tuple[_Descriptor, ...] = Field(strict=False)


class RootFs(_Table):
    """The digests of the layers as they are when they are unpacked."""

    diff_ids: tuple[str, ...] = Field(default=(), strict=False)


class Execution(_Table):
    """How a container is started (image-spec 1.1.1, "config.md"); what is missing may be null too."""

    User: str | None = None
    ExposedPorts: Mapping[str, Any] | None = None
    Env: tuple[str, ...] | None = Field(default=None, strict=False)
    Entrypoint: tuple[str, ...] | None = Field(default=None, strict=False)
    Cmd: tuple[str, ...] | None = Field(default=None, strict=False)
    Volumes: Mapping[str, Any] | None = None
    WorkingDir: str | None = None
    StopSignal: str | None = None


class Configuration(_Table):
    """The configuration of an image."""

    os: str = ""
    architecture: str = ""
    config: Execution | None = None
    rootfs: RootFs = RootFs()


class Image(_Table):
    """An image for our platform: its manifest's digest, its configuration, its layers from the lowest on."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    manifest: Descriptor
    configuration: Configuration
    layers: tuple[Descriptor, ...]


def manifest_of(content: Content, found: Descriptor, name: str) -> Descriptor:
    """The manifest for our platform that a tag's manifest or index comes to. Raises SourceError."""
    for _ in range(2):  # an index may name an index; a third level does not occur
        if found.media_type not in INDEXES and not _is_index(found, content):
            return found
        entries = [each.value for each in read(_Index, content.document(found), f"the index of {name}").manifests]
        found = _ours(entries, name)
    return found


def image_of(content: Content, manifest: Descriptor, name: str) -> Image:
    """What a manifest names. Raises SourceError for an image that is none of ours."""
    raw = read(_Manifest, content.document(manifest), f"the manifest of {name}")
    layers = tuple(each.value for each in raw.layers)
    if len(layers) > MOST_LAYERS:
        raise SourceError(f"{name} has {len(layers):,} layers: at most {MOST_LAYERS:,} are taken")
    for layer in layers:
        kind = shortened(layer.media_type)
        if layer.media_type.startswith(FOREIGN):
            raise SourceError(f'{name} has a layer that may not be passed on, as images of Windows have: "{kind}"')
        if layer.media_type not in LAYERS:
            raise SourceError(f'{name} has a layer of the unknown type "{kind}": it is no container image')
    described = raw.config.value
    if described.media_type and described.media_type not in CONFIGURATIONS:
        raise SourceError(f'{name} is of the type "{shortened(described.media_type)}", and is no container image')
    described = replace(described, media_type=described.media_type or CONFIGURATION)
    configuration = read(Configuration, content.document(described), f"the configuration of {name}")
    platform = Platform(configuration.os, configuration.architecture)
    if configuration.os and (platform.os, platform.architecture) != (OURS.os, OURS.architecture):
        raise SourceError(f"{name} is an image for {shortened(str(platform))}, and {OURS} is needed")
    if len(configuration.rootfs.diff_ids) != len(layers):
        count = len(configuration.rootfs.diff_ids)
        raise SourceError(f"{name} is damaged: it has {len(layers)} layers, and its configuration lists {count}")
    return Image(manifest=manifest, configuration=configuration, layers=layers)


def _is_index(found: Descriptor, content: Content) -> bool:
    """Whether a document of no type that is known is an index."""
    if found.media_type in MANIFESTS:
        return False
    try:
        document = json_of(content.document(found))
    except documents.Damaged:
        return False
    return isinstance(document, dict) and "manifests" in document


def _ours(entries: Sequence[Descriptor], name: str) -> Descriptor:
    """The entry of an index that is for our platform: the first that fits, one without a platform last."""
    real = [each for each in entries if each.platform is None or each.platform.os != UNKNOWN]
    for each in real:
        if each.platform and (each.platform.os, each.platform.architecture) == (OURS.os, OURS.architecture):
            return each
    unnamed = [each for each in real if each.platform is None]
    if len(unnamed) == 1 == len(real):
        return unnamed[0]
    known = list(dict.fromkeys(shortened(str(each.platform)) for each in real if each.platform))
    has = f": it has {', '.join(known[:MOST_SHOWN])}" if known else ""
    raise SourceError(f"{name} has no image for {OURS}{has}")


def read(table: type[T], data: bytes, what: str) -> T:
    """A document of an image. Raises SourceError."""
    try:
        return table.model_validate(json_of(data))
    except documents.Damaged as error:
        raise SourceError(f"{what} is no JSON document: {error}") from error
    except ValidationError as error:
        raise SourceError(f"{what} is not as the specification has it: {documents.mistake_in(error)}") from error
