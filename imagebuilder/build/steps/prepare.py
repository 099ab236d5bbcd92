"""A command that runs once in a machine of its own, over the whole tree: what it changed is a further layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuilder import preparation
from imagebuilder.arch import TARGET
from imagebuilder.build.steps.kernel import KernelResult
from imagebuilder.build.steps.layers import owned_layers, users_of
from imagebuilder.build.steps.source import SourceInputs, SourceResult
from imagebuilder.errors import SourceError
from imagebuilder.filesystems import FILESYSTEMS
from imagebuilder.platforms.linux.layer import defaults
from imagebuilder.platforms.linux.preparer import SKIPPED, Orders, prepare_conf, provide_preparer
from imagebuilder.platforms.users import User, resolve
from imagebuilder.platforms.values import Surroundings
from imagebuilder.preparation import HEAD_BYTES, MIB_BYTES, NotPrepared, Outcome, Preparation, Preparer
from imagebuilder.recipe.model import Prepare
from imagebuilder.recipe.values import Egress
from imagebuilder.sources.kind import Context, Package, SourcePrepare
from imagebuilder.sources.layer import Layer, kept
from imagebuilder.sources.maintainer import Setup, joined
from imagebuilder.sources.overlay import overlay
from imagebuilder.tarball import BUFFER_BYTES
from imagebuilder.transforms import prepare as transform
from imagebuilder.tree import Kind, Node, Tree, file, is_below

# Of three quarters of the memory that a command has, it can write; the stream of that has headers besides.
WRITABLE, HEADERS_MIB = 0.75, 512
NETWORK = "10.0.2.15 255.255.255.0 10.0.2.2"  # QEMU's user network
SHOWN_LINES = 12
DPKG, DPKG_INFO = "/var/lib/dpkg", "/var/lib/dpkg/info"
BOOKKEEPING = (DPKG, "/var/cache/debconf")  # of who installs packages: an image has none
ENVIRONMENT: Mapping[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    # Languages that would order their tables by a random number.
    "PERL_HASH_SEED": "0",
    "PYTHONHASHSEED": "0",
}
DPKG_ENVIRONMENT: Mapping[str, str] = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DPKG_ADMINDIR": DPKG,
    "DPKG_ROOT": "",
    "DPKG_MAINTSCRIPT_NAME": "postinst",
    "DPKG_MAINTSCRIPT_ARCH": TARGET.debian,
    "DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT": "1",
    "DPKG_MAINTSCRIPT_DEBUG": "0",
    "DPKG_RUNNING_VERSION": "1.21.22",
}


@dataclass(frozen=True, slots=True)
class Script:
    """A package's own script: the package, of which release, and what is installed beside it."""

    package: Package
    release: str
    installed: tuple[Package, ...]


@dataclass(frozen=True)
class PrepareInputs:
    """``prepare`` is the recipe's table, of which the ``number`` counts from 1; ``script`` is what runs instead of its
    command. ``files`` are the recipe's with their owners, ``users`` whom it names, ``preparer`` the key of the
    program that runs it, ``cmdline`` its kernel's. ``source`` is what a source has done instead, with what its
    ``tools`` come to."""

    number: int
    name: str
    prepare: Prepare
    script: Script | None
    files: tuple[tuple[str, Node, str], ...]
    users: tuple[str, ...]
    preparer: str
    cmdline: str
    epoch_s: int
    source: SourcePrepare | None = None
    tools: tuple[SourceInputs, ...] = ()

    @property
    def title(self) -> str:
        """What it is called: "prepare 1: initdb", "prepare java"."""
        if self.source is not None:
            return f"prepare {self.source.name}"
        what = f"postinst of {self.script.package.name}" if self.script else Path(self.prepare.command[0]).name
        return f"prepare {self.number}: {what}"


