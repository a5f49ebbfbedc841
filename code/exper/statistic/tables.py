"""A table: its columns with their order and headers, and its rows; sorted, grouped, or cut to a terminal."""

import itertools
import math
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from exper.core.errors import Refused, did_you_mean
from exper.statistic import cells, groups, summary
from exper.statistic import rows as run_rows
from exper.statistic.rows import FIRST, Row
from exper.statistic.titles import Title

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Table:
    """The headers by column, in order, and the rows; a row may lack columns and have others."""

    headers: dict[str, str]
    rows: list[Row]

    def column(self, word: str) -> str:
        """Return the column that a word means: its name, that without `hparam/` or `metric/`, or its header.

        Raises:
            Refused: there is none; the error names the nearest.
        """
        columns = dict.fromkeys([*self.headers, *run_rows.columns(self.rows)])
        for name in (word, f"hparam/{word}", f"metric/{word}", f"{word}/mean", f"metric/{word}/mean"):
            if name in columns:
                return name
        for name, header in self.headers.items():
            if header in (word, f"{word}/mean"):
                return name
        hint = did_you_mean(word, columns) or f" There are: {', '.join(columns)}."
        raise Refused(f"there is no column {word!r}.{hint}")

    def lines(self, write: Callable[[Any], str] = cells.text) -> list[list[str]]:
        """Return the headers, then the cells of each row; `write` turns a value into a cell."""
        names = list(self.headers)
        missing = itertools.repeat(cells.MISSING)
        return [list(self.headers.values()), *(list(map(write, map(row.get, names, missing))) for row in self.rows)]


def of(rows: list[Row], title: Title | None) -> Table:
    """Return the table of rows, with the columns of its title, or all columns if it has none."""
    rows = [row if row["epoch"] is not None else {name: row[name] for name in row if name != "epoch"} for row in rows]
    if title is None:
        return Table({name: name for name in run_rows.columns(rows)}, rows)
    return Table({name: name for name in FIRST} | title.columns(), rows)


def ordered(table: Table, word: str, *, is_ascending: bool) -> Table:
    """Return the table sorted by a column; rows without a value come last, equal rows keep their order."""
    name = table.column(word)
    with_value = [row for row in table.rows if _has_value(row.get(name))]
    without = [row for row in table.rows if not _has_value(row.get(name))]
    with_value.sort(key=lambda row: _order(row[name]), reverse=not is_ascending)
    return replace(table, rows=with_value + without)


def _has_value(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _order(value: Any) -> tuple[bool, Any]:
    """Return the sort key of a value: numbers come before text, and `t/10` after `t/9`."""
    if isinstance(value, (int, float)):
        return False, value
    return True, [int(piece) if at % 2 else piece for at, piece in enumerate(_DIGITS.split(str(value)))]


def grouped(table: Table, word: str) -> Table:
    """Return a table with a row for each value of a setting, or each tag."""
    key = word if word == "tag" else table.column(word)
    if key != "tag" and not key.startswith("hparam/"):
        raise Refused(f"runs are grouped by tag or by a setting, and {word!r} is none.")
    rows = groups.grouped(table.rows, key)
    present = set(run_rows.columns(rows))
    headers = {key: table.headers.get(key, key)} | {name: name for name in groups.FIRST}
    for name, header in table.headers.items():
        if name.startswith("metric/"):
            headers |= {f"{name}/{measure}": f"{header}/{measure}" for measure in groups.OF_METRIC}
        elif name in present and name.startswith("hparam/"):
            headers.setdefault(name, header)
    return Table(headers, rows)


def varying(table: Table) -> Table:
    """Return the table without the columns that have the same cell in all rows, except those of FIRST."""
    columns = zip(table.headers, *table.lines()[1:], strict=True)
    kept = {name for name, *texts in columns if name in FIRST or len(set(texts)) > 1}
    return replace(table, headers={name: header for name, header in table.headers.items() if name in kept})


def narrow(table: Table, width: int) -> Table:
    """Return the table without the columns that begin beyond a width however short their cells are."""
    begins = itertools.accumulate((len(header) + 2 for header in table.headers.values()), initial=0)
    kept = (pair for pair, begin in zip(table.headers.items(), begins, strict=False) if begin <= width)
    return replace(table, headers=dict(kept))


def shown(table: Table) -> str:
    """Return the table as text: on a terminal with short numbers and as many columns as fit, else whole."""
    if not sys.stdout.isatty():
        return summary.table(table.lines())
    width = shutil.get_terminal_size().columns
    return summary.table(narrow(table, width).lines(cells.rounded), width)
