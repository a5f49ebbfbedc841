"""List the runs of a tag: status, seed, one.progress, best metric, age.

Example:
    expels baseline
"""

from exper import find, paths, summary, tags
from exper.arguments import Parser


def expels(arguments: list[str], project: paths.Project) -> int:
    """Print a line for each run."""
    parser = Parser("expels", __doc__)
    parser.add_argument("tag", help="the tag whose runs are listed")
    options = parser.parse_args(arguments)
    rows = [["run", "status", "seed", "epoch", "best", "age"]]
    rows += [_row(summary.of(run)) for run in find.runs(project, tags.parse_reference(options.tag))]
    print(summary.table(rows))
    return 0


def _row(one: summary.Summary) -> list[str]:
    seed = "" if one.seed is None else str(one.seed)
    return [str(one.run), one.status, seed, one.progress, one.best or "", summary.age(one.started)]
