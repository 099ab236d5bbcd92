"""What may stand in one line, and what is shown apart."""

from typing import Any

import pytest

from imagebuilder.errors import InputError
from imagebuilder.measure.render import merge
from imagebuilder.measure.render.lines import apart, places
from imagebuilder.measure.report import MachineShape

from .reports import BARE, FULL, given

OTHER = {"accelerator": "kvm", "qemu": "9.0.0", "cpu": "Another", "cores": 4, "kernel": "Linux 6.2.0"}


def test_one_place_makes_one_line_in_the_order_given() -> None:
    (place,) = places([given(FULL, label="a"), given(BARE, FULL, label="b"), given(FULL, label="c")])
    assert [[point.label for point in line.points] for line in place.lines] == [["a", "b", "c"], ["b"]]
    assert apart([place]) is None


@pytest.mark.parametrize(("field", "value"), OTHER.items())
def test_another_place_is_never_in_the_same_line(field: str, value: Any) -> None:
    found = places([given(FULL, label="a"), given(FULL, label="b", **{field: value}), given(FULL, label="c")])
    assert [place.labels for place in found] == [("a", "c"), ("b",)]
    assert [len(place.lines) for place in found] == [1, 1]
    sentence = apart(found)
    assert sentence and "not to be compared" in sentence and "2 places" in sentence


@pytest.mark.parametrize("field", ["accelerator", "qemu", "cpu"])
def test_what_is_not_known_is_not_the_same(field: str) -> None:
    unknown: dict[str, Any] = {field: None}
    found = places([given(FULL, **unknown), given(FULL, **unknown)])
    assert len(found) == 2
    assert "do not say well enough" in (apart(found) or "")


@pytest.mark.parametrize(
    "changed",
    [{"kernel": "debian-cloud"}, {"machine": MachineShape(type="microvm", memory_mib=64, cpus=1)}, {"machine": None}],
)
def test_another_machine_is_another_line(changed: dict[str, Any]) -> None:
    (place,) = places([given(FULL), given(FULL.model_copy(update=changed))])
    assert [len(line.points) for line in place.lines] == [1, 1]


def test_one_document_of_several() -> None:
    one, two = given(FULL), given(BARE)
    assert merge.report([one, two]).images == (FULL, BARE)
    assert merge.report([one]) == one.report
    others: dict[str, Any] = {**OTHER, "imagebuilder": "0.2.0"}
    for field, value in others.items():
        with pytest.raises(InputError, match="one document"):
            merge.report([one, given(BARE, **{field: value})])
