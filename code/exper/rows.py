"""A run as a row: its status, settings and results, under the names of a table's columns."""

from collections.abc import Iterable
from typing import Any

from exper import files, paths, run_json, status
from exper.error import Refused

Row = dict[str, Any]
FIRST = ("run", "status", "epoch")
KINDS = ("best", "last", "test")


def of(run: paths.Run) -> Row:
    """Return `run`, `status`, `epoch`, `hparam/<setting>` and, of a finished run, `metric/{best,last,test}/<name>`.

    What can't be read is left out; then the status is "damaged".
    """
    row: Row = {"run": str(run), "status": "damaged", "epoch": None}
    try:
        state = status.of(run, run_json.read(run))
        statistic = files.read_json(run.statistic)
    except FileNotFoundError:
        return row | {"status": state}  # it had nothing to say yet, or is a stranger's
    except Refused:
        return row
    metric = section(statistic, "metric")
    row |= {"status": state, "epoch": section(metric, "last").get("epoch")}
    row |= {f"hparam/{name}": value for name, value in section(statistic, "hparam").items()}
    if state == "finished":
        for kind in KINDS:
            row |= {f"metric/{kind}/{name}": value for name, value in section(metric, kind).items()}
    return row


def columns(rows: Iterable[Row]) -> list[str]:
    """Return the names of all columns: the fixed ones, settings, then metrics, each group in the order of the runs."""
    names = dict.fromkeys(name for row in rows for name in row)
    groups = {start: [name for name in names if name.startswith(start)] for start in ("hparam/", "metric/")}
    return [*FIRST, *groups["hparam/"], *groups["metric/"]]


def section(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a part of statistic.json; a stranger's main.py may write there what it likes."""
    found = content.get(name)
    return found if isinstance(found, dict) else {}
