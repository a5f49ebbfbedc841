"""Which settings differ between the runs."""

from typing import Any

from exper.statistic import cells
from exper.views.report import links
from exper.views.report.content import Content
from exper.views.report.markup import Html, element, join, scroll, value

_ABSENT = "not set"


def differing(contents: list[Content]) -> Html:
    """Return which settings differ and in which runs, and below them those that all share."""
    every = [one.row for one in contents]
    names = [name for name in dict.fromkeys(name for row in every for name in row) if name.startswith("hparam/")]
    if not names:
        return element("p", "No run has recorded settings.", class_="quiet")
    varying = [name for name in names if len({repr(row.get(name, ...)) for row in every}) > 1]
    shared = [name for name in names if name not in varying]
    return join(_varying(contents, varying), _shared(every, shared, len(contents)) if shared else None)


def _varying(contents: list[Content], names: list[str]) -> Html:
    if not names:
        return element("p", "All runs have the same settings.", class_="quiet")
    head = element("tr", *(element("th", text, scope="col") for text in ("Setting", "Value", "Runs")))
    bodies = [_values(name, contents) for name in names]
    return scroll("Settings that differ", element("table", element("thead", head), *bodies, class_="settings"))


def _values(name: str, contents: list[Content]) -> Html:
    """Return a row for each value of a setting, the most common first; the others are marked."""
    runs: dict[str, list[int]] = {}
    for i, one in enumerate(contents):
        runs.setdefault(cells.text(one.row.get(name, cells.MISSING)), []).append(i)
    ordered = sorted(runs, key=lambda text: -len(runs[text]))
    rows = []
    for place, text in enumerate(ordered):
        first = element("th", name[7:], scope="rowgroup", rowspan=len(ordered)) if place == 0 else None
        share = element("span", f"{len(runs[text])} of {len(contents)}", class_="count")
        shown = element("mark", text or _ABSENT) if place else text or _ABSENT
        rows.append(element("tr", first, element("td", shown), element("td", share, links.to(runs[text], contents))))
    return element("tbody", *rows)


def _shared(every: list[dict[str, Any]], names: list[str], runs: int) -> Html:
    head = f"{len(names)} settings, the same in all {runs} runs" if runs > 1 else f"{len(names)} settings"
    pairs = (
        element("div", element("dt", name[7:]), element("dd", value(next(row[name] for row in every if name in row))))
        for name in names
    )
    return element("details", element("summary", head), element("dl", *pairs, class_="pairs"))
