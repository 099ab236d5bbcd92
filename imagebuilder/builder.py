"""Walks a Plan against the store: what is there is taken, what is missing is made, and kept for the next time.

A step asks for the steps that it needs only when it runs itself, so that a build with nothing changed reads one record.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from imagebuilder import bundle, cache, guest, pages, translate
from imagebuilder import kernel as kernels
from imagebuilder.bundle import Bundle, Image
from imagebuilder.closure import Around, described, needed, slim
from imagebuilder.closure.binding import bound
from imagebuilder.closure.bytecode import byte_code
from imagebuilder.closure.groups import Group
from imagebuilder.errors import CacheError, InputError
from imagebuilder.events import Ended, Say, Warned, step
from imagebuilder.formats import FORMATS, Format
from imagebuilder.guest.config import MOST_LINES, Ahead
from imagebuilder.guest.covered import copied, mount_points
from imagebuilder.guest.layer import Surroundings, defaults, init_layer
from imagebuilder.guest.users import Ids, resolve
from imagebuilder.kernel import Kernel
from imagebuilder.pages import PageList
from imagebuilder.paths import PACKAGE, source_date_epoch_s
from imagebuilder.plan import Ingredients, Plan, Step, StepKind, plan
from imagebuilder.recipe.describe import describe
from imagebuilder.recipe.model import DebianSource, FileEntry, Recipe
from imagebuilder.sources import SOURCES, Context, Layer, is_glibc, known_users, package_with
from imagebuilder.sources.maintainer import Setup, joined
from imagebuilder.sources.overlay import overlay
from imagebuilder.sources.state import state_folders
from imagebuilder.store import Store, key_of, sha256_file
from imagebuilder.tree import Kind, Node, Tree

Result = Mapping[str, Any]

# A root up to this size goes into memory with the kernel; a larger one is a disk that is read as needed. docs/root.md
# holds the measurements behind both the figure and the choice of EROFS.
LARGEST_INITRAMFS_BYTES = 2 << 20
WITHOUT_CAPABILITIES = "A program that needs them has to run as root"
NO_BUILDERS = ("cli", "machine", "measure", "pytest_plugin")
KERNEL_FILES: Mapping[str, str] = {"microvm": "vmlinux", "q35": "vmlinuz"}


@dataclass(frozen=True)
class Build:
    """One recipe on its way to an image. ``refresh`` asks the sources anew for what may have changed outside;
    ``kernel_name`` is another kernel than the recipe's; ``smp`` asks for one that can use more than one processor."""

    recipe: Recipe
    store: Store
    say: Say
    refresh: bool = False
    kernel_name: str | None = None
    smp: bool = False
    _made: dict[str, Result] = field(default_factory=dict)

    def run(self, out: Path) -> Bundle:
        """Make the image in the folder ``out/NAME``, or leave it alone when it stands there already."""
        cache.limit_bytes()  # better known now than when all is done
        image = Image.model_validate(self.result(self.plan.bundle))
        folder = out / self.folder_name
        if (present := bundle.standing(image, folder)) is not None:
            return present
        try:
            written = bundle.write(image, folder, self.store)
        except CacheError as error:
            self._mend(error)
            written = bundle.write(Image.model_validate(self.result(self.plan.bundle)), folder, self.store)
        cache.sweep(self.store, self.say)
        return written

    def write_root(self, out: Path, format_name: str) -> Path:
        """Write the root alone as ``out/NAME.SUFFIX``, to look at with other tools; returns that path."""
        row = FORMATS[format_name]
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{self.folder_name}{row.suffix}"
        _tell_lost(self, self.root, row, format_name)
        row.write(self.root, path, epoch_s=source_date_epoch_s())
        return path

    @property
    def root(self) -> Tree:
        """The root as a tree: what is in the image."""
        (packed,) = self.plan.bundle.needs
        return self.tree(packed.needs[0])

    @cached_property
    def plan(self) -> Plan:
        """What is to be done."""
        recipe = self.recipe
        kernels.check_wishes(self._definition, self._fragments, self._wishes)
        kernels.check_cpus(self._definition, self._fragments, recipe.machine.cpus)
        return plan(
            Ingredients(
                name=recipe.name,
                code=code_digest(),
                sources=[SOURCES[source.type].describe(source, self.context) for source in recipe.source],
                application=recipe.application.model_dump(mode="json"),
                roots=self._roots,
                include=self._patterns("include"),
                exclude=self._patterns("exclude"),
                byte_code=self._patterns("byte_code"),
                added=[described(entry.path, node) for entry, node in self._files],
                search=self._search,
                files=[(entry.path, entry.owner, node.describe()) for entry, node in self._files],
                pages=self.page_list.model_dump(mode="json") if self.page_list else None,
                init=guest.init_key(),
                kernel=kernels.key(self._definition, self._fragments),
                root_format=recipe.root.format,
                epoch_s=source_date_epoch_s(),
                recipe=describe(recipe),
            )
        )

    @cached_property
    def page_list(self) -> PageList | None:
        """What the recipe's list of pages says. Raises InputError for a damaged one."""
        name = self.recipe.root.pages
        return pages.read(self.recipe.folder / name, hint=self._learn_hint) if name else None

    @property
    def ahead_paths(self) -> tuple[str, ...]:
        """The files of which init reads ahead, in its order: what the application is made of."""
        return needed(self.root, self.recipe.application.command)[:MOST_LINES]

    @property
    def _learn_hint(self) -> str:
        return f"`imagebuilder learn {self.recipe.name}` makes it anew"

    @property
    def folder_name(self) -> str:
        """``NAME``, or ``NAME@KERNEL`` for another kernel than the recipe's."""
        chosen = f"{self._definition.name}{'+smp' if self.smp else ''}"
        return self.recipe.name if chosen == self.recipe.kernel.name else f"{self.recipe.name}@{chosen}"

    def result(self, wanted: Step) -> Result:
        """What a step gives: from the store, or made now."""
        if wanted.id in self._made:
            return self._made[wanted.id]
        with self.store.lock(wanted.id):
            result = self.store.record(wanted.id)
            if result is not None and all(map(self.store.has, CONTENTS[wanted.kind](result))):
                self.say(Ended(wanted.id, wanted.title, cached=True))
            else:
                result = self.store.keep(wanted.id, self._make(wanted))
        self._made[wanted.id] = result
        return result

    def _make(self, wanted: Step) -> Result:
        """Do a step; once more when a content that it needs turns out to be damaged."""
        for need in wanted.needs:  # first, so that steps are told in the order in which they are done
            self.result(need)
        with step(self.say, wanted.id, wanted.title):
            try:
                return MAKERS[wanted.kind](self, wanted)
            except CacheError as error:
                self._mend(error)
                return MAKERS[wanted.kind](self, wanted)

    def tree(self, wanted: Step) -> Tree:
        """The tree that a step gives; made anew, once, when the store turns out to be damaged."""
        try:
            return Tree.load(self.result(wanted)["tree"], self.store)
        except CacheError as error:
            self._mend(error)
            return Tree.load(self.result(wanted)["tree"], self.store)

    @cached_property
    def context(self) -> Context:
        """What the sources get to know."""
        return Context(self.recipe.folder, self.store, self.say, self.refresh)

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel: ready-built, from the store, or compiled."""
        return kernels.provide(self._definition, extra_fragments=self._fragments, store=self.store, say=self.say)

    def kernel_has(self, symbol: str, value: str) -> bool:
        """Whether the kernel is compiled with this value of a symbol."""
        return kernels.asks_for(self._definition, self._fragments, symbol) == value

    @cached_property
    def most_cpus(self) -> int | None:
        """How many processors the kernel can use; None is not known."""
        return kernels.most_cpus(self._definition, self._fragments)

    def able(self, cpus: int | None) -> "Build":
        """This build, or, where its kernel cannot use so many processors, one with a kernel that can."""
        if cpus is None or self.most_cpus is None or cpus <= self.most_cpus:
            return self
        return Build(self.recipe, self.store, self.say, self.refresh, self.kernel_name, smp=True)

    @cached_property
    def _definition(self) -> kernels.KernelDefinition:
        return kernels.load_definition(self.kernel_name or self.recipe.kernel.name)

    @property
    def _fragments(self) -> tuple[Path, ...]:
        named = tuple(kernels.fragment(name, beside=self.recipe.folder) for name in self.recipe.kernel.fragments)
        return kernels.completed(self._definition, named, self._wishes)

    @property
    def _wishes(self) -> Mapping[str, str]:
        more = {translate.MANY_PROCESSORS: "more than one processor"} if self.smp else {}
        return more | translate.kernel_wishes(self.recipe)

    @cached_property
    def _files(self) -> Sequence[tuple[FileEntry, Node]]:
        """The recipe's files as nodes that belong to root yet."""
        return [(entry, translate.added(entry, self.recipe)) for entry in self.recipe.files]

    @property
    def _source_owners(self) -> Sequence[str]:
        """Whose the files of sources are that say so."""
        return [source.owner for source in self.recipe.source if not isinstance(source, DebianSource)]

    @property
    def _roots(self) -> Sequence[str]:
        """The programs that must run."""
        programs = (self.recipe.application.command, self.recipe.template.hook)
        return [path for path in programs if path]

    @property
    def _search(self) -> Mapping[str, str]:
        environment = self.recipe.application.environment
        return {name: value for name, value in environment.items() if name == "PATH" or name.startswith("LD_")}

    def _package_with(self, library: str) -> str | None:
        """The package that should have a library, of the first of the recipe's Debian releases that has one."""
        releases = dict.fromkeys(source.release for source in self.recipe.source if source.type == "debian")
        for release in releases:
            package = package_with(library, release, self.context)
            if package is not None:
                return f"the package {package} of Debian {release}"
        if not releases and is_glibc(library):
            return 'the package libc6, which a [[source]] of type "debian" brings'
        return None

    def _patterns(self, name: str) -> list[str]:
        return [pattern for source in self.recipe.source for pattern in getattr(source, name, ())]

    def _mend(self, error: CacheError) -> None:
        """Have made anew what of this build is damaged in the store: all of it, so that it is told once."""
        self.say(Warned(f"{error.message}: it is made anew"))
        for each in self.plan.steps():
            for digest in CONTENTS[each.kind](self.store.record(each.id) or {}):
                with suppress(CacheError):
                    self.store.blob(digest)
        self._made.clear()
        self.__dict__.pop("kernel", None)