def run(inputs: PrepareInputs, needs: Sequence[SourceResult | KernelResult], context: Context) -> SourceResult:
    """Run it. Raises SourceError where the command fails, or no one to start a machine was given."""
    if context.preparer is None:
        raise SourceError(f"{inputs.title} needs a machine, and only a build starts one")
    *sources, kernel = needs
    assert isinstance(kernel, KernelResult)
    layers = [each for each in sources if isinstance(each, SourceResult)]
    tools = [each.layer for each in layers[len(layers) - len(inputs.tools) :]]
    known = users_of(layers)
    tree = _tree(inputs, owned_layers(layers, known), known, context)
    orders = _orders(inputs, tree, resolve(inputs.prepare.user, known, key="prepare.user"))
    init = provide_preparer(context.store, context.say)
    booted = tree.merge(Tree({"/init": file(init, mode=0o755), "/init.conf": file(prepare_conf(orders))}))
    with context.store.scratch() as scratch:
        root = scratch / "root.erofs"
        FILESYSTEMS["erofs"].write(booted, root, epoch_s=inputs.epoch_s)
        wanted = _preparation(inputs, root, context.store.blob(kernel.sha256), scratch / "changes")
        outcome = _outcome(inputs, wanted, context.preparer, context)
        return SourceResult(_layer(inputs, wanted, outcome, tree, tools, context))


def _tree(
    inputs: PrepareInputs, layers: Sequence[Layer], known: Mapping[str, tuple[int, int]], context: Context
) -> Tree:
    """All that the image could have: what every image has, the layers, the recipe's files over them."""
    from imagebuilder.closure.slimming import linked, merge

    setup = joined(layer.setup for layer in layers)
    users = [resolve(word, known, key="user") for word in inputs.users]
    surroundings = Surroundings(
        hostname=inputs.name,
        egress=Egress.FULL if inputs.prepare.network else Egress.NONE,
        debian=any(layer.packages for layer in layers),
        passwd_lines=setup.passwd,
        group_lines=setup.group,
    )
    tree = linked(merge([Layer(defaults((*users,), surroundings)), *layers])).tree
    owners = {word: resolve(word, known, key="files.owner") for _, _, word in inputs.files}
    files = {path: replace(node, uid=owners[word].uid, gid=owners[word].gid) for path, node, word in inputs.files}
    tree, _ = overlay(tree, files)
    if inputs.source is not None:
        tree, _ = overlay(tree, inputs.source.files)
    return tree.merge(_script(inputs.script, context)) if inputs.script else tree


def _script(script: Script, context: Context) -> Tree:
    """The package's script where dpkg has it, and who is installed. Raises SourceError where it has none."""
    from imagebuilder.sources import apt, deb

    name = script.package.name
    files = apt.fetch(script.release, (script.package,), store=context.store, say=context.say)
    control = deb.control(files[name])
    if not control.get("postinst"):
        raise SourceError(f"prepare.postinst: the package {name} has no postinst")
    status = "\n".join(
        f"Package: {each.name}\nStatus: install ok installed\nArchitecture: {TARGET.debian}\nVersion: {each.version}\n"
        "Maintainer: nobody\nDescription: installed\n"
        for each in script.installed
    )
    texts = {f"{DPKG_INFO}/{name}.{part}": text for part, text in control.items()}
    nodes = {
        path: file(text.encode(errors="surrogateescape"), mode=0o755 if path.endswith("postinst") else 0o644)
        for path, text in texts.items()
    }
    return Tree({**nodes, f"{DPKG}/status": file(status.encode()), f"{DPKG}/available": file(b"")})


def _orders(inputs: PrepareInputs, tree: Tree, user: User) -> Orders:
    prepare, script = inputs.prepare, inputs.script
    environment = {**ENVIRONMENT, "SOURCE_DATE_EPOCH": str(inputs.epoch_s)}
    args = prepare.command
    if script is not None:
        environment |= {**DPKG_ENVIRONMENT, "DPKG_MAINTSCRIPT_PACKAGE": script.package.name}
        args = (f"{DPKG_INFO}/{script.package.name}.postinst", "configure", "")
    environment |= prepare.environment
    return Orders(
        args=args,
        env=tuple(f"{name}={value}" for name, value in sorted(environment.items())),
        uid=user.uid,
        gid=user.gid,
        groups=(user.gid, *_further_groups(tree, user)),
        cwd=prepare.directory,
        hostname=inputs.name,
        writable_mib=int(prepare.memory_mib * WRITABLE),
        network=NETWORK if prepare.network else None,
        skipped=_skipped(script),
    )


def _skipped(script: Script | None) -> tuple[str, ...]:
    """Of what nothing is kept: the machine leaves it out, and so do we of what another than ours may have written."""
    return (*SKIPPED, *(BOOKKEEPING if script else ()))


def _further_groups(tree: Tree, user: User) -> list[int]:
    """The groups of which ``/etc/group`` says that a user belongs to them."""
    node = tree.get("/etc/group")
    text = node.content.read().decode(errors="replace") if node is not None and node.kind is Kind.FILE else ""
    rows = (line.split(":") for line in text.splitlines())
    return [int(row[2]) for row in rows if len(row) == 4 and user.name in row[3].split(",") and row[2].isdigit()]


