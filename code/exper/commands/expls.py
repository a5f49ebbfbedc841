"""List the tags that have runs: how many are in which status, the newest one's epoch and best metric, its age.

The trials of a search are one line, with the best of the runs that have finished, and the age of the newest.

With --json: a list of objects, one a tag, those of trials too, with `tag`, `search` (the tag of the search that it is
a trial of, or null), `runs` (how many of each status) and `newest`, a run as of `expels --json`.

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
    parser.add_argument("--json", action="store_true", help="raw values")
    options = parser.parse_args(arguments)
    gc.disable()  # many objects and a short life: it would look through them all again and again, for nothing
    found = ((tag, [summary.of(run) for run in tag.runs()]) for tag in project.tags())
    tags = [(tag, runs) for tag, runs in found if runs]
    if options.json:
        print(summary.as_json(_values(*one) for one in tags))
    elif tags:
        print(summary.table([["tag", "runs", "epoch", "best", "age"], *_rows(tags)]))
    else:
        print("There are no runs yet. Type: run <tag>")
    warn("expls", (f"{project.tag(name).folder} can't be read; left out" for name in project.locked_names()))
    return 0


def _rows(tags: list[Listed]) -> list[list[str]]:
    """Return a line for each tag and each search, whose trials follow its own tag."""
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
    """Return the run that has finished with the best value; None where it is not said what is good."""
    finished = [(_value(one), one) for one in runs if one.status == "finished"]
    known = [(value, one) for value, one in finished if math.isfinite(value)]
    directions = {one.direction for _, one in known}
    if directions not in ({"max"}, {"min"}):
        return None
    choose = max if directions == {"max"} else min
    return choose(known, key=lambda pair: pair[0])[1]


def _value(one: Summary) -> float:
    best = one.measured
    return float(best.value) if best and history.is_number(best.value) else math.nan


def _values(tag: paths.Tag, runs: list[Summary]) -> dict[str, Any]:
    of_newest = summary.values(_newest(runs))
    return {"tag": tag.name, "search": tag.search or None, "runs": _counts(runs), "newest": of_newest}


def _states(runs: list[Summary]) -> str:
    return ", ".join(f"{number} {state}" for state, number in _counts(runs).items())


def _counts(runs: list[Summary]) -> dict[str, int]:
    return dict(Counter(one.status for one in runs).most_common())


def _newest(runs: list[Summary]) -> Summary:
    return max(runs, key=lambda one: (one.started is not None, one.started))