def build(recipe: Recipe, out: Path, *, store: Store, say: Say, refresh: bool = False) -> Bundle:
    """Build a recipe's image into ``out/NAME``."""
    return Build(recipe, store, say, refresh).run(out)


def check_format(name: str) -> None:
    """Raises InputError for a format that is not there."""
    if name != "direct" and name not in FORMATS:
        raise InputError(f"there is no format {name!r}: write one of direct, {', '.join(FORMATS)}")


@lru_cache
def code_digest() -> str:
    """The hash of our own code, but for what boots, measures and talks to the user."""
    modules = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in NO_BUILDERS)
    return key_of([[path.relative_to(PACKAGE).as_posix(), sha256_file(path)] for path in modules])


# The steps


def _source(work: Build, wanted: Step) -> Result:
    source = next(
        source for source in work.recipe.source if SOURCES[source.type].describe(source, work.context) == wanted.inputs
    )
    layer = SOURCES[source.type].provide(source, work.context)
    return layer.save(work.store)


def _slim(work: Build, wanted: Step) -> Result:
    layers = [Layer.load(work.result(need), work.store) for need in wanted.needs]
    known: dict[str, Ids] = {name: ids for layer in layers for name, ids in known_users(layer).items()}
    layers = [_owned(layer, known) for layer in layers]
    asked = {name: wanted.inputs[name] for name in ("roots", "include", "exclude")}
    added = {entry.path: node for entry, node in work._files}
    found = Surroundings(debian=any(layer.packages for layer in layers))
    below = defaults((), found)
    slimmed = slim(layers, **asked, around=Around(below, added, work._search, work._package_with))
    for sentence in slimmed.warnings:
        work.say(Warned(sentence))
    with work.store.scratch() as scratch:
        # Links of the packages lead into folders of the OS layer (/var/run).
        folders = below.filter(lambda _, node: node.kind is Kind.DIRECTORY)
        whole, _ = overlay(folders.merge(slimmed.tree), added)
        made = byte_code(whole, wanted.inputs["byte_code"], scratch)
    origins = {path: name for layer in layers for path, name in layer.origins.items()}
    used = {origins[path] for path in slimmed.tree if path in origins}
    packages = [package for layer in layers for package in layer.packages if package.name in used]
    setup = joined(layer.setup.of(used) for layer in layers)
    for package, what in setup.unmade.items():
        work.say(Warned(f"{package}: not done here is what its postinst does: {', '.join(what)}"))
    return {
        "tree": Tree({**state_folders(layers, slimmed.tree, used), **made, **slimmed.tree}).save(work.store),
        "setup": setup.describe(),
        "packages": [package.describe() for package in packages],
        "contents": [group.describe() for group in (*slimmed.groups, *_byte_code_group(made))],
        "users": known,
    }