def _preparation(inputs: PrepareInputs, root: Path, kernel: Path, changes: Path) -> Preparation:
    memory_mib = inputs.prepare.memory_mib
    changes_mib = int(memory_mib * WRITABLE) + HEADERS_MIB
    try:
        with changes.open("wb") as stream:
            stream.write(bytes(HEAD_BYTES))  # so that there is room to say how it went
            stream.truncate(changes_mib * MIB_BYTES)
    except OSError as error:
        why = f"its disk for a memory of {memory_mib:,} MiB cannot be made: {error.strerror}"
        raise SourceError(f"{inputs.title}: {why}", hint="give it less with memory_mib under [[prepare]]") from error
    return Preparation(
        name=inputs.name,
        kernel=kernel,
        cmdline=inputs.cmdline,
        root=root,
        root_mib=-(-root.stat().st_size // MIB_BYTES),
        changes=changes,
        changes_mib=changes_mib,
        memory_mib=memory_mib,
        epoch_s=inputs.epoch_s,
        network=inputs.prepare.network,
    )


def _outcome(inputs: PrepareInputs, wanted: Preparation, preparer: Preparer, context: Context) -> Outcome:
    """How it ended well. Raises SourceError with what it said, and with the command line that starts the same machine
    again, whose root stays in the cache for that."""
    try:
        outcome = preparer.run(wanted, timeout_s=inputs.prepare.timeout_s, say=context.say)
    except NotPrepared as error:
        raise _failed(inputs, wanted, error.message, error.console, error.hint, context) from error
    if outcome.status:
        raise _failed(inputs, wanted, _how(outcome.status), outcome.console, None, context)
    return outcome


def _failed(
    inputs: PrepareInputs, wanted: Preparation, how: str, console: Sequence[str], hint: str | None, context: Context
) -> SourceError:
    lines = [line for line in console if line.strip()][-SHOWN_LINES:]
    said = ":\n" + "\n".join(f"    {line}" for line in lines) if lines else ", and said nothing"
    root = context.store.blob(context.store.put_file(wanted.root))
    again = preparation.shell_line(replace(wanted, root=root, changes=None))
    if hint is None and any("No space left on device" in line for line in lines):
        hint = preparation.MORE_MEMORY
    if inputs.source is not None:
        hint = inputs.source.hint if hint is None else hint.replace("[[prepare]]", "[source]")
    error = SourceError(
        f"{inputs.title} {how}{said}", hint="; ".join(filter(None, (hint, f"the same machine again: {again}")))
    )
    error.evidence = {"console.txt": "\n".join(console) + "\n", "command.txt": again + "\n"}
    return error


def _how(status: int) -> str:
    if status == 127:
        return "or what it calls could not be started (status 127)"
    return f"was ended by signal {status - 128}" if status > 128 else f"exited with status {status}"


def _layer(
    inputs: PrepareInputs, wanted: Preparation, outcome: Outcome, tree: Tree, tools: Sequence[Layer], context: Context
) -> Layer:
    assert wanted.changes is not None
    with wanted.changes.open("rb") as stream:
        stream.seek(HEAD_BYTES)
        found = transform.changes(
            stream,
            tree,
            name=inputs.title,
            most_bytes=outcome.stream_bytes + BUFFER_BYTES,
            keep=lambda content: kept(content, context.store),
        )
    if inputs.source is not None:
        return _made(found, inputs.source, inputs.title, tools)
    layer = transform.layer(found, title=inputs.title, without=_skipped(inputs.script))
    return replace(layer, setup=Setup(unmade={inputs.script.package.name: ()})) if inputs.script else layer


def _made(found: transform.Changes, source: SourcePrepare, title: str, tools: Sequence[Layer]) -> Layer:
    """What a source made: of a package of its tools, else its own. Raises SourceError where it made nothing."""
    nodes = {path: node for path, node in found.nodes.items() if path in source.made or is_below(path, source.made)}
    if not nodes:
        raise SourceError(f"{title} made nothing at {source.made[0]}")
    packages = tuple(each for layer in tools for each in layer.packages if each.name == source.package)
    materials = {each.name: layer.materials[each.name] for layer in tools for each in packages}
    own = {path: source.name if path in source.made else source.package for path in nodes}
    return Layer(Tree(nodes), own, packages, materials=materials)
