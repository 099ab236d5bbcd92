"""From a recipe to the plan of its image: everything that its steps get to see is gathered here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from imagebuilder import __version__, keep, pages
from imagebuilder import kernel as kernels
from imagebuilder.arch import Firmware
from imagebuilder.build.plan import Inputs, Plan, plan
from imagebuilder.build.revision import Code, code_of
from imagebuilder.build.steps import MODULES
from imagebuilder.build.steps.bundle import BundleInputs
from imagebuilder.build.steps.image import ImageInputs
from imagebuilder.build.steps.kernel import KernelInputs
from imagebuilder.build.steps.pack import PackInputs
from imagebuilder.build.steps.prepare import PrepareInputs, Script
from imagebuilder.build.steps.root import AddedFile, KernelAbilities, RootInputs
from imagebuilder.build.steps.sbom import SbomInputs
from imagebuilder.build.steps.slim import SlimInputs
from imagebuilder.build.steps.source import SourceInputs
from imagebuilder.closure.languages import VARIABLES
from imagebuilder.closure.seen import as_seen
from imagebuilder.errors import InputError
from imagebuilder.events import Warned
from imagebuilder.images import IMAGES
from imagebuilder.pages import PageList
from imagebuilder.paths import source_date_epoch_s
from imagebuilder.platforms.linux.preparer import preparer_key
from imagebuilder.platforms.linux.tracer import PATH as TRACER_PATH
from imagebuilder.platforms.linux.tracer import provide_tracer
from imagebuilder.platforms.table import PLATFORMS, USUAL, Platform
from imagebuilder.recipe.completed import completed
from imagebuilder.recipe.describe import describe
from imagebuilder.recipe.listening import IPV6, ipv6_listener
from imagebuilder.recipe.model import Prepare, Recipe
from imagebuilder.recipe.render import node_of
from imagebuilder.recipe.suggestions import nearest
from imagebuilder.recipe.values import AUTO_KERNEL
from imagebuilder.sources import SOURCES, with_implied
from imagebuilder.sources.debian import DebianSource
from imagebuilder.sources.kind import Context, Locked, SourcePrepare, SourceTable
from imagebuilder.transforms.kind import ChosenTransform, Stage
from imagebuilder.transforms.table import TRANSFORMS
from imagebuilder.tree import file

BYTE_CODE = "bytecode"  # of a module that has it, the module itself would not be seen to be opened
PREPARE_KERNEL = "standard"  # namespaces, IPv6: what a program of a distribution expects


@dataclass(frozen=True)
class Planner:
    """A recipe, and what else is asked for: ``kernel_name`` is another kernel than the recipe's; ``smp`` asks for one
    that can use more than one processor; ``formats`` are those that the image is written in, as ``build --format`` has
    them; ``whole`` leaves nothing of the sources out, and adds what tells who opens which file."""

    recipe: Recipe
    context: Context
    kernel_name: str | None = None
    smp: bool = False
    formats: tuple[str, ...] = ()
    whole: bool = False

    @property
    def plan(self) -> Plan:
        """What is to be done. Asks the sources what they come to; raises what they raise, InputError and KernelError
        for what cannot be built."""
        kernels.check_requirements(self.definition, self.fragments, self._requirements)
        kernels.check_cpus(self.definition, self.fragments, self.recipe.machine.cpus)
        self._tell_ipv6()
        inputs = Inputs(
            sources=[SourceInputs(SOURCES[each.source.type], each) for each in self.locked],
            slim=self._slim,
            kernel=KernelInputs(self.definition, self.fragments),
            root=self._root,
            pack=PackInputs(source_date_epoch_s()),
            bundle=BundleInputs(
                describe(self.complete),
                self.platform_name,
                self.definition.name,
                self.definition.product(Firmware.DIRECT),
                self.definition.boot,
                self.most_cpus,
            ),
            sbom=SbomInputs(
                KernelInputs(self.definition, self.fragments),
                __version__,
                source_date_epoch_s(),
                tuple(each.path for each in self._files),
                tuple(each.key for each in self.all_locked),
            ),
            images=[
                ImageInputs(IMAGES[name], source_date_epoch_s())
                for name in self.formats
                if name in IMAGES and not IMAGES[name].is_bundle
            ],
            prepare=self._prepare,
            prepare_kernel=KernelInputs(self._prepare_kernel, ()) if self._prepare else None,
        )
        return plan(self.recipe.name, inputs, self.code)

    @property
    def platform_name(self) -> str:
        """What runs the application: a row of ``PLATFORMS``."""
        return USUAL

    @property
    def platform(self) -> Platform:
        """That row."""
        return PLATFORMS[self.platform_name]

    @cached_property
    def code(self) -> Code:
        """What our own code does."""
        return code_of(MODULES, self.context.store)

    @cached_property
    def locked(self) -> tuple[Locked, ...]:
        """What the sources of the recipe come to, in their order."""
        return tuple(SOURCES[source.type].resolve(source, self.context) for source in self.sources)

    @property
    def all_locked(self) -> tuple[Locked, ...]:
        """That, and what the tools come to that machines have which prepare."""
        return *self.locked, *(each for _, tools in self._source_prepares for each in tools)

    @cached_property
    def sources(self) -> tuple[SourceTable, ...]:
        """The sources of the recipe and those that they stand on, in their order."""
        return with_implied(self.recipe.source)

    @cached_property
    def complete(self) -> Recipe:
        """The recipe with what its sources know of the application."""
        return completed(self.recipe, [each.defaults for each in self.locked])

    @cached_property
    def kernel(self) -> kernels.Choice:
        """Which kernel it is, and why."""
        if self.kernel_name:
            return kernels.choose(self.kernel_name, (), {}, by="--kernel", firmware=self._firmware)
        return self._kernel_for(self._requirements)

    @property
    def definition(self) -> kernels.KernelDefinition:
        """The kernel's definition."""
        return self.kernel.definition

    @cached_property
    def fragments(self) -> tuple[Path, ...]:
        """The fragments that are added to the definition's own."""
        return kernels.completed(self.definition, self._named_fragments, self._requirements, self.kernel.variant)

    @property
    def kernel_title(self) -> str:
        """The kernel's name with those of its further fragments."""
        return kernels.name_of(self.definition, self.fragments)

    @cached_property
    def most_cpus(self) -> int | None:
        """How many processors the kernel can use; None is not known."""
        return kernels.most_cpus(self.definition, self.fragments)

    @property
    def folder_name(self) -> str:
        """``NAME``, or ``NAME@KERNEL`` for another kernel than the recipe's."""
        usual = self._kernel_for(self.platform.kernel_requirements(self.recipe)).definition
        chosen = kernels.name_of(self.definition, self.fragments[len(self._named_fragments) :] if self.smp else ())
        return self.recipe.name if chosen == usual.name else f"{self.recipe.name}@{chosen}"

    @property
    def exclude(self) -> tuple[str, ...]:
        """The recipe's globs of what is left out."""
        exclude: tuple[str, ...] = self._option("exclude")
        return exclude

    def _kernel_for(self, requirements: Mapping[str, str]) -> kernels.Choice:
        """The kernel that the recipe gets for all that it needs, and these."""
        name = None if self.recipe.kernel.name == AUTO_KERNEL else self.recipe.kernel.name
        listener = {IPV6: self._listener} if self._listener else {}
        requirements = {**requirements, **listener}
        return kernels.choose(name, self._named_fragments, requirements, by="the recipe", firmware=self._firmware)

    @property
    def _firmware(self) -> Mapping[Firmware, str]:
        """What starts the formats that are asked for, and one format of each."""
        rows = [IMAGES[name] for name in reversed(self.formats) if name in IMAGES]
        return {each: f"the format {row.name}" for row in rows for each in row.firmware if each is not Firmware.DIRECT}

    @cached_property
    def _named_fragments(self) -> tuple[Path, ...]:
        return tuple(kernels.fragment(name, beside=self.recipe.folder) for name in self.recipe.kernel.fragments)

    @cached_property
    def _listener(self) -> str | None:
        return ipv6_listener(self.recipe)

    def _tell_ipv6(self) -> None:
        """Say when the application would listen on addresses that its kernel does not know."""
        if self._listener and self.definition.package is None and not self._kernel_has(IPV6, "y"):
            said = f"{self._listener} is an IPv6 address, and the kernel {self.definition.name} has no IPv6"
            self.context.say(Warned(f'{said}: add "ipv6" to fragments under [kernel]'))

    @property
    def _requirements(self) -> Mapping[str, str]:
        return self.platform.kernel_requirements(self.recipe, smp=self.smp)

    @property
    def _slim(self) -> SlimInputs:
        recipe, application = self.complete, self.complete.application
        environment = application.environment
        programs = (application.command, recipe.template.hook, *(each.command[0] for each in recipe.helper))
        arguments = (*application.arguments, *(word for each in recipe.helper for word in each.command[1:]))
        return SlimInputs(
            platform=self.platform_name,
            roots=tuple(filter(None, programs)),
            arguments=tuple(word for word in arguments if "/" in word),
            transforms=self._transforms(Stage.SOURCES),
            added=tuple((each.path, as_seen(each.path, each.node)) for each in self._files),
            search={name: value for name, value in environment.items() if _is_searched_by(name)},
            releases=tuple(dict.fromkeys(each.release for each in self.sources if isinstance(each, DebianSource))),
            packages=tuple(name.partition("=")[0] for each in self.sources for name in getattr(each, "packages", ())),
            traced=self._traced,
            whole=self.whole,
        )

    @cached_property
    def _prepare(self) -> list[PrepareInputs]:
        """What machines are to run on the way: what sources have done, then each command and each package's script by
        itself."""
        own = [
            self._prepared(number, each, script)
            for number, each in enumerate(self.recipe.prepare, 1)
            for script in self._scripts(each)
        ]
        return [*(self._prepared_source(each, tools) for each, tools in self._source_prepares), *own]

    def _prepared(self, number: int, wanted: Prepare, script: Script | None = None) -> PrepareInputs:
        return PrepareInputs(
            number=number,
            name=self.recipe.name,
            prepare=wanted,
            script=script,
            files=tuple((file.path, file.node, file.owner) for file in self._files),
            users=(self.complete.application.user, wanted.user),
            preparer=preparer_key(),
            cmdline=f"{self._prepare_kernel.boot.cmdline} {self._prepare_kernel.boot.cmdline_tcg}",
            epoch_s=source_date_epoch_s(),
        )

    def _prepared_source(self, wanted: SourcePrepare, tools: tuple[Locked, ...]) -> PrepareInputs:
        table = Prepare(
            command=wanted.command,
            environment=wanted.environment,
            memory_mib=wanted.memory_mib,
            timeout_s=wanted.timeout_s,
        )
        inputs = tuple(SourceInputs(SOURCES[each.source.type], each) for each in tools)
        return replace(self._prepared(0, table), source=wanted, tools=inputs)

    @cached_property
    def _source_prepares(self) -> tuple[tuple[SourcePrepare, tuple[Locked, ...]], ...]:
        """What sources have done in machines, each with what its tools come to."""
        asked = self.recipe.ready.http
        url = f"http://127.0.0.1:{asked.port}{asked.path}" if asked else ""
        wanted = [
            kind.prepare(each, self.context, url) for each in self.locked if (kind := SOURCES[each.source.type]).prepare
        ]
        return tuple(
            (each, tuple(SOURCES[tool.type].resolve(tool, self.context) for tool in each.tools)) for each in wanted
        )

    @cached_property
    def _prepare_kernel(self) -> kernels.KernelDefinition:
        """The same for all images, so that what a command does is not a matter of the image's kernel."""
        return kernels.load_definition(PREPARE_KERNEL)

    def _scripts(self, wanted: Prepare) -> list[Script | None]:
        return [self._script(name) for name in wanted.postinst] or [None]

    def _script(self, name: str) -> Script:
        """The script of a package. Raises InputError where no source brings the package."""
        known = []
        for each in self.locked:
            packages = each.choice.packages if each.choice and isinstance(each.source, DebianSource) else ()
            known += [package.name for package in packages]
            if found := next((package for package in packages if package.name == name), None):
                return Script(found, each.source.release, packages)
        near = nearest(name, known)
        hint = f'did you mean "{near}"?' if near else 'name it under packages of a [[source]] of type "debian"'
        raise InputError(f'prepare.postinst: no source brings a package "{name}"', hint=hint)

    @property
    def _root(self) -> RootInputs:
        recipe = self.complete
        return RootInputs(
            name=recipe.name,
            application=recipe.application,
            root=recipe.root,
            network=recipe.machine.network,
            egress=recipe.machine.egress,
            platform=self.platform_name,
            init=self.platform.key(),
            kernel=self._abilities,
            files=self._files,
            source_owners=tuple(each.owner for each in self.sources if hasattr(each, "owner")),
            transforms=self._transforms(Stage.ROOT),
            pages=self._page_list,
            helpers=recipe.helper,
        )

    @property
    def _abilities(self) -> KernelAbilities:
        return KernelAbilities(
            name=self.definition.name,
            erofs_attributes=self._kernel_has("EROFS_FS_SECURITY", "y"),
            low_ports=self._kernel_has("IP_UNPRIVILEGED_PORT_START", "0"),
            listen_signal=self._kernel_has("INET_LISTEN_SIGNAL", "y"),
        )

    def _kernel_has(self, symbol: str, value: str) -> bool:
        """Whether the kernel is compiled with this value of a symbol."""
        return kernels.asks_for(self.definition, self.fragments, symbol) == value

    @property
    def _page_list(self) -> PageList | None:
        """What the recipe's list of pages says. Raises InputError for a damaged one."""
        name = self.recipe.root.pages
        return pages.read(self.recipe.folder / name, hint=pages.learn_hint(self.recipe.name)) if name else None

    @property
    def _traced(self) -> tuple[tuple[str, str], ...] | None:
        """What the recipe's list of files says. Raises InputError for a damaged one."""
        name = self.recipe.root.keep
        if name is None or self.whole:
            return None
        return (*keep.read(self.recipe.folder / name, hint=keep.trace_hint(self.recipe.name)).reasons.items(),)

    @cached_property
    def _files(self) -> tuple[AddedFile, ...]:
        """The recipe's files as nodes that belong to root yet."""
        recipe = self.complete
        files = tuple(AddedFile(entry.path, node_of(entry, recipe), entry.owner) for entry in recipe.files)
        if not self.whole:
            return files
        program = provide_tracer(self.context.store, self.context.say)
        return (*files, AddedFile(TRACER_PATH, file(program, mode=0o755)))

    def _transforms(self, stage: Stage) -> Mapping[str, ChosenTransform]:
        return {
            name: ChosenTransform(row, row.options(**{key: self._option(key) for key in row.options.model_fields}))
            for name, row in TRANSFORMS.items()
            if row.stage is stage and not (self.whole and name == BYTE_CODE)
        }

    def _option(self, key: str) -> Any:
        """A transform's key under ``[root]``; a list goes on with what sources say under the same key."""
        value = getattr(self.recipe.root, key)
        if isinstance(value, tuple):
            value = (*(each for source in self.sources for each in getattr(source, key, ())), *value)
        return value


def _is_searched_by(variable: str) -> bool:
    """Whether a variable of the application's environment changes what the closure looks for."""
    return variable == "PATH" or variable.startswith("LD_") or variable in VARIABLES
