"""List the runs of a tag: status, seed, epoch, best metric, age.

With --json: a list of objects with `run`, `status`, `seed`, `epoch`, `epochs`, `best` (`name`, `value`, `epoch`) and
`started`; what is not known is null.

Example:
    expels baseline
"""

from exper import find, paths, summary, tags
from exper.arguments import Parser


def expels(arguments: list[str], project: paths.Project) -> int:
    """Print a line for each run."""
    parser = Parser("expels", __doc__)
    parser.add_argument("tag", help="the tag whose runs are listed")
    parser.add_argument("--json", action="store_true", help="raw values")
    options = parser.parse_args(arguments)
    runs = [summary.of(run) for run in find.runs(project, tags.parse_reference(options.tag))]
    if options.json:
        print(summary.as_json(map(summary.values, runs)))
    else:
        print(summary.table([["run", "status", "seed", "epoch", "best", "age"], *map(_row, runs)]))
    return 0


def _row(one: summary.Summary) -> list[str]:
    seed = "" if one.seed is None else str(one.seed)
    return [str(one.run), one.status, seed, one.progress, one.best or "", summary.age(one.started)]
