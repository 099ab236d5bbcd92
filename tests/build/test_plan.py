"""The plan: a step's id changes with what it depends on, and with nothing else."""

from dataclasses import fields, replace
from typing import Any

import pytest

from imagebuilder.build.described import described
from imagebuilder.build.plan import Inputs, Plan, plan
from imagebuilder.build.revision import Code
from imagebuilder.build.steps import MODULES, StepKind
from imagebuilder.build.steps.bundle import BundleInputs
from imagebuilder.build.steps.image import ImageInputs
from imagebuilder.build.steps.kernel import KernelInputs
from imagebuilder.build.steps.pack import PackInputs
from imagebuilder.build.steps.prepare import PrepareInputs, Script
from imagebuilder.build.steps.root import AddedFile, KernelAbilities, RootInputs
from imagebuilder.build.steps.sbom import SbomInputs
from imagebuilder.build.steps.slim import SlimInputs
from imagebuilder.build.steps.source import SourceInputs
from imagebuilder.images import IMAGES
from imagebuilder.kernel import fragment, load_definition
from imagebuilder.pages import PageList
from imagebuilder.paths import shipped
from imagebuilder.recipe.model import Application, Helper, Prepare, Root
from imagebuilder.recipe.values import Egress
from imagebuilder.sources import SOURCES
from imagebuilder.sources.kind import Locked, Package, SourcePrepare
from imagebuilder.transforms.kind import ChosenTransform
from imagebuilder.transforms.options import BindOptions, SlimOptions
from imagebuilder.transforms.table import TRANSFORMS
from imagebuilder.tree import Blob, file

CODE = Code({name: name for name in MODULES}, dict.fromkeys(MODULES, ()))
FILES = SOURCES["files"]
APPLICATION = Application(command="/usr/bin/app")
MICRO = load_definition("micro")
GIVEN = Inputs(
    sources=[SourceInputs(FILES, Locked(None, {"sha256": number})) for number in range(2)],
    slim=SlimInputs(platform="linux", roots=("/usr/bin/app",), arguments=()),
    kernel=KernelInputs(MICRO, ()),
    root=RootInputs("app", APPLICATION, Root(), True, Egress.NONE, "linux", "init-1", KernelAbilities("micro")),
    pack=PackInputs(0),
    bundle=BundleInputs({"name": "app"}, "linux", "micro", MICRO.products[0], MICRO.boot, 1),
    sbom=SbomInputs(KernelInputs(MICRO, ()), "1.0", 0),
)
SMP = fragment("smp", beside=shipped("recipes"))
BELOW = {
    StepKind.SOURCE: {StepKind.SOURCE, StepKind.SLIM, StepKind.ROOT, StepKind.PACK, StepKind.BUNDLE, StepKind.SBOM},
    StepKind.SLIM: {StepKind.SLIM, StepKind.ROOT, StepKind.PACK, StepKind.BUNDLE, StepKind.SBOM},
    StepKind.KERNEL: {StepKind.KERNEL, StepKind.ROOT, StepKind.PACK, StepKind.BUNDLE, StepKind.SBOM},
    StepKind.ROOT: {StepKind.ROOT, StepKind.PACK, StepKind.BUNDLE, StepKind.SBOM},
    StepKind.PACK: {StepKind.PACK, StepKind.BUNDLE, StepKind.SBOM},
    StepKind.BUNDLE: {StepKind.BUNDLE, StepKind.SBOM},
    StepKind.SBOM: {StepKind.SBOM},
}
# For every step each of its inputs, and another value for it.
CHANGES: dict[StepKind, dict[str, Any]] = {
    StepKind.SLIM: {
        "platform": "other",
        "roots": ("/usr/bin/other",),
        "arguments": ("/etc/x",),
        "transforms": {"slim": ChosenTransform(TRANSFORMS["slim"], SlimOptions(include=("/usr/share/**",)))},
        "added": (("/etc/app.conf", file(b"2")),),
        "search": {"PATH": "/opt"},
        "releases": ("bookworm",),
        "traced": (("/a", "opened by /b"),),
        "whole": True,
        "packages": ("app",),
    },
    StepKind.KERNEL: {"definition": load_definition("debian-cloud"), "fragments": (SMP,)},
    StepKind.ROOT: {
        "name": "other",
        "application": APPLICATION.model_copy(update={"arguments": ("-x",)}),
        "root": Root(bind_libraries=False),
        "network": False,
        "egress": Egress.FULL,
        "platform": "other",
        "init": "init-2",
        "kernel": KernelAbilities("micro", low_ports=True),
        "files": (AddedFile("/etc/app.conf", file(b"3")),),
        "source_owners": ("app:500",),
        "transforms": {"bind": ChosenTransform(TRANSFORMS["bind"], BindOptions(bind_libraries=False))},
        "pages": PageList(files=()),
        "helpers": (Helper(command=("/bin/web",)),),
    },
    StepKind.PACK: {"epoch_s": 1},
    StepKind.BUNDLE: {
        "recipe": {"name": "app", "summary": "new"},
        "platform": "other",
        "kernel": "other",
        "boot": load_definition("debian-cloud").boot,
        "product": load_definition("debian-cloud").products[0],
        "most_cpus": None,
    },
    StepKind.SBOM: {
        "kernel": KernelInputs(MICRO, (SMP,)),
        "version": "1.1",
        "epoch_s": 1,
        "added": ("/etc/app.conf",),
        "sources": ({"type": "files"},),
    },
}


def ids(made: Plan) -> dict[StepKind, list[str]]:
    """The ids of a plan's steps by kind."""
    found: dict[StepKind, list[str]] = {}
    for step in made.steps():
        found.setdefault(step.kind, []).append(step.id)
    return found


