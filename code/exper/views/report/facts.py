"""Where, when and how each run was made."""

import shlex
from typing import Any

from exper.runs import run_record
from exper.views.report import content
from exper.views.report.content import Content
from exper.views.report.markup import Html, element, number, scroll, value

_VERSIONS = ("python", "torch")  # always shown; others where they differ


def facts(contents: list[Content]) -> Html:
    """Return a row for each run; of versions and environment also what is not the same in all."""
    every = [_facts(one) | _circumstances(one) for one in contents]
    always = dict.fromkeys(name for one in contents for name in _facts(one))
    others = dict.fromkeys(name for one in contents for name in _circumstances(one))
    names = [*always, *(name for name in others if name not in always and _differs(name, every))]
    head = element("tr", *(element("th", name, scope="col") for name in ("run", *names)))
    rows = (_row(i, one, [every[i].get(name) for name in names]) for i, one in enumerate(contents))
    return scroll("Facts of the runs", element("table", element("thead", head), element("tbody", *rows)))


def _row(i: int, one: Content, found: list[Any]) -> Html:
    cells = (
        element("td", None if text is None else value(text), class_=None if number(text) is None else "number")
        for text in found
    )
    return element("tr", element("th", one.run, scope="row"), *cells, id=f"facts-{i}", tabindex=-1)


def _facts(one: Content) -> dict[str, Any]:
    record, device, versions = one.record, one.statistic.section("device"), _dict(one.record.get("versions"))
    started, seconds, command = run_record.time(record.get("started")), content.seconds(one), record.get("command")
    return {
        "ended": content.ending(one),
        "seed": record.get("seed"),
        "started (UTC)": f"{started:%Y-%m-%d %H:%M:%S}" if started else None,
        "took": None if seconds is None else duration(seconds),
        "sessions": len(record.get("sessions", [])) or None,
        "host": record.get("host"),
        "device": device.get("name"),
        "threads": record.get("threads"),
        **{name: versions.get(name) for name in _VERSIONS},
        "command": shlex.join(map(str, command)) if isinstance(command, list) else command,
    }


def _circumstances(one: Content) -> dict[str, Any]:
    return {**_dict(one.record.get("versions")), **_dict(one.record.get("environment"))}


def _differs(name: str, every: list[dict[str, Any]]) -> bool:
    return len({repr(one.get(name)) for one in every}) > 1


def _dict(found: object) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def duration(seconds: float) -> str:
    """Return seconds in the two largest units that say something."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02} min" if hours else f"{minutes} min {rest:02} s"
