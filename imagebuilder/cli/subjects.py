"""What ``imagebuilder bench`` starts, and what that is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuilder.builder import Build
from imagebuilder.cli import signals
from imagebuilder.errors import InputError
from imagebuilder.events import Say, Warned
from imagebuilder.machine import stem
from imagebuilder.machine.accel import Accelerator
from imagebuilder.machine.template import Wanted
from imagebuilder.machine.warming import found_or_made
from imagebuilder.measure import reference, subject
from imagebuilder.measure.host import Host
from imagebuilder.measure.reference import BEFORE, Reference
from imagebuilder.measure.report import Report
from imagebuilder.measure.subject import Subject
from imagebuilder.paths import real
from imagebuilder.recipe.finding import FILE, find
from imagebuilder.recipe.load import load
from imagebuilder.store import Store

CLONE, COPY = " clone", " copy"
Beside = Mapping[str, Subject]  # an image's name -> what it is compared with, in the same run


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be started, as it was asked for."""

    names: Sequence[str]
    machines: Sequence[Path]
    kernels: Sequence[str]
    memory_mib: int | None
    accelerator: Accelerator
    out: Path
    store: Store
    say: Say

    def images(self) -> list[Subject]:
        """The images of the recipes, built when something changed."""
        return self._built(self.names, self.out)

    def subjects(
        self, vs: str | None, here: Host, *, clones: bool, stems: bool
    ) -> tuple[list[Subject], Reference | None]:
        """All that is started, and what it is compared with."""
        older = self._older(vs, here)
        self._check_kept(vs)
        found = self.images()
        found += self._clones(found, stems=stems) if clones else []
        found += [subject.of_file(path, self.accelerator) for path in self.machines]
        if vs is None:
            return found, None
        if older is not None:
            self._tell_missing(vs, [each for each in found if reference.in_report(each.name, older) is None])
            return found, Reference(vs, older)
        beside = self._before(found, Path(vs)) if reference.holds_images(Path(vs)) else self._beside(found, vs)
        further = {each.name: each for each in beside.values() if each not in found}
        return [*found, *further.values()], Reference(vs, beside={name: each.name for name, each in beside.items()})

    def _built(self, names: Sequence[str], out: Path) -> list[Subject]:
        recipes = [load(name) for name in names]
        kernels = self.kernels or (None,)
        builds = [Build(recipe, self.store, self.say, False, kernel) for recipe in recipes for kernel in kernels]
        return [subject.of_bundle(each.run(out), self.accelerator, memory_mib=self.memory_mib) for each in builds]

    def _clones(self, images: Sequence[Subject], *, stems: bool) -> list[Subject]:
        """The clones of images, each from its template (one that is missing or stale is made), and as copies of a
        stem."""
        found = []
        for each in images:
            assert each.bundle is not None
            template = signals.run(found_or_made(Wanted(each.bundle, each.spec), self.store, say=self.say))
            found.append(subject.of_template(template, f"{each.name}{CLONE}"))
            if stems and stem.refused(template) is None:
                found.append(subject.of_template(template, f"{each.name}{COPY}", copied=True))
        return found

    def _older(self, vs: str | None, here: Host) -> Report | None:
        """The report that REF names, read before minutes of building; None when it names images."""
        if vs is None or not (vs.endswith(".json") or (Path(vs).is_file() and Path(vs).name != FILE)):
            return None
        named = [load(name).name for name in self.names] + [subject.load(path).name for path in self.machines]
        return reference.older(Path(vs), here, named)

    def _check_kept(self, vs: str | None) -> None:
        """Raises InputError when what is compared with would be written over by what is built."""
        kept, out = real(Path(vs or "")), real(self.out)
        if vs is not None and reference.holds_images(kept) and (kept == out or kept.parent == out):
            raise InputError(
                f"{vs} is where this run puts its own images: nothing of before would be left to compare with",
                hint="build those of before elsewhere: imagebuilder build NAME --out before",
            )

    def _before(self, found: Sequence[Subject], folder: Path) -> Beside:
        """Each image of ours beside the one of its name that was built before. Raises InputError when there is none of
        any of them."""
        ours = [each for each in found if each.bundle is not None]
        built = {each.name: reference.built_before(folder, each.name) for each in ours}
        beside = {
            name: replace(subject.of_bundle(bundle, self.accelerator, memory_mib=self.memory_mib), name=name + BEFORE)
            for name, bundle in built.items()
            if bundle is not None
        }
        if not beside:
            raise InputError(f"{folder} holds no image of {', '.join(built) or 'these machines'}")
        self._tell_missing(str(folder), [each for each in found if each.name not in beside])
        return beside

    def _beside(self, found: Sequence[Subject], vs: str) -> Beside:
        """All others beside the one that REF names; one that is its own reference runs twice. A recipe of the same name
        in another folder has its image built apart."""
        theirs = [each for each in found if each.bundle is None and each.name == vs]
        if not theirs and find(vs).absolute() not in [find(name).absolute() for name in self.names]:
            same_name = load(vs).name in [load(name).name for name in self.names]
            last = self._built([vs], self.out / BEFORE.strip() if same_name else self.out)[-1]
            last = replace(last, name=last.name + BEFORE) if same_name else last
            return {each.name: last for each in found}
        name = vs if theirs else load(vs).name
        last = [each for each in found if each.name == name or each.name.startswith(f"{name}@")][-1]
        if len(found) == 1:
            return {last.name: reference.again(last)}
        return {each.name: last for each in found if each is not last}

    def _tell_missing(self, vs: str, missing: Sequence[Subject]) -> None:
        for each in missing:
            self.say(Warned(f"{vs} has no {each.name}: it is started, and not compared"))
