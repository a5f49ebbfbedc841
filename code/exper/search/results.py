"""The results of a search: write the table and the pictures, show the first rows and the best trial."""

import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from exper.core import files, paths
from exper.core.errors import Refused
from exper.core.messages import MOST, say
from exper.search import results_table, space
from exper.search.outcome import Curve
from exper.search.results_table import Search
from exper.statistic import cells, groups, history, tables
from exper.statistic.rows import Row
from exper.statistic.tables import Table


def write(search: Search, command: str) -> list[str]:
    """Write the table and the pictures, show the first rows and the command that trains the best trial again.

    Args:
        search: the search.
        command: the command whose name the messages begin with.

    Returns:
        A line for each file that can't be read.
    """
    results = results_table.read(search)
    trials = results.table.rows
    path = _write_table(search, results.table)
    print(tables.shown(_for_people(results.table)), flush=True)  # pictures take seconds
    pictures = _write_pictures(search, results.table, command)
    count = Counter(str(row["status"]) for row in trials).most_common()
    size = f"{len(trials):,} trial{'s' * (len(trials) != 1)}"
    say(f"{command}: {size}: {', '.join(f'{number:,} {state}' for state, number in count)}")
    where = f"; pictures: {', '.join(map(paths.from_here, pictures))}" if pictures else ""
    say(f"{command}: table: {paths.from_here(path)} and .md{where}")
    if trials and (value := _value(search, trials[0])) is not None:
        tag = results_table.tag_of(trials[0])
        again = f"To train it again, type: rerun {shlex.quote(tag)} -f"
        say(f"{command}: best {search.metric} {value:.6g}: {tag}. {again}")
    return results.problems


def _for_people(table: Table) -> Table:
    """Return the first rows under short headers; the run's name repeats its settings, so it comes last."""
    short = {name: header.removeprefix("hparam/").removeprefix("metric/") for name, header in table.headers.items()}
    last = {name: short.pop(name) for name in ("run", "tag") if name in short}
    return Table(short | last, table.rows[:MOST])


def _value(search: Search, row: Row) -> float | None:
    """Return the value of a finished trial that the search optimizes."""
    value = row.get(search.column) if row["status"] == "finished" else None
    return value if history.is_number(value) else None


def _write_table(search: Search, table: Table) -> Path:
    for form in ("md", "csv"):
        ending, text_of = cells.FORMATS[form]
        path = search.project.table_file(search.tag, ending)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, text_of(table.lines()).encode(errors="backslashreplace"))
    return path


def _write_pictures(search: Search, table: Table, command: str) -> list[Path]:
    """Write the pictures that can be drawn, and say why others can't."""
    from exper.search import plots

    curves = [(_label(search, row), _curve(search, results_table.tag_of(row))) for row in table.rows]
    is_loss = search.direction == "min"  # logarithmic, or a curve that diverges would flatten the others
    draw: dict[str, Callable[[], bytes]] = {
        "history_plots": lambda: plots.histories(curves, search.metric, log=is_loss)
    }
    if search.study is not None:
        study = search.study
        draw["importance"] = lambda: plots.importance(study, search.metric)
        draw["parallel_coordinate"] = lambda: plots.parallel_coordinate(study, search.metric)
    written: list[Path] = []
    for name, content in draw.items():
        path = search.project.search_plot_file(search.tag, name)
        try:
            picture = content()
        except Refused as refusal:
            say(f"{command}: no {path.name}: {refusal}")
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, picture)
        written.append(path)
    return written


def _label(search: Search, row: Row) -> str:
    """Return a trial's values and its result, short enough for a legend."""
    value = _value(search, row)
    end = "" if value is None else f": {value:.4g}"
    values = {name: row.get(f"hparam/{name}") for name in search.space}
    if any(f"hparam/{name}" not in row for name in values):  # the setting is a dict, in several columns
        return results_table.tag_of(row).removeprefix(f"{search.tag}+") + end
    short = {name: float(f"{number:.4g}") if isinstance(number, float) else number for name, number in values.items()}
    return space.described(search.space, short) + end


def _curve(search: Search, tag: str) -> history.Curve:
    """Return a trial's curve, the mean of its runs."""
    curves = []
    for run in search.runs(tag):
        points = list(Curve(run, search.metric).more())
        if points:
            curves.append(history.Curve([epoch for epoch, _ in points], [value for _, value in points]))
    if len(curves) == 1:
        return curves[0]
    return groups.mean_curve(curves).curve if curves else history.Curve([], [])
