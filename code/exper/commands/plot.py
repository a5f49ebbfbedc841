"""Draw the curves of runs into one picture; without a name, those of the list `record`.

Each metric has a panel, in which train/loss (thin) and val/loss (bold) are together. --group draws the mean of the runs
that have the same tag, or the same value of a setting. A bold mean has its 95 % interval (t distribution, over the runs
that have the epoch); n is the number of runs.

Examples:
    exper plot                                  the list `record`, to __statistic__/plot/record.png
    exper plot base wide/0 'lr*'                a tag for all its runs, a run, a glob
    exper plot mylist --group tag               mean and interval over the seeds of each tag
    exper plot base --metric val/acc --metric loss -o figure.pdf
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

from exper.core import files, paths
from exper.core.arguments import Parser, output_file
from exper.core.errors import Refused, unknown_name
from exper.core.messages import count, printable, warn
from exper.runs import select
from exper.statistic import cells, groups, history, rows
from exper.statistic.history import Curve
from exper.views import plotting
from exper.views.plotting import Series, Style

Curves = dict[str, Curve]
_MOST_NAMED = 100  # lines, in the legend


def plot(arguments: list[str], project: paths.Project) -> int:
    """Draw the curves and print the path of the picture."""
    options = _parser().parse_args(arguments)
    words = select.words_or_record(project, options.runs)
    path = _path(project, words, options.output, options.format)
    runs, missing = select.resolve(project, words)
    curves_of, skipped = _read(runs)
    skipped += missing
    metrics = _metrics(curves_of, options.metric)
    drawn = {run: curves for run, curves in curves_of.items() if curves.keys() & set(metrics)}
    skipped += [f"{run} has none of these metrics; skipped" for run in curves_of if run not in drawn]
    look = _by_group(drawn, metrics, options.group) if options.group else _by_run(drawn, metrics)
    content = plotting.draw(*look, kind=path.suffix[1:].lower(), log=options.log)
    _write(path, content)
    print(printable(f"{paths.from_here(path)}: {count(len(drawn), 'run')}, {', '.join(metrics)}"))
    return int(warn("plot", skipped))


def _parser() -> Parser:
    parser = Parser("plot", __doc__)
    parser.add_argument("runs", nargs="*", metavar="list|run", help="a list, a tag, tag/id or a glob of these")
    parser.add_argument("--metric", action="append", default=[], help="val/acc, or acc for training's too; repeatable")
    parser.add_argument("--group", metavar="tag|setting", help="draw the mean of the runs that share it")
    parser.add_argument("--log", action="store_true", help="logarithmic y, where all values are above 0")
    parser.add_argument("-o", "--output", metavar="file", help="the picture: .png, .svg or .pdf")
    parser.add_argument("--format", choices=plotting.KINDS, help="the format in __statistic__/plot; default: png")
    return parser


def _path(project: paths.Project, words: list[str], output: str | None, kind: str | None) -> Path:
    if output is None:
        return project.plot_file(select.file_name(project, words), kind or "png")
    return output_file(output, *(f".{ending}" for ending in ([kind] if kind else plotting.KINDS)))


def _write(path: Path, content: bytes) -> None:
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
        files.replace(path, content)
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror or error}.") from None


def _read(runs: Iterable[paths.Run]) -> tuple[dict[paths.Run, Curves], list[str]]:
    """Return the curves of the runs that have some, and a line for each of the others."""
    curves_of: dict[paths.Run, Curves] = {}
    skipped = []
    for run in runs:
        try:
            curves = history.curves(run)
        except Refused as error:
            skipped.append(f"{error}; skipped")
        except OSError as error:
            skipped.append(f"{run.history} can't be read: {error.strerror}; skipped")
        else:
            if curves:
                curves_of[run] = curves
            else:
                skipped.append(f"{run} has no metrics yet; skipped")
    return curves_of, skipped


def _metrics(curves_of: dict[paths.Run, Curves], chosen: list[str]) -> list[str]:
    """Return the metrics to draw; by default all except those of steps, unless there are no others."""
    names = list(dict.fromkeys(name for curves in curves_of.values() for name in curves))
    if not names:
        raise Refused("none of these runs has metrics in its history.jsonl. Name others; `expls` lists tags.")
    if not chosen:
        return [name for name in names if not name.startswith("step/")] or names
    metrics = []
    for word in chosen:
        matching = [name for name in names if word in (name, plotting.family(name))]
        if not matching:
            raise unknown_name("--metric", word, names)
        metrics += matching
    return list(dict.fromkeys(metrics))


def _by_run(curves_of: dict[paths.Run, Curves], metrics: list[str]) -> tuple[list[Series], dict[str, Style]]:
    """Return a line for each run and metric, and the legend."""
    legend = {str(run): plotting.style(number) for number, run in enumerate(curves_of)}
    faint = _faint(metrics)
    series = [
        Series(name, curves[name], legend[str(run)] | faint.get(name, {}))
        for run, curves in curves_of.items() for name in metrics if name in curves
    ]  # fmt: skip
    return series, _named(legend) | _key(metrics)


def _by_group(
    curves_of: dict[paths.Run, Curves], metrics: list[str], setting: str
) -> tuple[list[Series], dict[str, Style]]:
    """Return a mean with its interval for each group and metric, and the legend."""
    by_value: dict[str, list[Curves]] = {}
    for run, value in _values(list(curves_of), setting).items():
        by_value.setdefault(value, []).append(curves_of[run])
    legend = {}
    series = []
    faint = _faint(metrics)
    for number, (value, members) in enumerate(by_value.items()):
        look = legend[f"{value} (n={len(members)})"] = plotting.style(number)
        for name in metrics:
            curves = [member[name] for member in members if name in member]
            if curves:
                mean = groups.mean_curve(curves)
                band = None if name in faint else (mean.low, mean.high)
                series.append(Series(name, mean.curve, look | faint.get(name, {}), band))
    return series, _named(legend) | _key(metrics)


def _named(legend: dict[str, Style]) -> dict[str, Style]:
    """Return the first entries of a legend: to arrange thousands of names takes minutes."""
    more = len(legend) - _MOST_NAMED
    rest: dict[str, Style] = {f"{more:,} more": {"linestyle": ""}} if more > 0 else {}
    return dict(itertools.islice(legend.items(), _MOST_NAMED)) | rest


def _values(runs: list[paths.Run], setting: str) -> dict[paths.Run, str]:
    """Return the group of each run."""
    if setting == "tag":
        return {run: run.tag for run in runs}
    name = setting.removeprefix("hparam/")
    read = {run: rows.of(run) for run in runs}
    names = {column.removeprefix("hparam/") for row in read.values() for column in row if column.startswith("hparam/")}
    if name not in names:
        raise unknown_name("--group", name, ["tag", *names])
    return {run: _value(row, name) for run, row in read.items()}


def _value(row: rows.Row, name: str) -> str:
    """Return a setting of a row as text; different values have different texts."""
    column = f"hparam/{name}"
    return f"{name}={cells.text(row[column])}" if column in row else f"no {name}"


def _faint(metrics: list[str]) -> dict[str, Style]:
    """Return the look of the metrics of training that share a panel with another."""
    return {name: plotting.FAINT for name in _shared(metrics) if plotting.split(name) == "train"}


def _key(metrics: list[str]) -> dict[str, Style]:
    """Return the legend's entries for thin and bold lines."""
    grey: Style = {"color": "#555555"}
    splits = dict.fromkeys(plotting.split(name) for name in _shared(metrics))
    bold = {f"{word} (bold)": grey | {"linewidth": 1.8} for word in splits if word != "train"}
    return {"train (thin)": grey | plotting.FAINT} | bold if bold else {}


def _shared(metrics: list[str]) -> list[str]:
    return [name for panel in plotting.panels(metrics) if len(panel.metrics) > 1 for name in panel.metrics]
