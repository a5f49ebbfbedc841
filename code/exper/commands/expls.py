"""List the tags that have runs: how many are in which status, the newest one's epoch and best metric, its age.

Example:
    expls
"""

from collections import Counter

from exper import paths, summary
from exper.arguments import Parser


def expls(arguments: list[str], project: paths.Project) -> int:
    """Print a line for each tag."""
    Parser("expls", __doc__).parse_args(arguments)
    rows = [["tag", "runs", "epoch", "best", "age"]]
    rows += [_row(tag.name, [summary.of(run) for run in tag.runs()]) for tag in project.tags() if tag.runs()]
    print(summary.table(rows) if len(rows) > 1 else "There are no runs yet. Type: run <tag>")
    return 0


def _row(tag: str, runs: list[summary.Summary]) -> list[str]:
    counts = Counter(one.status for one in runs)
    newest = max(runs, key=lambda one: (one.started is not None, one.started))
    states = ", ".join(f"{number} {state}" for state, number in counts.most_common())
    return [tag, states, newest.progress, newest.best or "", summary.age(newest.started)]
