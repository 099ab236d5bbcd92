"""The doors through which foreign data comes into the Python code: one row each, with valid inputs to begin with.

``read`` takes one input, in an empty folder of its own, as the code does that meets it. It returns, or raises what the
door refuses with: an ImagebuilderError of one sentence, or one of ``refusals``. To add one: a function and a row.
"""

from collections.abc import Mapping

from tests.fuzz.doors import claims, documents, guests, images, kernels, machines, packages, projects, recipes
from tests.fuzz.doors.door import ROOT, Door, is_refusal

__all__ = ["DOORS", "ROOT", "Door", "is_refusal"]
ROOMS = (recipes, documents, claims, kernels, packages, images, projects, guests, machines)
DOORS: Mapping[str, Door] = {row.name: row for room in ROOMS for row in room.ROWS}
