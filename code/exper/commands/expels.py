"""List the runs of a tag, or of a search's trials: status, seed, epoch, best metric, age.

With --json: a list of objects with `run`, `status`, `seed`, `epoch`, `epochs`, `best` (`name`, `value`, `epoch`) and
`started`; what is not known is null.

Examples:
    expels baseline
    expels wide            where `exper search wide` has made trials
"""

from exper.core import paths
from exper.core.arguments import Parser
from exper.runs import select, tags
from exper.statistic import summary


def expels(arguments: list[str], project: paths.Project) -> int:
    """Print a line for each run."""
    parser = Parser("expels", __doc__)
    parser.add_argument("tag", help="the tag whose runs are listed")
    parser.add_argument("--json", action="store_true", help="raw values")
    options = parser.parse_args(arguments)
    reference = tags.parse_reference(options.tag)
    trials = project.trials(reference.tag) if reference.number is None else []
    runs = [run for tag in trials for run in tag.runs()]
    if not runs or project.tag(reference.tag).runs():
        runs = select.runs(project, reference) + runs
    read = [summary.of(run) for run in runs]
    if options.json:
        print(summary.as_json(map(summary.values, read)))
    else:
        print(summary.table([["run", "status", "seed", "epoch", "best", "age"], *map(_row, read)]))
    return 0


def _row(one: summary.Summary) -> list[str]:
    seed = "" if one.seed is None else str(one.seed)
    return [str(one.run), one.status, seed, one.progress, one.best or "", summary.age(one.started)]
