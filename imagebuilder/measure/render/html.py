"""Reports as one page that needs nothing else: no network, no script, no font. Light and dark, wide and narrow."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

import imagebuilder
from imagebuilder.measure.render import figures, lines, series, words
from imagebuilder.measure.render.load_untrusted import UntrustedReport

TEMPLATE = "page.html.j2"


def page(reports: Sequence[UntrustedReport]) -> str:
    """The page. The same reports give the same text. Every text of a report is escaped: by jinja2, or in pictures by
    ElementTree."""
    found = lines.places(reports)
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            places=found,
            apart=lines.apart(found),
            names=lines.PLACE,
            images=[line.last.image for place in found for line in place.lines],
            of_image=figures.of_image,
            history=series.history,
            words=words,
            version=imagebuilder.__version__,
        )
    )


@cache
def environment() -> Environment:
    """What makes pages of the templates of this folder; all that is filled in is escaped."""
    loader = PackageLoader("imagebuilder.measure.render", ".")
    return Environment(autoescape=True, undefined=StrictUndefined, loader=loader, trim_blocks=True, lstrip_blocks=True)
