"""List the tags that have runs: how many are in which status, the newest one's epoch and best metric, its age.

With --json: a list of objects with `tag`, `runs` (how many of each status) and `newest`, a run as of `expels --json`.

Example:
    expls
"""

from collections import Counter
from typing import Any

from exper import paths, summary
from exper.arguments import Parser
from exper.summary import Summary


def expls(arguments: list[str], project: paths.Project) -> int:
    """Print a line for each tag."""
    parser = Parser("expls", __doc__)
    parser.add_argument("--json", action="store_true", help="raw values")
    options = parser.parse_args(arguments)
    found = ((tag.name, [summary.of(run) for run in tag.runs()]) for tag in project.tags())
    tags = [(name, runs) for name, runs in found if runs]
    if options.json:
        print(summary.as_json(_values(*tag) for tag in tags))
    elif tags:
        print(summary.table([["tag", "runs", "epoch", "best", "age"], *(_row(*tag) for tag in tags)]))
    else:
        print("There are no runs yet. Type: run <tag>")
    return 0


def _row(tag: str, runs: list[Summary]) -> list[str]:
    states = ", ".join(f"{number} {state}" for state, number in _counts(runs).items())
    newest = _newest(runs)
    return [tag, states, newest.progress, newest.best or "", summary.age(newest.started)]


def _values(tag: str, runs: list[Summary]) -> dict[str, Any]:
    return {"tag": tag, "runs": _counts(runs), "newest": summary.values(_newest(runs))}


def _counts(runs: list[Summary]) -> dict[str, int]:
    return dict(Counter(one.status for one in runs).most_common())


def _newest(runs: list[Summary]) -> Summary:
    return max(runs, key=lambda one: (one.started is not None, one.started))