def _owned(layer: Layer, known: Mapping[str, Ids]) -> Layer:
    if layer.owner == "root":
        return layer
    user = resolve(layer.owner, known, key="source.owner")
    return layer.owned((user.uid, user.gid))


def _byte_code_group(made: Tree) -> tuple[Group, ...]:
    files = [node for node in made.values() if node.kind is Kind.FILE]
    size_bytes = sum(node.size_bytes for node in files)
    why = "byte code, so that nothing is compiled at start"
    return (Group("imagebuilder: python", len(files), size_bytes, True, why),) if files else ()


def _root(work: Build, wanted: Step) -> Result:
    (slimmed,) = wanted.needs
    known = {name: (ids[0], ids[1]) for name, ids in work.result(slimmed)["users"].items()}
    application = work.recipe.application
    user = resolve(application.user, known, key="application.user")
    owners = [resolve(entry.owner, known, key=f"files.owner of {entry.path}") for entry, _ in work._files]
    named = [resolve(word, known, key="source.owner") for word in work._source_owners]
    files = Tree(
        {
            entry.path: replace(node, uid=owner.uid, gid=owner.gid)
            for (entry, node), owner in zip(work._files, owners, strict=True)
        }
    )
    setup = Setup.load(work.result(slimmed)["setup"])
    mounts = translate.mounts(work.recipe)
    above = (work.tree(slimmed), files, work.kernel.modules, mount_points(mounts))
    attributed = work.kernel_has("EROFS_FS_SECURITY", "y") and any(
        node.xattrs for part in above for node in part.values()
    )
    chosen = _root_format(work, sum(part.size_bytes for part in above), attributed=attributed)
    if work.recipe.root.pages and chosen in bundle.IN_MEMORY:
        work.say(Warned(f"root.pages has no effect on a root that is in memory ({chosen})"))
    system = tree = defaults((user, *owners, *named), _surroundings(work, slimmed, chosen, setup))
    for part in above:
        tree, _ = overlay(tree, part)
    packed = bound(tree, application.environment) if work.recipe.root.bind_libraries else tree
    config = translate.init_config(
        work.recipe,
        user,
        modules=work.kernel.module_paths,
        overlay=chosen != "initramfs" and work.recipe.root.writable,
        copies=copied(tree, mounts, system),
        ahead=_ahead(work, packed) if chosen not in bundle.IN_MEMORY else (),
        low_ports=work.kernel_has("IP_UNPRIVILEGED_PORT_START", "0"),
        listen_signal=work.kernel_has("INET_LISTEN_SIGNAL", "y"),
    )
    layer = init_layer(guest.provide_init(work.store, work.say), config)
    tree = tree.merge(layer)
    added = {
        ("imagebuilder: init", "starts the application"): Tree({"/init": layer["/init"]}),
        ("imagebuilder: configuration", "every image has it"): system.merge(Tree({"/init.conf": layer["/init.conf"]})),
        ("recipe: data", "the recipe adds it"): files,
        (f"{work.kernel.name}: kernel module", "the kernel needs it"): work.kernel.modules,
    }
    groups = [_group(name, why, part, tree) for (name, why), part in added.items()]
    contents = [group.describe() for group in groups if group.files]
    return {"tree": packed.merge(layer).save(work.store), "format": chosen, "contents": contents}