def changed(after: Inputs) -> set[StepKind]:
    """The kinds of the steps of which an id is another."""
    before, now = ids(plan("app", GIVEN, CODE)), ids(plan("app", after, CODE))
    return {kind for kind in before if before[kind] != now[kind]}


def test_the_steps_in_order() -> None:
    kinds = [step.kind.value for step in plan("app", GIVEN, CODE).steps()]
    assert kinds == ["source", "source", "slim", "kernel", "root", "pack", "bundle", "sbom"]


def test_equal_inputs_give_equal_ids() -> None:
    assert not changed(replace(GIVEN))


def test_another_source_changes_all_but_the_kernel() -> None:
    other = SourceInputs(FILES, Locked(None, {}))
    assert changed(replace(GIVEN, sources=[other, GIVEN.sources[1]])) == BELOW[StepKind.SOURCE]


@pytest.mark.parametrize("kind", CHANGES, ids=str)
def test_each_input_changes_its_step_and_those_that_need_it(kind: StepKind) -> None:
    inputs = getattr(GIVEN, kind)
    assert CHANGES[kind].keys() == {field.name for field in fields(inputs)}, "each input, and nothing else"
    for name, value in CHANGES[kind].items():
        assert changed(replace(GIVEN, **{kind.value: replace(inputs, **{name: value})})) == BELOW[kind], name


def test_each_input_of_a_command_that_prepares_changes_it_the_next_and_what_is_made_of_them() -> None:
    first = PrepareInputs(1, "app", Prepare(command=("/one",)), None, (), ("root",), "preparer-1", "quiet", 0)
    second = replace(first, number=2, prepare=Prepare(command=("/two",)))
    given = replace(GIVEN, prepare=(first, second), prepare_kernel=KernelInputs(load_definition("standard"), ()))
    before = [*plan("app", given, CODE).steps()]
    assert [step.kind.value for step in before] == (
        ["source", "source", "kernel", "prepare", "prepare", "slim", "kernel", "root", "pack", "bundle", "sbom"]
    )
    assert before[-1].needs[3:] == (*before[:2], *before[3:5])  # the bill of materials names what they made
    below = before[3:6] + before[7:]  # from the first command on, but not the image's kernel
    package = Package("nginx", "1", "0" * 64, 1)
    others: dict[str, Any] = {
        "number": 3,
        "name": "other",
        "prepare": Prepare(command=("/one",), network=True),
        "script": Script(package, "bookworm", (package,)),
        "files": (("/etc/app.conf", file(b"1"), "root"),),
        "users": ("app:500",),
        "preparer": "preparer-2",
        "cmdline": "",
        "epoch_s": 1,
        "source": SourcePrepare("java", ("/java",), {}, (), {}, ("/opt/java",), "jdk", 512, 600, ""),
        "tools": (),
    }
    assert others.keys() == {field.name for field in fields(first)}, "each input, and nothing else"
    for name, value in others.items():
        after = [*plan("app", replace(given, prepare=(replace(first, **{name: value}), second)), CODE).steps()]
        changed = [old for old, new in zip(before, after, strict=True) if old.id != new.id]
        assert changed == below or name == "tools", name


def test_the_tools_of_a_source_are_of_its_machine_alone() -> None:
    jdk = SourceInputs(FILES, Locked(None, {"sha256": "jdk"}))
    one = PrepareInputs(
        0, "app", Prepare(command=("/one",)), None, (), ("root",), "preparer-1", "quiet", 0, None, (jdk,)
    )
    made = plan("app", replace(GIVEN, prepare=(one,), prepare_kernel=KernelInputs(MICRO, ())), CODE)
    prepare = next(step for step in made.steps() if step.kind is StepKind.PREPARE)
    assert [each.title for each in prepare.needs] == (
        ["source 1 of app", "source 2 of app", "tools 1 of prepare 0: one of app", "kernel micro"]
    )
    others = [step.title for step in made.steps() if prepare.needs[2] in step.needs]
    assert others == [prepare.title]


def test_a_format_is_a_step_of_its_own_on_top_of_the_image() -> None:
    def last(inputs: Inputs) -> str:
        return [*plan("app", inputs, CODE).steps()][-1].id

    direct = IMAGES["direct"]
    given = replace(GIVEN, images=(ImageInputs(direct, 0),))
    made = plan("app", given, CODE)
    assert ids(made) == ids(plan("app", GIVEN, CODE)) | {StepKind.IMAGE: [made.images["direct"].id]}
    assert made.images["direct"].needs == (made.bundle,)
    assert last(replace(given, images=(ImageInputs(direct, 1),))) != last(given)
    assert last(replace(given, images=(ImageInputs(replace(direct, name="other"), 0),))) != last(given)
    assert last(replace(given, bundle=replace(GIVEN.bundle, recipe={"name": "app", "summary": "new"}))) != last(given)


def test_what_has_no_description_is_no_input() -> None:
    assert described([Blob.of(b"a"), StepKind.SLIM, None, {"a": (1, True)}]) == [
        Blob.of(b"a").digest, "slim", None, {"a": [1, True]},
    ]  # fmt: skip
    with pytest.raises(TypeError, match="object cannot be part of a step's key"):
        described([object()])


def test_a_plan_is_printable() -> None:
    steps = plan("app", GIVEN, CODE).describe()
    assert [step["kind"] for step in steps][-2:] == ["bundle", "sbom"]
    known: set[str] = set()
    for step in steps:
        assert set(step["needs"]) <= known
        known.add(step["id"])
