"""Links from a run's name to its facts."""

from exper.views.report.content import Content
from exper.views.report.markup import Html, element, join


def to(places: list[int], contents: list[Content]) -> Html:
    """Return links to runs, those of a tag together: `base/0 1 2  lr/0 1 2`."""
    by_tag: dict[str, list[Html]] = {}
    for i in places:
        links = by_tag.setdefault(contents[i].run.tag, [])
        links.append(_link(i, contents[i], is_first=not links))
    return join(*(element("span", *(join(one, " ") for one in links), class_="runs") for links in by_tag.values()))


def _link(i: int, one: Content, *, is_first: bool) -> Html:
    text = str(one.run) if is_first else one.run.folder.name
    return element("a", text, href=f"#facts-{i}", aria_label=None if is_first else one.run)