def _surroundings(work: Build, slimmed: Step, root_format: str, setup: Setup) -> Surroundings:
    recipe = work.recipe
    return Surroundings(
        hostname=recipe.name,
        network=recipe.machine.network,
        egress=recipe.machine.egress,
        debian=bool(work.result(slimmed)["packages"]),
        read_only=root_format != "initramfs" and not recipe.root.writable,
        mounted=tuple(mount.target for mount in translate.mounts(recipe)),
        passwd_lines=setup.passwd,
        group_lines=setup.group,
    )


def _ahead(work: Build, packed: Tree) -> tuple[Ahead, ...]:
    """What of the application is read ahead; a list of pages that holds for other contents is told."""
    known = work.page_list
    paths = needed(packed, work.recipe.application.command)[:MOST_LINES]
    if known and (others := pages.unknown(packed, paths, known)):
        more = f" and {len(others) - 1} more" if others[1:] else ""
        work.say(Warned(f"{work.recipe.root.pages} is of another {others[0]}{more}: {work._learn_hint}"))
    return pages.ahead(packed, paths, known)


def _group(name: str, why: str, part: Tree, whole: Tree) -> Group:
    """What of a part stands in the whole: another may have brought a file of the same path."""
    sizes = [node.size_bytes for path, node in part.items() if node.kind is Kind.FILE and whole.get(path) == node]
    return Group(name, len(sizes), sum(sizes), True, why)


def _pack(work: Build, wanted: Step) -> Result:
    tree = work.tree(wanted.needs[0])
    chosen = work.result(wanted.needs[0])["format"]
    row = FORMATS[bundle.IN_MEMORY.get(chosen, chosen)]
    _tell_lost(work, tree, row, chosen)
    with work.store.scratch() as scratch:
        path = scratch / f"root{row.suffix}"
        row.write(tree, path, epoch_s=wanted.inputs["epoch_s"])
        digest = work.store.put_file(path)
        return {"format": chosen, "file": path.name, "bytes": path.stat().st_size, "sha256": digest}


