"""Several reports as one document."""

from collections.abc import Sequence

from imagebuilder.errors import InputError
from imagebuilder.measure.render import lines
from imagebuilder.measure.render.load_untrusted import UntrustedReport
from imagebuilder.measure.report import Report


def report(reports: Sequence[UntrustedReport]) -> Report:
    """The images of all reports in one, in their order. Raises InputError when they were not all made by the same
    version of imagebuilder in one place: a document names one of each."""
    if len({given.report.host for given in reports}) > 1 or len(lines.places(reports)) > 1:
        why = "one document names one place and one version of imagebuilder, and these reports do not come from one"
        raise InputError(why, hint="write a document for each")
    images = tuple(image for given in reports for image in given.report.images)
    return reports[-1].report.model_copy(update={"images": images})
