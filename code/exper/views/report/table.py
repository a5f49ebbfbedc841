"""The table of the runs, complete without scripts; table.js sorts and filters it."""

from typing import Any

from exper.statistic import rows
from exper.views.report.content import HAS_LOG, Content
from exper.views.report.markup import Html, Look, element, join, looks, number, short, swatch, value


def table(contents: list[Content]) -> Html:
    """Return a row for each run, under the columns of `exper table`; settings that all runs share are hidden."""
    of_runs = [content.row for content in contents]
    columns = rows.columns(of_runs)
    hidden = {name for name in columns if name.startswith("hparam/") and _is_constant(name, of_runs)}
    head = element("tr", *(_head(name, name in hidden) for name in columns))
    body = []
    for i, (content, look) in enumerate(zip(contents, looks(contents), strict=True)):
        cells = (_cell(content, i, column, column in hidden) for column in columns[1:])
        body.append(element("tr", _name(i, content, look), *cells, data_run=i))
    return element("table", element("thead", head), element("tbody", *body))


def _is_constant(name: str, of_runs: list[rows.Row]) -> bool:
    """Tell whether all runs that have a setting have the same value."""
    return len({repr(row[name]) for row in of_runs if name in row}) < 2


def _head(name: str, hidden: bool) -> Html:
    kind, text = _split(name)
    label = element("span", element("small", kind) if kind else "", text, class_="label")
    return element("th", label, scope="col", data_column=name, hidden=hidden)


def _split(name: str) -> tuple[str, str]:
    """Return the group of a column (nothing, setting, best, last or test) and its name there."""
    kind, slash, text = name.partition("/")
    if kind == "metric":
        kind, slash, text = text.partition("/")
    return ("setting" if kind == "hparam" else kind, text) if slash else ("", name)


def _name(i: int, content: Content, look: Look) -> Html:
    link = element("a", content.run, href=f"#facts-{i}")
    return element("th", swatch(look), link, scope="row")


def _cell(content: Content, i: int, name: str, hidden: bool) -> Html:
    if name == "status":
        return element("td", _status(content, i), hidden=hidden)
    if name == "epoch":
        return _epoch(content)
    if name not in content.row:
        return element("td", hidden=hidden)
    full = value(content.row[name])
    text = short(content.row[name]) if name.startswith("metric/") else full
    sorts = number(content.row[name])
    return element(
        "td", text, class_=None if sorts is None else "number", data_number=None if sorts is None else repr(sorts),
        data_full=full if full != text else None, title=full if full != text or len(full) > 24 else None, hidden=hidden,
    )  # fmt: skip


def _status(content: Content, i: int) -> Html:
    """Return a run's status; that of a failed run links to its log."""
    status = content.status
    has_log = content.log is not None and status in HAS_LOG
    word: Any = element("a", status, href=f"#log-{i}") if has_log else status
    return element("span", word, class_=f"status is-{status}" if status.isalpha() else "status")


def _epoch(content: Content) -> Html:
    done = content.row["epoch"]
    epochs = content.settings.get("epochs")
    if done is None:
        return element("td")
    text = join(value(done), element("small", f"/{epochs}")) if isinstance(epochs, int) else value(done)
    sorts = number(done)
    return element("td", text, class_="number", data_number=None if sorts is None else repr(sorts))
