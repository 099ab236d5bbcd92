"""What is shown of an image, in order."""

from imagebuilder.measure.render import footprint, series, starts
from imagebuilder.measure.render.figure import Figure
from imagebuilder.measure.report import ImageReport


def of_image(image: ImageReport) -> tuple[Figure, ...]:
    """All figures of one image, those that were not measured too."""
    made = (
        series.comparison(image),
        starts.phases(image),
        starts.samples(image),
        starts.beside_the_floor(image),
        footprint.memory(image),
        footprint.size(image),
        starts.initcalls(image),
    )
    return tuple(figure for figure in made if figure)
