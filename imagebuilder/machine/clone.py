"""Clones: instances that begin where their template stopped, each a machine of its own.

Before any program goes on, init gives a clone its own random numbers, clock, host name, network card and address, and
what the host has for it alone (``/run/instance``).
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_bytes, token_hex

from imagebuilder.errors import InputError
from imagebuilder.machine.given import Given
from imagebuilder.machine.instance import Instance
from imagebuilder.machine.launcher import Spawned
from imagebuilder.machine.network import address_words
from imagebuilder.machine.spec import Forward
from imagebuilder.machine.suspend import Parked, go_on, load, load_and_go_on
from imagebuilder.machine.template import Template

SEED_BYTES = 32
MOST_NAME_BYTES = 64


def _mac() -> bytes:
    """An address of one machine (its first byte says: not from a vendor's list)."""
    return b"\x02" + token_bytes(5)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a clone is. What is not given is chosen at random."""

    hostname: str
    seed: bytes = field(default_factory=lambda: token_bytes(SEED_BYTES), repr=False)
    mac: bytes = field(default_factory=_mac)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Written to ``/run/instance/environment``, a line ``NAME=VALUE`` each."""
    user_data: bytes = b""
    """Written to ``/run/instance/user-data``."""
    secrets: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Written to ``/run/credentials/NAME``, which the application's user alone reads."""

    def __post_init__(self) -> None:
        """Raises InputError for what a guest could not be given."""
        if not 0 < len(self.hostname.encode()) <= MOST_NAME_BYTES or any(c.isspace() for c in self.hostname):
            raise InputError(f"{self.hostname!r} is no host name: 1 to {MOST_NAME_BYTES} bytes without spaces")
        self._given  # noqa: B018 - it refuses what cannot be given

    @property
    def _given(self) -> Given:
        return Given(self.environment, self.user_data, self.secrets)

    @classmethod
    def of(
        cls,
        template: Template,
        *,
        environment: Mapping[str, str] | None = None,
        user_data: bytes = b"",
        secrets: Mapping[str, bytes] | None = None,
    ) -> "Identity":
        """A new machine of this template, of a name of its own."""
        hostname = f"{template.name[: MOST_NAME_BYTES - 13]}-{token_hex(6)}"
        return cls(hostname, environment=environment or {}, user_data=user_data, secrets=secrets or {})

    def words(self, address: str | None) -> Iterator[str]:
        """What is sent to init, line by line; a machine without a network has no address."""
        yield f"seed {self.seed.hex()}"
        yield f"hostname {self.hostname}"
        if address is not None:
            yield f"network {self.mac.hex()} {address}"
        yield from self._given.words()


@asynccontextmanager
async def clone(
    template: Template,
    identity: Identity | None = None,
    *,
    forwards: tuple[Forward, ...] = (),
    host_cpus: tuple[int, ...] = (),
    on_console: Callable[[bytes], None] | None = None,
) -> AsyncIterator[Instance]:
    """A clone that goes on; wait for its answer as for any instance's. At the end of the block it is gone.

    ``host_cpus`` are the processors of this host that QEMU may use; none: those that we may use. Raises what
    ``Instance.start`` raises, and GuestFailed.
    """
    async with _started(template, forwards, on_console, host_cpus) as instance:
        words = words_of(instance, template, identity or Identity.of(template))
        await load_and_go_on(instance, parked_of(template), words=words, signal=template.signal)
        yield instance


@asynccontextmanager
async def held(
    template: Template, *, forwards: tuple[Forward, ...] = (), on_console: Callable[[bytes], None] | None = None
) -> AsyncIterator[Instance]:
    """A clone that stands still where its template stopped, until ``begin``."""
    async with _started(template, forwards, on_console) as instance:
        await load(instance)
        yield instance


async def begin(instance: Instance, template: Template, identity: Identity) -> None:
    """Let a held clone go on for the first time, with its new identity. Does not wait until its programs go on."""
    words = words_of(instance, template, identity)
    await go_on(instance, parked_of(template), words=words, signal=template.signal)


@asynccontextmanager
async def _started(
    template: Template,
    forwards: tuple[Forward, ...],
    on_console: Callable[[bytes], None] | None,
    host_cpus: tuple[int, ...] = (),
) -> AsyncIterator[Instance]:
    launch = template.launch(host_cpus=host_cpus)
    with template.used():
        async with Instance.start(
            template.spec(forwards), launch, on_console=on_console, launcher=Spawned(template.state)
        ) as instance:
            yield instance


def parked_of(template: Template) -> Parked:
    """How it stands still."""
    return Parked(template.guest_ns, template.unsure_ns)


def words_of(instance: Instance, template: Template, identity: Identity) -> list[str]:
    """What init gets to know of a clone's identity."""
    # The name server is its template's: to write it down again would cost more than all the rest.
    words = [*identity.words(address_words(instance.spec, instance.launch) if instance.spec.network else None)]
    if template.hook is not None:
        words.append(f"hook {template.hook}")
    return words
