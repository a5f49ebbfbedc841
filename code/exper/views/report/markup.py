"""HTML, escaped unless it was built here; and the two marks of a run on the page, its link and its line."""

import html
import json
import math
from typing import Any, NamedTuple

from exper.core.messages import printable
from exper.views.report.content import Content

COLOURS = 8  # in page.css; the colour-blind can tell them apart
DASHES = 4


class Html(str):
    """Text that is HTML already."""


class Look(NamedTuple):
    """The numbers of a colour and of a dash pattern, both in page.css."""

    colour: int
    dash: int


# -- elements ----------------------------------------------------------------------------------------------------------


def element(tag: str, *children: Any, **attributes: Any) -> Html:
    """Return an element; a child or an attribute that is None or False is left out, True gives a bare attribute.

    `class_` is `class`, and `_` in names is `-`.
    """
    named = "".join(_attribute(name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    return Html(f"<{tag}{named}>{join(*children)}</{tag}>")


def join(*children: Any) -> Html:
    """Return the children one after the other; all but Html is escaped."""
    shown = (child for child in children if child is not None and child is not False)
    return Html("".join(child if isinstance(child, Html) else _escaped(str(child)) for child in shown))


def scroll(label: str, inner: Html) -> Html:
    """Return a box that scrolls, also by keyboard, where its content is wider than the page."""
    return element("div", inner, class_="scroll", tabindex=0, role="region", aria_label=label)


def data(content: Any) -> Html:
    """Return JSON for a script element: ASCII, without a `<` that could end the element."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Html(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _attribute(name: str, content: Any) -> str:
    if content is None or content is False:
        return ""
    return f" {name}" if content is True else f' {name}="{_escaped(str(content))}"'


def _escaped(text: str) -> str:
    return html.escape(printable(text, keep="\n"))


# -- values ------------------------------------------------------------------------------------------------------------


def value(content: Any) -> str:
    """Return a setting, a metric or a fact as config.py would write it, a string without its quotes."""
    return content if isinstance(content, str) else repr(content)


def short(content: Any) -> str:
    """Return a metric with 4 digits; integers stay whole."""
    if not isinstance(content, float) or number(content) is None:
        return value(content)
    return f"{content:.0f}" if 1e4 <= abs(content) < 1e15 else f"{content:#.4g}"


def number(content: Any) -> float | None:
    """Return a finite number, by which a column can be sorted; None for anything else, booleans too."""
    is_number = isinstance(content, (int, float)) and not isinstance(content, bool)
    return content if is_number and abs(content) < math.inf else None


# -- marks of runs -----------------------------------------------------------------------------------------------------


def links(places: list[int], contents: list[Content]) -> Html:
    """Return links to the facts of runs, those of a tag together: `base/0 1 2  lr/0 1 2`."""
    by_tag: dict[str, list[Html]] = {}
    for i in places:
        of_tag = by_tag.setdefault(contents[i].run.tag, [])
        of_tag.append(_link(i, contents[i], is_first=not of_tag))
    return join(*(element("span", *(join(link, " ") for link in of_tag), class_="runs") for of_tag in by_tag.values()))


def _link(i: int, content: Content, *, is_first: bool) -> Html:
    text = str(content.run) if is_first else content.run.folder.name
    return element("a", text, href=f"#facts-{i}", aria_label=None if is_first else content.run)


def looks(contents: list[Content]) -> list[Look]:
    """Return the look of each run's line: a colour for each tag if there are enough colours, else one for each run."""
    tags = list(dict.fromkeys(content.run.tag for content in contents))
    if not 1 < len(tags) <= COLOURS:
        return [Look(i % COLOURS, i // COLOURS % DASHES) for i in range(len(contents))]
    seen = dict.fromkeys(tags, 0)
    of_runs = []
    for content in contents:
        tag = content.run.tag
        of_runs.append(Look(tags.index(tag), seen[tag] % DASHES))
        seen[tag] += 1
    return of_runs


def swatch(look: Look) -> Html:
    """Return a short piece of the run's line."""
    line = element("path", d="M1 5h24")
    return element("svg", line, class_=f"swatch c{look.colour} d{look.dash}", viewBox="0 0 26 10", aria_hidden="true")
