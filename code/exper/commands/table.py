"""Make the table of a list, `__statistic__/table/<list>.csv`, with all columns and digits; a terminal shows a part.

Each run has a row: run, status, epoch, hparam/<setting> and, if it has finished, metric/{best,last,test}/<name>. A
title (see `title -h`) chooses the columns, their order and headers. To name a column, type its name with or without the
first part, or its header: hparam/optimizer.lr, optimizer.lr.

The row of a group has the numbers of its runs and of the finished ones, the settings that they share and, for each
metric of the finished runs, n, mean, std and ci95: the 95 % interval is mean ± ci95 (Student's t).

A cell holds the value as you would type it after `name=`: None, True, [1, 2], and a string in quotes if it would read
as another value; inf, -inf and nan are written so, too. --json has raw numbers, but "nan", "inf" and "-inf" as strings;
it leaves out missing values.

Examples:
    table                              the list record
    table finished --sort metric/best/val/acc --varying
    table width --group tag --format latex
    table path/to/list.txt --json      to stdout; no file is written
"""

import gc
import sys

from exper.core import files, paths
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import warn
from exper.runs import lists, select
from exper.statistic import cells, rows, summary, tables, titles


def table(arguments: list[str], project: paths.Project) -> int:
    """Read the runs, arrange the columns and rows, write the file and show it."""
    options = _parser().parse_args(arguments)
    if options.ascending and not options.sort:
        raise Refused("--ascending needs --sort <column>.")
    listed = lists.find(project, options.list)
    title = titles.read(project.title_file(listed.stem))
    runs, missing = select.in_list(project, listed)
    gc.disable()  # many objects that all stay alive: each collection would scan them in vain
    read = rows.read_all(runs)
    made = tables.of([row for row, _ in read], title)
    if options.varying:
        made = tables.varying(made)
    if options.group:
        made = tables.grouped(made, options.group)
    if options.sort:
        made = tables.ordered(made, options.sort, is_ascending=options.ascending)
    if options.json:
        print(summary.as_json({name: row[name] for name in made.headers if name in row} for row in made.rows))
    else:
        _write(project, listed.stem, made, options.format)
    return int(warn("table", [*lists.unknown_runs(listed, missing), *(problem for _, problem in read if problem)]))


def _parser() -> Parser:
    parser = Parser("table", __doc__)
    parser.add_argument("list", nargs="?", default=lists.RECORD, help="a list or the path of one; default: record")
    parser.add_argument("--sort", metavar="column", help="the highest value first; runs without a value last")
    parser.add_argument("--ascending", action="store_true", help="with --sort: the lowest value first")
    parser.add_argument("--varying", action="store_true", help="leave out columns that are the same for all runs")
    parser.add_argument("--group", metavar="column", help="a row for each tag, or each value of a setting")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--format", choices=list(cells.FORMATS), default="csv", help="of the file; default: csv")
    output.add_argument("--json", action="store_true", help="print the rows as JSON instead")
    return parser


def _write(project: paths.Project, name: str, made: tables.Table, form: str) -> None:
    """Write the file and show the table."""
    ending, write = cells.FORMATS[form]
    path = project.table_file(name, ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, write(made.lines()).encode(errors="backslashreplace"))
    print(tables.shown(made))
    size = f"{_count(len(made.rows), 'row')}, {_count(len(made.headers), 'column')}"
    print(f"table: {size} in {paths.from_here(path)}", file=sys.stderr)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
