"""List the tags that have runs: the number of runs by status, and the newest run's epoch, best metric and age.

The trials of a search share one line, with the best metric of the finished runs and the age of the newest run.

With --json: a list with an object for each tag, also for those of trials: `tag`, `search` (the tag of the search that
the trial belongs to, or null), `runs` (the number by status) and `newest` (a run as in `expels --json`).

Example:
    expls
"""

import gc
import math
from collections import Counter
from typing import Any

from exper.core import paths
from exper.core.arguments import Parser
from exper.core.messages import warn
from exper.statistic import history, summary
from exper.statistic.summary import Summary

Listed = tuple[paths.Tag, list[Summary]]


def expls(arguments: list[str], project: paths.Project) -> int:
    """Print a line for each tag and each search."""
    parser = Parser("expls", __doc__)
    parser.add_argument("--json", action="store_true", help="print raw values as JSON")
    options = parser.parse_args(arguments)
    gc.disable()  # many objects that all stay alive: each collection would scan them in vain
    summaries = ((tag, [summary.of(run) for run in tag.runs()]) for tag in project.tags())
    tags = [(tag, runs) for tag, runs in summaries if runs]
    if options.json:
        print(summary.as_json(_values(tag, runs) for tag, runs in tags))
    elif tags:
        print(summary.table([["tag", "runs", "epoch", "best", "age"], *_rows(tags)]))
    else:
        print("There are no runs yet. Type: run <tag>")
    warn("expls", (f"{project.tag(name).folder} can't be read; left out" for name in project.locked_names()))
    return 0


def _rows(tags: list[Listed]) -> list[list[str]]:
    """Return a line for each tag and each search; the line of the trials follows that of the search's own tag."""
    trials: dict[str, list[Listed]] = {}
    for tag, runs in tags:
        trials.setdefault(tag.search, []).append((tag, runs))
    lines = [(tag.name, 0, _row(tag.name, runs)) for tag, runs in trials.pop("", [])]
    lines += [(search, 1, _of_search(search, listed)) for search, listed in trials.items()]
    return [line for *_, line in sorted(lines)]


def _row(tag: str, runs: list[Summary]) -> list[str]:
    newest = _newest(runs)
    return [tag, _states(runs), newest.progress, newest.best or "", summary.age(newest.started)]


def _of_search(search: str, trials: list[Listed]) -> list[str]:
    runs = [run for _, of_trial in trials for run in of_trial]
    count = f"{len(trials)} trial{'s' * (len(trials) > 1)}"
    if len(runs) > len(trials):
        count += f", {len(runs)} runs"
    best = _best(runs)
    return [
        f"{search}+*",
        f"{count}: {_states(runs)}",
        "",
        (best and best.best) or "",
        summary.age(_newest(runs).started),
    ]


def _best(runs: list[Summary]) -> Summary | None:
    """Return the finished run with the best value; None if the runs do not agree on a direction."""
    finished = [run for run in runs if run.status == "finished" and math.isfinite(_value(run))]
    directions = {run.direction for run in finished}
    if directions not in ({"max"}, {"min"}):
        return None
    return (max if directions == {"max"} else min)(finished, key=_value)


def _value(run: Summary) -> float:
    best = run.measured
    return float(best.value) if best and history.is_number(best.value) else math.nan


def _values(tag: paths.Tag, runs: list[Summary]) -> dict[str, Any]:
    of_newest = summary.values(_newest(runs))
    return {"tag": tag.name, "search": tag.search or None, "runs": _counts(runs), "newest": of_newest}


def _states(runs: list[Summary]) -> str:
    return ", ".join(f"{number} {state}" for state, number in _counts(runs).items())


def _counts(runs: list[Summary]) -> dict[str, int]:
    return dict(Counter(run.status for run in runs).most_common())


def _newest(runs: list[Summary]) -> Summary:
    return max(runs, key=lambda run: (run.started is not None, run.started))
