"""The table of the runs, as a reader without scripts sees it; table.js sorts and filters it."""

from typing import Any

from exper.statistic import rows
from exper.views.report import colours
from exper.views.report.content import TOLD_BY_ITS_LOG, Content
from exper.views.report.markup import Html, element, join, number, short, value


def table(contents: list[Content]) -> Html:
    """Return a row for each run, under the columns of `exper table`; settings that all runs share are hidden."""
    every = [one.row for one in contents]
    columns = rows.columns(every)
    hidden = {name for name in columns if name.startswith("hparam/") and is_constant(name, every)}
    head = element("tr", *(_head(name, name in hidden) for name in columns))
    looks = colours.of(contents)
    body = (
        element(
            "tr", _name(i, one, looks[i]), *(_cell(one, i, name, name in hidden) for name in columns[1:]), data_run=i
        )
        for i, one in enumerate(contents)
    )
    return element("table", element("thead", head), element("tbody", *body))


def _row(one: Content, i: int, name: Html, columns: list[str], hidden: set[str]) -> Html:
    cells = (_cell(one, i, column, column in hidden) for column in columns[1:])
    return element("tr", name, *cells, data_run=i)


def is_constant(name: str, every: list[rows.Row]) -> bool:
    """Tell whether all runs that tell a setting tell the same."""
    return len({repr(row[name]) for row in every if name in row}) < 2


def _head(name: str, hidden: bool) -> Html:
    kind, text = parts(name)
    label = element("span", element("small", kind) if kind else "", text, class_="label")
    return element("th", label, scope="col", data_column=name, hidden=hidden)


def parts(name: str) -> tuple[str, str]:
    """Return the group of a column (nothing, setting, best, last or test) and its name there."""
    kind, slash, text = name.partition("/")
    if kind == "metric":
        kind, slash, text = text.partition("/")
    return ("setting" if kind == "hparam" else kind, text) if slash else ("", name)


def _name(i: int, one: Content, look: colours.Look) -> Html:
    link = element("a", one.run, href=f"#facts-{i}")
    return element("th", colours.swatch(look), link, scope="row")


def _cell(one: Content, i: int, name: str, hidden: bool) -> Html:
    if name == "status":
        return element("td", status(one, i), hidden=hidden)
    if name == "epoch":
        return _epoch(one)
    if name not in one.row:
        return element("td", hidden=hidden)
    content = one.row[name]
    text = short(content) if name.startswith("metric/") else value(content)
    full = value(content)
    sorts = number(content)
    return element(
        "td", text, class_=None if sorts is None else "number", data_number=None if sorts is None else repr(sorts),
        data_full=full if full != text else None, title=full if full != text or len(full) > 24 else None, hidden=hidden,
    )  # fmt: skip


def status(one: Content, i: int) -> Html:
    """Return a run's status, that of a failed one with a link to its log."""
    has_log = one.log is not None and one.status in TOLD_BY_ITS_LOG
    word: Any = element("a", one.status, href=f"#log-{i}") if has_log else one.status
    return element("span", word, class_=f"status is-{one.status}" if one.status.isalpha() else "status")


def _epoch(one: Content) -> Html:
    done, epochs = one.row["epoch"], one.settings.get("epochs")
    if done is None:
        return element("td")
    text = join(value(done), element("small", f"/{epochs}")) if isinstance(epochs, int) else value(done)
    sorts = number(done)
    return element("td", text, class_="number", data_number=None if sorts is None else repr(sorts))
