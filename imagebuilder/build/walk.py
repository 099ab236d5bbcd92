"""Walks a Plan against the store: what is there is taken, what is missing is made, and kept for the next time.

A step asks for the steps that it needs only when it runs itself, so that a build with nothing changed reads one record.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from imagebuilder import bundle, cache, lacking
from imagebuilder.build import locking, outlook
from imagebuilder.build.outlook import Outlook
from imagebuilder.build.plan import Plan, Step
from imagebuilder.build.planner import Planner
from imagebuilder.build.steps import STEPS
from imagebuilder.build.steps.result import Result
from imagebuilder.bundle import Bundle, Image
from imagebuilder.errors import CacheError
from imagebuilder.events import Damaged, Ended, Say, Told, first_damage, step
from imagebuilder.filesystems.common import replacing
from imagebuilder.images import Artifact
from imagebuilder.kernel import Choice
from imagebuilder.paths import real
from imagebuilder.preparation import Outcome, Preparation
from imagebuilder.recipe.lookup import typed
from imagebuilder.recipe.model import Recipe
from imagebuilder.sources import Context
from imagebuilder.store import Store, sha256_file
from imagebuilder.tree import Tree


class _Machines:
    """What starts machines that prepare; what that takes is imported by the first one."""

    def run(self, wanted: Preparation, *, timeout_s: float, say: Say) -> Outcome:
        """As ``preparation.Preparer`` has it."""
        from imagebuilder.machine import preparing

        return preparing.run(wanted, timeout_s=timeout_s, say=say)


@dataclass(frozen=True)
class Build:
    """One recipe on its way to an image. ``refresh`` asks the sources again for what may have changed outside;
    ``kernel_name``, ``smp``, ``formats`` and ``whole`` as in ``Planner``; ``frozen`` takes nothing that the recipe's
    lockfile lacks. ``made`` are the ids of the steps that were done, where the store did not have what they give."""

    recipe: Recipe
    store: Store
    say: Say
    refresh: bool = False
    kernel_name: str | None = None
    smp: bool = False
    frozen: bool = False
    formats: tuple[str, ...] = ()
    whole: bool = False
    made: set[str] = field(default_factory=set)
    _made: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _results: dict[str, Result] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Damage is reported once for each build."""
        object.__setattr__(self, "say", first_damage(self.say))

    def run(self, out: Path) -> Bundle:
        """Make the image in the folder ``out/NAME``, or leave it alone when it stands there already."""
        cache.limit_bytes()  # better known now than when all is done
        locking.keep(self.planner)
        if sentence := self.planner.kernel.sentence:
            self.say(Told(sentence))
        image = self._image()
        sources = [each.id for each in self.plan.sources]
        lacking.keep(self.store, image.digest, sources=sources, root=self.plan.root.id, exclude=self.planner.exclude)
        outlook.remember(self.plan, self.planner.code, self.store, name=self._place)
        folder = out / self.folder_name
        documents = self._documents()
        if (present := bundle.standing(image, folder, documents)) is not None:
            return present
        try:
            written = bundle.write(image, folder, self.store, documents)
        except CacheError as error:
            self._mend(error)
            written = bundle.write(self._image(), folder, self.store, self._documents())
        cache.sweep(self.store, self.say)
        return written

    def outlooks(self) -> list[Outlook]:
        """What ``run`` would do, step by step."""
        return outlook.outlooks(self.plan, self.planner.code, self.store, name=self._place)

    @property
    def _place(self) -> str:
        """What distinguishes this build from others: the recipe's folder, and the image's name."""
        return f"{real(self.recipe.folder)} {self.folder_name}"

    @property
    def results(self) -> list[str]:
        """The keys of the records that building it again would read."""
        ends = [each.id for each in self.plan.ends]
        return [*ends, lacking.key(self._image().digest), outlook.key(self._place), self.planner.code.key]

    @property
    def contents(self) -> list[str]:
        """The digests of the contents that building it again would ask for."""
        return [digest for each in self.plan.ends for digest in STEPS[each.kind].contents(self.document(each))]

    def _image(self) -> Image:
        return Image.model_validate(self.document(self.plan.bundle))

    def _documents(self) -> Mapping[str, str]:
        """The digests of what stands beside the image, by name."""
        documents: Mapping[str, str] = self.document(self.plan.sbom)["documents"]
        return documents

    def write_image(self, format_name: str, path: Path) -> Artifact:
        """Write the image in one of the plan's formats as a file, or leave it alone when it stands there already. What
        else stands there is replaced: ``outputs.built`` checks whether it is ours to replace."""
        wanted = self.plan.images[format_name]
        try:
            artifact = self._written_image(wanted, path)
        except CacheError as error:
            self._mend(error)
            artifact = self._written_image(wanted, path)
        if wanted.id in self.made:
            cache.sweep(self.store, self.say)
        return artifact

    def _written_image(self, wanted: Step, path: Path) -> Artifact:
        artifact: Artifact = self.result(wanted).artifact
        if not path.is_file() or sha256_file(path) != artifact.sha256:
            content = self.store.blob(artifact.sha256)
            with replacing(path) as temporary:
                shutil.copyfile(content, temporary)
        return replace(artifact, file=path)

    @property
    def root(self) -> Tree:
        """The root as a tree: what is in the image."""
        tree: Tree = self.result(self.plan.root).tree
        return tree

    @property
    def folder_name(self) -> str:
        """The name of the image's folder: ``NAME``, or ``NAME@KERNEL`` for another kernel than the recipe's."""
        return self.planner.folder_name

    @property
    def kernel_choice(self) -> Choice:
        """Which kernel it is, and why."""
        return self.planner.kernel

    @property
    def ahead_paths(self) -> tuple[str, ...]:
        """The files of which init reads ahead, in its order: what the application is made of."""
        from imagebuilder.closure.slimming import needed

        return needed(self.root, self.planner.complete.application.command)[: self.planner.platform.most_ahead.files]

    @cached_property
    def plan(self) -> Plan:
        """What is to be done."""
        made = self.planner.plan
        if self.frozen:
            locking.refuse_outside(self.planner)
        return made

    @cached_property
    def planner(self) -> Planner:
        """What knows the recipe."""
        return Planner(self.recipe, self._context, self.kernel_name, self.smp, self.formats, self.whole)

    @cached_property
    def _context(self) -> Context:
        """What the sources and steps get to know besides their inputs."""
        name = typed(self.recipe.folder)
        context = Context(
            self.recipe.folder,
            self.store,
            self.say,
            self.refresh,
            name=name,
            frozen=self.frozen,
            preparer=_Machines(),
        )
        return locking.with_lock(context)

    def able(self, cpus: int | None) -> "Build":
        """This build, or, where its kernel cannot use so many processors, one with a kernel that can."""
        most = self.planner.most_cpus
        if cpus is None or most is None or cpus <= most:
            return self
        return replace(self, smp=True, made=set(), _made={}, _results={})

    def document(self, wanted: Step) -> Mapping[str, Any]:
        """What a step gives, as the store has it: from there, or made now."""
        if wanted.id in self._made:
            return self._made[wanted.id]
        with self.store.lock(wanted.id):
            document = self.store.record(wanted.id)
            self._tell_damaged()
            if document is not None and all(map(self.store.has, STEPS[wanted.kind].result.contents(document))):
                self.say(Ended(wanted.id, wanted.title, cached=True))
            else:
                document = self.store.keep(wanted.id, self._make(wanted))
                self.made.add(wanted.id)
        self._made[wanted.id] = document
        return document

    def result(self, wanted: Step) -> Any:
        """What a step gives; made again, once, when its contents turn out to be damaged."""
        if wanted.id not in self._results:
            try:
                self._results[wanted.id] = self._loaded(wanted)
            except CacheError as error:
                self._mend(error)
                self._results[wanted.id] = self._loaded(wanted)
        return self._results[wanted.id]

    def _loaded(self, wanted: Step) -> Result:
        return STEPS[wanted.kind].result.load(self.document(wanted), self.store)

    def _make(self, wanted: Step) -> Mapping[str, Any]:
        """Do a step; once more when a content that it needs turns out to be damaged."""
        for need in wanted.needs:  # first, so that steps are reported in the order in which they are done
            self.document(need)
        with step(self.say, wanted.id, wanted.title):
            try:
                return self._run(wanted)
            except CacheError as error:
                self._mend(error)
                return self._run(wanted)

    def _run(self, wanted: Step) -> Mapping[str, Any]:
        needs = tuple(self.result(need) for need in wanted.needs)
        return STEPS[wanted.kind].run(wanted.inputs, needs, self._context).save(self.store)

    def _tell_damaged(self) -> None:
        for path in self.store.damaged:
            self.say(Damaged(f"the cache entry {path} was damaged and is removed: it is rebuilt"))
        self.store.damaged.clear()

    def _mend(self, error: CacheError) -> None:
        """Have made again what of this build is damaged in the store: all of it, so that it is reported once."""
        self.say(Damaged(f"{error.message}: it is rebuilt"))
        for each in self.plan.steps():
            document = self.store.record(each.id)
            for digest in STEPS[each.kind].result.contents(document) if document else ():
                with suppress(CacheError):
                    self.store.blob(digest)
        self._made.clear()
        self._results.clear()


def build(recipe: Recipe, out: Path, *, store: Store, say: Say, refresh: bool = False) -> Bundle:
    """Build a recipe's image into ``out/NAME``."""
    return Build(recipe, store, say, refresh).run(out)
