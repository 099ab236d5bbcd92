"""The root: what the application needs, the recipe's files, the kernel's modules and the OS layer, as one tree."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from imagebuilder import pages
from imagebuilder.build.steps.kernel import KernelResult
from imagebuilder.build.steps.result import contents_of_tree
from imagebuilder.build.steps.slim import SlimResult
from imagebuilder.bundle import IN_MEMORY
from imagebuilder.closure.groups import Group
from imagebuilder.errors import InputError
from imagebuilder.events import Say, Warned
from imagebuilder.pages import PageList
from imagebuilder.platforms.table import PLATFORMS
from imagebuilder.platforms.users import User, resolve
from imagebuilder.platforms.values import Ahead, Orders, Surroundings, mounts_of
from imagebuilder.recipe.model import Application, Helper, Root
from imagebuilder.recipe.values import Capability, Egress
from imagebuilder.sources.kind import Context
from imagebuilder.sources.maintainer.capabilities import ungranted
from imagebuilder.sources.overlay import overlay
from imagebuilder.store import Store
from imagebuilder.transforms.kind import ChosenTransform, TransformContext, transformed
from imagebuilder.tree import Kind, Node, Tree
from imagebuilder.words import some

# A root up to this size goes into memory with the kernel; a larger one is a disk that is read as needed. docs/root.md
# holds the measurements behind both the figure and the choice of EROFS.
LARGEST_INITRAMFS_BYTES = 2 << 20


@dataclass(frozen=True)
class AddedFile:
    """A file of the recipe; the node belongs to root yet, ``owner`` is the recipe's word."""

    path: str
    node: Node
    owner: str = "root"


@dataclass(frozen=True)
class KernelAbilities:
    """What of a kernel counts for the root: whether it reads attributes of EROFS, has low ports free for all users, and
    sends init a signal when a socket listens."""

    name: str
    erofs_attributes: bool = False
    low_ports: bool = False
    listen_signal: bool = False


@dataclass(frozen=True)
class RootInputs:
    """The recipe's ``name`` is the host name; ``init`` is the key of the platform's programs,
    ``source_owners`` whose the files of sources are."""

    name: str
    application: Application
    root: Root
    network: bool
    egress: Egress
    platform: str
    init: str
    kernel: KernelAbilities
    files: tuple[AddedFile, ...] = ()
    source_owners: tuple[str, ...] = ()
    transforms: Mapping[str, ChosenTransform] = field(default_factory=dict)
    pages: PageList | None = None
    helpers: tuple[Helper, ...] = ()

    @property
    def programs(self) -> tuple[str, ...]:
        """What is started."""
        return (self.application.command, *(each.command[0] for each in self.helpers))


