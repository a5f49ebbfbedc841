"""How each run looks: one of 8 colours that the colour-blind can tell apart, and one of 4 kinds of line."""

from typing import NamedTuple

from exper.views.report.content import Content
from exper.views.report.markup import Html, element

COLOURS, DASHES = 8, 4


class Look(NamedTuple):
    """The numbers of a colour and of a kind of line, both in page.css."""

    colour: int
    dash: int


def of(contents: list[Content]) -> list[Look]:
    """Return a look for each run: a colour for each tag where there are colours enough, else one for each run."""
    tags = list(dict.fromkeys(one.run.tag for one in contents))
    if not 1 < len(tags) <= COLOURS:
        return [Look(i % COLOURS, i // COLOURS % DASHES) for i in range(len(contents))]
    seen = dict.fromkeys(tags, 0)
    looks = []
    for one in contents:
        looks.append(Look(tags.index(one.run.tag), seen[one.run.tag] % DASHES))
        seen[one.run.tag] += 1
    return looks


def swatch(look: Look) -> Html:
    """Return a piece of the run's line."""
    line = element("path", d="M1 5h24")
    return element("svg", line, class_=f"swatch c{look.colour} d{look.dash}", viewBox="0 0 26 10", aria_hidden="true")
