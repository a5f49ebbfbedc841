"""The one HTML file. Its template, style and scripts are in assets/; nothing in it uses the network."""

import base64
import hashlib
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from string import Template

from exper.core import paths
from exper.core.messages import count
from exper.views.report import code, curves, details, markup, table
from exper.views.report.content import Content
from exper.views.report.markup import Html, element, join

FOLDER = Path(__file__).parent / "assets"
STYLE = ("uplot/uPlot.min.css", "page.css")
SCRIPTS = ("uplot/uPlot.iife.min.js", "table.js", "curves.js")


def page(project: paths.Project, name: str, contents: list[Content], notes: list[str]) -> str:
    """Return the page of runs; the same runs give the same page, except for the time in its head."""
    codes, error = code.of(project, contents)
    logs = code.logs(contents)
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
        logs_link=Html('<a href="#logs">Logs</a>') if logs else "",
        table=markup.scroll("Table of the runs", table.table(contents)),
        settings=details.settings(contents),
        code=code.commits(codes, error, contents),
        logs=element("section", element("h2", "Logs"), logs, id="logs") if logs else "",
        facts=details.facts(contents),
        data=markup.data(_data(contents)),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _read(*names: str) -> str:
    return "".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def _policy(style: str, scripts: list[str]) -> str:
    """Return a Content-Security-Policy that allows this style and these scripts, and nothing else."""
    allowed = " ".join(map(_hash, scripts))
    return f"default-src 'none'; style-src {_hash(style)}; script-src {allowed}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _summary(contents: list[Content]) -> str:
    states = Counter(content.status for content in contents).most_common()
    return join(f"{count(len(contents), 'run')}: " + ", ".join(f"{number} {state}" for state, number in states))


def _best(contents: list[Content]) -> Html | None:
    """Return a line about the best finished run, if all runs monitor the same metric."""
    monitors = {str(content.settings["monitor"]) for content in contents if "monitor" in content.settings}
    direction, _, name = next(iter(monitors), "").partition(" ")
    if len(monitors) != 1 or direction not in ("min", "max"):
        return None
    values = [markup.number(content.row.get(f"metric/best/{name}")) for content in contents]
    numbers = [value for value in values if value is not None]
    if len(numbers) < 2:
        return None
    best = min(numbers) if direction == "min" else max(numbers)
    winners = [content for content, value in zip(contents, values, strict=True) if value == best]
    return _best_line(direction, name, best, winners, contents)


def _best_line(direction: str, name: str, best: float, winners: list[Content], contents: list[Content]) -> Html:
    first, *others = winners
    link = element("a", first.run, href=f"#facts-{contents.index(first)}")
    epoch = first.row.get("metric/best/epoch")
    more = f" and {count(len(others), 'other run')}" if others else "" if epoch is None else f", epoch {epoch}"
    extreme = {"min": "lowest", "max": "highest"}[direction]
    value = element("strong", markup.short(best))
    return element("p", f"The {extreme} {name} of a finished run: ", value, ", ", link, more)


def _data(contents: list[Content]) -> dict[str, object]:
    looks = markup.looks(contents)
    runs = [[str(content.run), look.colour, look.dash] for content, look in zip(contents, looks, strict=True)]
    return {"runs": runs, **curves.data(contents)}
