"""The one HTML file: its template, style and scripts are in page/, and none of it reaches for the network."""

import base64
import hashlib
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from string import Template

from exper.core import paths
from exper.views.report import code, colours, curves, facts, logs, markup, settings, table
from exper.views.report.content import Content
from exper.views.report.markup import Html, count, element, join

FOLDER = Path(__file__).parent / "assets"
STYLE = ("uplot/uPlot.min.css", "page.css")
SCRIPTS = ("uplot/uPlot.iife.min.js", "table.js", "curves.js")


def page(project: paths.Project, name: str, contents: list[Content], notes: list[str]) -> str:
    """Return the page of runs; the same runs give the same page, but for the time that its head tells."""
    codes, why_not = code.of(project, contents)
    tails = logs.tails(contents)
    style = _read(*STYLE)
    scripts = [_read(script) for script in SCRIPTS]
    now = datetime.now(timezone.utc)
    return Template(_read("page.html")).substitute(
        policy=_policy(style, scripts),
        name=join(name),
        style=style,
        project=join(project.root.name),
        summary=_summary(contents),
        made=element("time", f"{now:%Y-%m-%d %H:%M} UTC", datetime=now.isoformat(timespec="seconds")),
        best=_best(contents) or "",
        notes=element("ul", *(element("li", note) for note in notes), class_="notes") if notes else "",
        logs_link=Html('<a href="#logs">Logs</a>') if tails else "",
        table=markup.scroll("Table of the runs", table.table(contents)),
        settings=settings.differing(contents),
        code=code.commits(codes, why_not, contents),
        logs=element("section", element("h2", "Logs"), tails, id="logs") if tails else "",
        facts=facts.facts(contents),
        data=markup.data(_data(contents)),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _read(*names: str) -> str:
    return "".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def _policy(style: str, scripts: list[str]) -> str:
    """Return a Content-Security-Policy: this style and these scripts, and nothing else from anywhere."""
    allowed = " ".join(map(_hash, scripts))
    return f"default-src 'none'; style-src {_hash(style)}; script-src {allowed}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _summary(contents: list[Content]) -> str:
    states = Counter(one.status for one in contents).most_common()
    return join(f"{count(len(contents), 'run')}: " + ", ".join(f"{number} {state}" for state, number in states))


def _best(contents: list[Content]) -> Html | None:
    """Return which finished run is best by the monitor that all share."""
    monitors = {str(one.settings["monitor"]) for one in contents if "monitor" in one.settings}
    direction, _, name = next(iter(monitors), "").partition(" ")
    if len(monitors) != 1 or direction not in ("min", "max"):
        return None
    found = ((markup.number(one.row.get(f"metric/best/{name}")), i) for i, one in enumerate(contents))
    values = [(value, i) for value, i in found if value is not None]
    if len(values) < 2:
        return None
    best = (min if direction == "min" else max)(value for value, _ in values)
    return _told(direction, name, best, [contents[i] for value, i in values if value == best], contents)


def _told(direction: str, name: str, best: float, winners: list[Content], contents: list[Content]) -> Html:
    first, *others = winners
    link = element("a", first.run, href=f"#facts-{contents.index(first)}")
    epoch = first.row.get("metric/best/epoch")
    more = f" and {count(len(others), 'other run')}" if others else "" if epoch is None else f", epoch {epoch}"
    which = {"min": "lowest", "max": "highest"}[direction]
    value = element("strong", markup.short(best))
    return element("p", f"The {which} {name} of a finished run: ", value, ", ", link, more)


def _data(contents: list[Content]) -> dict[str, object]:
    looks = colours.of(contents)
    runs = [[str(one.run), look.colour, look.dash] for one, look in zip(contents, looks, strict=True)]
    return {"runs": runs, **curves.data(contents)}
