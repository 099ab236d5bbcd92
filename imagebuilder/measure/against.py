"""What images are compared with, by its name: an older report, another recipe, or a folder of images built before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuilder.errors import InputError
from imagebuilder.events import Warned
from imagebuilder.measure import reference, subject
from imagebuilder.measure.host import Host
from imagebuilder.measure.reference import BEFORE, Reference
from imagebuilder.measure.report import Report
from imagebuilder.measure.selection import Selection
from imagebuilder.measure.subject import Subject
from imagebuilder.paths import real
from imagebuilder.recipe.load import load
from imagebuilder.recipe.lookup import FILE, find

Beside = Mapping[str, Subject]  # an image's name -> what it is compared with, in the same run


@dataclass(frozen=True, slots=True)
class Against:
    """What to compare with: ``name`` is a report's file, a recipe, a machine of the selection, or a folder of images.
    Ratios up to 1 + ``within`` count as the same (None: what each recipe says); while a comparison is undecided, it
    goes on up to ``most_runs`` rounds (None: no further ones)."""

    name: str
    within: float | None = None
    most_runs: int | None = None


def older(against: Against, selection: Selection, here: Host) -> Report | None:
    """The report that is meant, read before minutes of building; None when images are meant. Raises InputError for one
    that cannot be compared with, and where this run would write over what is compared with."""
    path = Path(against.name)
    _check_kept(path, selection.out)
    if not (path.suffix == ".json" or (path.is_file() and path.name != FILE)):
        return None
    named = [load(name).name for name in selection.names] + [subject.load(each).name for each in selection.machines]
    return reference.older(path, here, named)


def resolved(
    against: Against, document: Report | None, selection: Selection, found: Sequence[Subject]
) -> tuple[Reference, list[Subject]]:
    """What each is compared with, and what is to be started for that besides. Raises InputError when there is nothing
    of the kind."""
    name = against.name
    if document is not None:
        _tell_missing(selection, name, [each for each in found if reference.in_report(each.name, document) is None])
        return Reference(name, document, within=against.within), []
    folder = Path(name)
    beside = _before(selection, found, folder) if reference.holds_images(folder) else _beside(selection, found, name)
    further = {each.name: each for each in beside.values() if each not in found}
    names = {image: each.name for image, each in beside.items()}
    return Reference(name, beside=names, within=against.within), list(further.values())


def _check_kept(path: Path, out: Path) -> None:
    """Raises InputError when what is compared with would be written over by what is built."""
    kept, ours = real(path), real(out)
    if reference.holds_images(kept) and (kept == ours or kept.parent == ours):
        raise InputError(
            f"{path} is where this run puts its own images: nothing of before would be left to compare with",
            hint="build those of before elsewhere: imagebuilder build NAME --out before",
        )


def _before(selection: Selection, found: Sequence[Subject], folder: Path) -> Beside:
    """Each image of ours beside the one of its name that was built before. Raises InputError when there is none of any
    of them."""
    ours = [each for each in found if each.bundle is not None]
    built = {each.name: reference.built_before(folder, each.name) for each in ours}
    of_bundle, memory_mib = subject.of_bundle, selection.memory_mib
    beside = {
        name: replace(of_bundle(bundle, selection.accelerator, memory_mib=memory_mib), name=name + BEFORE)
        for name, bundle in built.items()
        if bundle is not None
    }
    if not beside:
        raise InputError(f"{folder} holds no image of {', '.join(built) or 'these machines'}")
    _tell_missing(selection, str(folder), [each for each in found if each.name not in beside])
    return beside


def _beside(selection: Selection, found: Sequence[Subject], name: str) -> Beside:
    """All others beside the one of this name; one that is its own reference runs twice. A recipe of the same name in
    another folder has its image built apart."""
    theirs = [each for each in found if each.bundle is None and each.name == name]
    if not theirs and find(name).absolute() not in [find(each).absolute() for each in selection.names]:
        same_name = load(name).name in [load(each).name for each in selection.names]
        last = selection.built([name], selection.out / BEFORE.strip() if same_name else selection.out)[-1]
        last = replace(last, name=last.name + BEFORE) if same_name else last
        return {each.name: last for each in found}
    name = name if theirs else load(name).name
    last = [each for each in found if each.name == name or each.name.startswith(f"{name}@")][-1]
    if len(found) == 1:
        return {last.name: reference.again(last)}
    return {each.name: last for each in found if each is not last}


def _tell_missing(selection: Selection, name: str, missing: Sequence[Subject]) -> None:
    for each in missing:
        selection.say(Warned(f"{name} has no {each.name}: it is started, and not compared"))