def _bundle(work: Build, wanted: Step) -> Result:
    (packed,) = wanted.needs
    root = work.result(packed)
    slimmed = work.result(packed.needs[0].needs[0])
    recipe, chosen = work.recipe, work.kernel
    image = Image.model_validate(
        {
            "schema": bundle.SCHEMA,
            "name": recipe.name,
            "version": recipe.version,
            "summary": recipe.summary,
            "kernel": {
                "name": chosen.name,
                "file": KERNEL_FILES[chosen.machine],
                "bytes": chosen.image.stat().st_size,
                "sha256": work.store.put_file(chosen.image),
                "most_cpus": work.most_cpus,
            },
            "root": root,
            "cmdline": " ".join(filter(None, translate.cmdline(recipe, chosen, root["format"]))),
            "boot": {
                **recipe.machine.model_dump(mode="json"),
                "machine": chosen.machine,
                "acpi": chosen.acpi,
                "cmdline_tcg": chosen.cmdline_tcg,
                "cmdline_kvm": chosen.cmdline_kvm,
            },
            "ready": recipe.ready.model_dump(mode="json", exclude_none=True),
            "budget": recipe.budget.model_dump(mode="json", exclude_none=True),
            "recipe": describe(recipe),
            "packages": slimmed["packages"],
            "contents": [*work.result(packed.needs[0])["contents"], *slimmed["contents"]],
            "alternatives": _alternatives(slimmed),
            "unmade": slimmed["setup"]["unmade"],
        }
    )
    return image.sealed().model_dump(by_alias=True, mode="json")


def _of_tree(result: Result) -> Iterator[str]:
    return (node["sha256"] for node in result.get("tree", {}).values() if "sha256" in node)


# The contents in the store that a result stands for: it is worth nothing without them.
CONTENTS: Mapping[StepKind, Callable[[Result], Iterable[str]]] = {
    StepKind.SOURCE: _of_tree,
    StepKind.SLIM: _of_tree,
    StepKind.ROOT: _of_tree,
    StepKind.PACK: lambda result: [result["sha256"]] if result else (),
    StepKind.BUNDLE: lambda result: [result[part]["sha256"] for part in ("kernel", "root") if part in result],
}


def _alternatives(slimmed: Result) -> list[dict[str, str]]:
    """Which alternatives are in the image."""
    offers = Setup.load(slimmed["setup"]).alternatives
    kept = [offer for offer in offers if offer.link in slimmed["tree"]]
    return [{"link": offer.link, "target": offer.target, "package": offer.package} for offer in kept]


MAKERS: Mapping[StepKind, Callable[[Build, Step], Result]] = {
    StepKind.SOURCE: _source,
    StepKind.SLIM: _slim,
    StepKind.ROOT: _root,
    StepKind.PACK: _pack,
    StepKind.BUNDLE: _bundle,
}


def _tell_lost(work: Build, tree: Tree, row: Format, chosen: str) -> None:
    """Say which files lose their capabilities, where the format has no attributes or the kernel does not see them."""
    paths = [path for path, node in tree.items() if node.xattrs]
    if not paths or row.xattrs == "" or (row.xattrs and work.kernel_has(row.xattrs, "y")):
        return
    more = f" and {len(paths) - 1} more" if paths[1:] else ""
    why = f"{work.kernel.name} is built without {row.xattrs}" if row.xattrs else f"{chosen} has no room for them"
    work.say(Warned(f"the file capabilities of {paths[0]}{more} have no effect: {why}. {WITHOUT_CAPABILITIES}"))


def _root_format(work: Build, size_bytes: int, *, attributed: bool) -> str:
    """The format of the root: the recipe's, or what its files (size, attributes) and the kernel suggest."""
    asked: str = work.recipe.root.format
    # A distribution's kernel has file systems and disks as modules, which it must find in its initramfs: the one root
    # in memory that it can use.
    if asked == "memory" and work.kernel.module_paths:
        return "initramfs"
    if asked not in ("auto", "initramfs") and work.kernel.module_paths:
        raise InputError(
            f'root.format = "{asked}" cannot be booted by {work.kernel.name}, whose file systems are modules',
            hint='write "auto", "memory" or "initramfs", or take the kernel micro',
        )
    if asked != "auto":
        return asked
    in_memory = work.kernel.module_paths or (size_bytes <= LARGEST_INITRAMFS_BYTES and not attributed)
    return "initramfs" if in_memory else "erofs"