@dataclass(frozen=True)
class RootResult:
    """The tree, what its file will be to those who boot it, and what of it the sources did not bring."""

    tree: Tree
    format: str
    groups: tuple[Group, ...]

    def save(self, store: Store) -> dict[str, Any]:
        """As a step's result."""
        groups = [group.describe() for group in self.groups]
        return {"tree": self.tree.save(store), "format": self.format, "contents": groups}

    @classmethod
    def load(cls, document: Mapping[str, Any], store: Store) -> Self:
        """As a step's result."""
        groups = tuple(Group(**each) for each in document["contents"])
        return cls(Tree.load(document["tree"], store), document["format"], groups)

    @classmethod
    def contents(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """As a step's result."""
        return contents_of_tree(document["tree"])


def modules(inputs: RootInputs) -> tuple[str, ...]:
    """What does it: this, and the transforms of its stage."""
    return __name__, *(each.transform.apply.__module__ for each in inputs.transforms.values())


def run(inputs: RootInputs, needs: tuple[SlimResult, KernelResult], context: Context) -> RootResult:
    """Lay all parts over one another."""
    slimmed, kernel = needs
    user, owners, files = _users_and_files(inputs, slimmed)
    helpers = _helpers(inputs, slimmed)
    platform, mounts = PLATFORMS[inputs.platform], mounts_of(inputs.root)
    above = (slimmed.tree, files, kernel.modules, platform.mount_points(mounts))
    chosen = _format(inputs, kernel, above)
    if inputs.root.pages and chosen in IN_MEMORY:
        context.say(Warned(f"root.pages has no effect on a root that is in memory ({chosen})"))
    on_disk = chosen != "initramfs"
    others = tuple(each for _, each in helpers)
    writes = _writes(inputs, (user, *others), above)
    given = _surroundings(inputs, slimmed, read_only=on_disk and not writes)
    system = tree = platform.defaults((user, *owners, *others), given)
    for part in above[:-1]:
        tree, _ = overlay(tree, part)
    copies = platform.copied(tree, mounts, system)
    tree, _ = overlay(tree, above[-1])
    packed = _transformed(inputs, tree, context)
    ahead = () if chosen in IN_MEMORY else _ahead(inputs, packed, context.say)
    orders = _orders(inputs, user, kernel, copies=copies, ahead=ahead, has_overlay=on_disk and writes)
    orders = replace(orders, helpers=helpers)
    layer = platform.layer(orders, context.store, context.say)
    tree = tree.merge(layer)
    rest = Tree({path: node for path, node in layer.items() if path != platform.program})
    added = {
        ("imagebuilder: init", "starts the application"): Tree({platform.program: layer[platform.program]}),
        ("imagebuilder: configuration", "every image has it"): system.merge(rest),
        ("recipe: data", "the recipe adds it"): files,
        (f"{inputs.kernel.name}: kernel module", "the kernel needs it"): kernel.modules,
    }
    groups = [_group(name, why, part, tree) for (name, why), part in added.items()]
    whole = packed.merge(layer)
    _tell_ungranted(whole, inputs.application.capabilities, context.say)
    return RootResult(whole, chosen, tuple(group for group in groups if group.files))


def _transformed(inputs: RootInputs, tree: Tree, context: Context) -> Tree:
    from imagebuilder.closure.slimming import Around

    programs, around = inputs.programs, Around(environment=inputs.application.environment)
    with context.store.scratch() as scratch:
        done = transformed(tree, inputs.transforms, TransformContext(programs, around, scratch))
    for sentence in done.warnings:
        context.say(Warned(sentence))
    return done.tree


def _users_and_files(inputs: RootInputs, slimmed: SlimResult) -> tuple[User, list[User], Tree]:
    """Whom the application runs as, whose files are, and the recipe's files."""
    known = slimmed.users
    user = resolve(inputs.application.user, known, key="application.user")
    owners = [resolve(each.owner, known, key=f"files.owner of {each.path}") for each in inputs.files]
    named = [resolve(word, known, key="source.owner") for word in inputs.source_owners]
    files = {
        each.path: replace(each.node, uid=owner.uid, gid=owner.gid)
        for each, owner in zip(inputs.files, owners, strict=True)
    }
    return user, [*owners, *named], Tree(files)


def _helpers(inputs: RootInputs, slimmed: SlimResult) -> tuple[tuple[Helper, User], ...]:
    """The helpers, each with whom it runs as."""
    return tuple(
        (each, resolve(each.user, slimmed.users, key=f"helper.user of {each.name}")) for each in inputs.helpers
    )


def _format(inputs: RootInputs, kernel: KernelResult, parts: Sequence[Tree]) -> str:
    """The format of the root: the recipe's, or what its files (size, attributes) and the kernel suggest."""
    asked: str = inputs.root.format
    # A distribution's kernel has file systems and disks as modules, which it must find in its initramfs: the one root
    # in memory that it can use.
    if asked == "memory" and kernel.module_paths:
        return "initramfs"
    if asked not in ("auto", "initramfs") and kernel.module_paths:
        raise InputError(
            f'root.format = "{asked}" cannot be booted by {inputs.kernel.name}, whose file systems are modules',
            hint='write "auto", "memory" or "initramfs", or take the kernel micro',
        )
    if asked != "auto":
        return asked
    attributed = inputs.kernel.erofs_attributes and any(node.xattrs for part in parts for node in part.values())
    small = sum(part.size_bytes for part in parts) <= LARGEST_INITRAMFS_BYTES
    return "initramfs" if kernel.module_paths or (small and not attributed) else "erofs"


def _writes(inputs: RootInputs, users: Sequence[User], parts: Sequence[Tree]) -> bool:
    """Whether the application or a helper writes into the root: as the recipe says, else where they could; the first
    of the ``users`` is the application's."""
    if inputs.root.writable is not None:
        return inputs.root.writable
    mounted = [mount.target for mount in mounts_of(inputs.root)]
    granted = (inputs.application.capabilities, *(() for _ in users[1:]))
    pairs = tuple(zip(users, granted, strict=True))
    could_write = PLATFORMS[inputs.platform].could_write
    return any(could_write(part, user, rights, mounted) for part in parts for user, rights in pairs)


def _surroundings(inputs: RootInputs, slimmed: SlimResult, *, read_only: bool) -> Surroundings:
    return Surroundings(
        hostname=inputs.name,
        network=inputs.network,
        egress=inputs.egress,
        debian=bool(slimmed.packages),
        read_only=read_only,
        mounted=tuple(mount.target for mount in mounts_of(inputs.root)),
        passwd_lines=slimmed.setup.passwd,
        group_lines=slimmed.setup.group,
    )


def _orders(
    inputs: RootInputs,
    user: User,
    kernel: KernelResult,
    *,
    copies: tuple[str, ...],
    ahead: tuple[Ahead, ...],
    has_overlay: bool,
) -> Orders:
    return Orders(
        application=inputs.application,
        user=user,
        hostname=inputs.name,
        network=inputs.network,
        mounts=mounts_of(inputs.root),
        modules=kernel.module_paths,
        overlay=has_overlay,
        copies=copies,
        ahead=ahead,
        low_ports=inputs.kernel.low_ports,
        listen_signal=inputs.kernel.listen_signal,
    )


def _ahead(inputs: RootInputs, packed: Tree, say: Say) -> tuple[Ahead, ...]:
    """What of the application is read ahead; a list of pages that holds for other contents is reported."""
    from imagebuilder.closure.slimming import needed

    known = inputs.pages
    paths = needed(packed, inputs.application.command)[: PLATFORMS[inputs.platform].most_ahead.files]
    if known and (others := pages.unknown(packed, paths, known)):
        hint = pages.learn_hint(inputs.name)
        say(Warned(f"{inputs.root.pages} is of another {some(others)}: {hint}"))
    return pages.ahead(packed, paths, known)


def _group(name: str, why: str, part: Tree, whole: Tree) -> Group:
    """What of a part stands in the whole: another may have brought a file of the same path."""
    sizes = [node.size_bytes for path, node in part.items() if node.kind is Kind.FILE and whole.get(path) == node]
    return Group(name, len(sizes), sum(sizes), True, why)


def _tell_ungranted(tree: Tree, granted: Sequence[Capability], say: Say) -> None:
    """Say which file capabilities have no effect: a program gains none by an exec, and has what the recipe grants."""
    lacking = ungranted(tree, granted)
    if lacking:
        names = ", ".join(f'"{name}"' for name in sorted({name for names in lacking.values() for name in names}))
        said = f"the file capabilities of {some(list(lacking))} have no effect, since no program gains rights here"
        say(Warned(f"{said}: if the application needs them, add capabilities = [{names}] to [application]"))
