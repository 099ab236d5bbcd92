"""A build and its lockfile: what was chosen is used, what is chosen now is written; frozen, nothing else is taken."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from imagebuilder import kernel as kernels
from imagebuilder import lockfile
from imagebuilder.arch import TARGET
from imagebuilder.build.planner import Planner
from imagebuilder.errors import InputError, OutputError
from imagebuilder.events import Note, Say, Warned
from imagebuilder.lockfile import Change, Choices, Lock, LockedInit, LockedKernel
from imagebuilder.paths import is_file
from imagebuilder.recipe.lookup import FILE, typed
from imagebuilder.recipe.model import Recipe
from imagebuilder.sources.kind import LOCKFILE, Context
from imagebuilder.store import Store


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the lockfile of one recipe. ``changes`` are those from what the file had, ``stale`` says whether
    it was not what is chosen now, ``written`` whether it is now."""

    name: str
    path: Path
    missing: bool
    stale: bool
    written: bool
    changes: tuple[Change, ...]

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        changes = [asdict(each) for each in self.changes]
        return {
            "name": self.name,
            "path": str(self.path),
            "fits": not self.stale,
            "written": self.written,
            "changes": changes,
        }


def with_lock(context: Context) -> Context:
    """The context with what the recipe's lockfile has. Raises InputError for a damaged one, and where there is none
    although nothing else is to be taken."""
    choices = _choices(_read(context))
    if context.frozen and choices is None:
        message = f"{context.name} has no {LOCKFILE} for {TARGET.name}, and frozen it takes nothing else"
        raise InputError(message, hint=context.lock_hint())
    return replace(context, lock=choices.chosen if choices else ())


def keep(planner: Planner) -> None:
    """Write what the sources chose beside the recipe, where that is not there yet; say where the kernel or init are
    others than those that the file has."""
    context = planner.context
    if context.frozen or not is_file(context.folder / FILE):
        return
    lock = _read(context)
    before, now = _choices(lock), chosen(planner)
    if before is None or before.source != now.source:
        _write(context, lock, now)
    elif (planner.kernel_name, planner.smp) == (None, False) and (changed := lockfile.changes(before, now)):
        words = " and the ".join(each.what for each in changed)
        said = f"the {words} {'are others' if changed[1:] else 'is another'} than {LOCKFILE} has"
        context.say(Warned(f"{said}: `imagebuilder lock {context.name}` notes what there is now"))


def refuse_outside(planner: Planner) -> None:
    """Raises InputError where the lockfile has something else than what is chosen now."""
    name = planner.context.name
    if planner.kernel_name is not None or planner.smp:
        raise InputError(f"{LOCKFILE} has the recipe's own kernel: frozen it takes no other")
    before, now = _choices(_read(planner.context)), chosen(planner)
    reasons = {
        "kernel": "has another kernel than there is now",
        "init": "has another init than there is now",
        "source": "does not fit the recipe: it has more than the sources ask for",
    }
    for what, reason in reasons.items():
        if getattr(before, what, None) != getattr(now, what):
            raise InputError(f"{LOCKFILE} of {name} {reason}", hint=planner.context.lock_hint())


def locked(recipe: Recipe, store: Store, say: Say, *, update: bool = False, check: bool = False) -> Outcome:
    """Write the recipe's lockfile: with what it has where that fits, or with what is chosen now, to ``update`` it. To
    ``check`` it is to see what an update would change, and to leave no trace. Raises OutputError, and what sources
    raise."""
    again = update or check
    context = Context(recipe.folder, store, say, refresh=again, name=typed(recipe.folder), remember=not check)
    planner = Planner(recipe, with_lock(context))
    lock = _read(context)
    before, now = _choices(lock), chosen(planner)
    stale = before != now
    if stale and not check:
        try:
            lockfile.write((lock or Lock()).with_choices(TARGET.name, now), context.folder)
        except OutputError as error:
            hint = None if context.is_writable else context.lock_hint("--update" if update else "")
            raise OutputError(error.message, hint=hint) from error
    changes = tuple(lockfile.changes(before, now))
    path = context.folder / LOCKFILE
    return Outcome(recipe.name, path, before is None, stale, stale and not check, changes)


def chosen(planner: Planner) -> Choices:
    """All that a lockfile has of a recipe: of the kernel, of the recipe's own."""
    own = replace(planner, kernel_name=None, smp=False, formats=())
    name, key, digest = kernels.identity(own.definition, own.fragments)
    platform = planner.platform
    return Choices(
        init=LockedInit(key=platform.key(), sha256=platform.digest()),
        kernel=LockedKernel(name=name, key=key, sha256=digest),
        source=lockfile.locked(each.choice for each in planner.all_locked if each.choice is not None),
    )


def _read(context: Context) -> Lock | None:
    if not is_file(context.folder / FILE):
        return None
    hint = f"remove it, and `imagebuilder lock {context.name}` writes it again"
    return lockfile.read(context.folder, hint=hint)


def _choices(lock: Lock | None) -> Choices | None:
    return lock.architecture.get(TARGET.name) if lock else None


def _write(context: Context, lock: Lock | None, now: Choices) -> None:
    try:
        lockfile.write((lock or Lock()).with_choices(TARGET.name, now), context.folder)
    except OutputError as error:
        context.say(Warned(f"{error.message}: what was chosen is known to this cache alone"))
    else:
        context.say(Note(f"{context.folder / LOCKFILE} is written"))
