"""The details below the table: the settings that differ, and where, when and how each run was made."""

import shlex
from typing import Any

from exper.runs import run_record
from exper.statistic import cells
from exper.views.report.content import Content
from exper.views.report.markup import Html, element, join, links, number, scroll, value

_ABSENT = "not set"
_VERSIONS = ("python", "torch")  # always shown; others where they differ


# -- settings ----------------------------------------------------------------------------------------------------------


def settings(contents: list[Content]) -> Html:
    """Return the settings that differ, with the runs of each value, and below them the settings that all runs share."""
    rows = [content.row for content in contents]
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name.startswith("hparam/")]
    if not names:
        return element("p", "No run has recorded settings.", class_="quiet")
    varying = [name for name in names if len({repr(row.get(name, ...)) for row in rows}) > 1]
    shared = [name for name in names if name not in varying]
    return join(_varying(contents, varying), _shared(rows, shared, len(contents)) if shared else None)


def _varying(contents: list[Content], names: list[str]) -> Html:
    if not names:
        return element("p", "All runs have the same settings.", class_="quiet")
    head = element("tr", *(element("th", text, scope="col") for text in ("Setting", "Value", "Runs")))
    bodies = [_values(name, contents) for name in names]
    return scroll("Settings that differ", element("table", element("thead", head), *bodies, class_="settings"))


def _values(name: str, contents: list[Content]) -> Html:
    """Return a row for each value of a setting, the most common first; the others are marked."""
    runs: dict[str, list[int]] = {}
    for i, content in enumerate(contents):
        runs.setdefault(cells.text(content.row.get(name, cells.MISSING)), []).append(i)
    ordered = sorted(runs, key=lambda text: -len(runs[text]))
    rows = []
    for place, text in enumerate(ordered):
        head = name.removeprefix("hparam/")
        first = element("th", head, scope="rowgroup", rowspan=len(ordered)) if place == 0 else None
        share = element("span", f"{len(runs[text])} of {len(contents)}", class_="count")
        shown = element("mark", text or _ABSENT) if place else text or _ABSENT
        rows.append(element("tr", first, element("td", shown), element("td", share, links(runs[text], contents))))
    return element("tbody", *rows)


def _shared(rows: list[dict[str, Any]], names: list[str], runs: int) -> Html:
    head = f"{len(names)} settings, the same in all {runs} runs" if runs > 1 else f"{len(names)} settings"
    pairs = (
        element(
            "div",
            element("dt", name.removeprefix("hparam/")),
            element("dd", value(next(row[name] for row in rows if name in row))),
        )
        for name in names
    )
    return element("details", element("summary", head), element("dl", *pairs, class_="pairs"))


# -- facts -------------------------------------------------------------------------------------------------------------


def facts(contents: list[Content]) -> Html:
    """Return a row for each run; of versions and environment also those that differ between runs."""
    always = dict.fromkeys(name for content in contents for name in _facts(content))
    others = dict.fromkeys(name for content in contents for name in _circumstances(content))
    of_runs = [_facts(content) | _circumstances(content) for content in contents]
    names = [*always, *(name for name in others if name not in always and _differs(name, of_runs))]
    head = element("tr", *(element("th", name, scope="col") for name in ("run", *names)))
    rows = (_row(i, content, [of_runs[i].get(name) for name in names]) for i, content in enumerate(contents))
    return scroll("Facts of the runs", element("table", element("thead", head), element("tbody", *rows)))


def _row(i: int, content: Content, values: list[Any]) -> Html:
    cells = (
        element("td", None if fact is None else value(fact), class_=None if number(fact) is None else "number")
        for fact in values
    )
    return element("tr", element("th", content.run, scope="row"), *cells, id=f"facts-{i}", tabindex=-1)


def _facts(content: Content) -> dict[str, Any]:
    record = content.record
    versions = _dict(record.get("versions"))
    started = run_record.time(record.get("started"))
    command = record.get("command")
    return {
        "ended": content.ending,
        "seed": record.get("seed"),
        "started (UTC)": f"{started:%Y-%m-%d %H:%M:%S}" if started else None,
        "took": None if content.seconds is None else duration(content.seconds),
        "sessions": len(record.get("sessions", [])) or None,
        "host": record.get("host"),
        "device": content.statistic.section("device").get("name"),
        "threads": record.get("threads"),
        **{name: versions.get(name) for name in _VERSIONS},
        "command": shlex.join(map(str, command)) if isinstance(command, list) else command,
    }


def _circumstances(content: Content) -> dict[str, Any]:
    return {**_dict(content.record.get("versions")), **_dict(content.record.get("environment"))}


def _differs(name: str, of_runs: list[dict[str, Any]]) -> bool:
    return len({repr(facts.get(name)) for facts in of_runs}) > 1


def _dict(content: object) -> dict[str, Any]:
    return content if isinstance(content, dict) else {}


def duration(seconds: float) -> str:
    """Return seconds as `4.2 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02} min" if hours else f"{minutes} min {rest:02} s"
