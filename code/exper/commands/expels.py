"""List the runs of a tag, or of the trials of a search: status, seed, epoch, best metric, age.

With --json: a list of objects with `run`, `status`, `seed`, `epoch`, `epochs`, `best` (`name`, `value`, `epoch`) and
`started`; a missing value is null.

Examples:
    expels baseline
    expels wide            the trials of `exper search wide`
"""

from exper.core import paths
from exper.core.arguments import Parser
from exper.runs import select, tags
from exper.statistic import summary


def expels(arguments: list[str], project: paths.Project) -> int:
    """Print a line for each run."""
    parser = Parser("expels", __doc__)
    parser.add_argument("tag", help="the tag whose runs are listed")
    parser.add_argument("--json", action="store_true", help="print raw values as JSON")
    options = parser.parse_args(arguments)
    reference = tags.parse_reference(options.tag)
    trials = project.trials(reference.tag) if reference.number is None else []
    runs = [run for tag in trials for run in tag.runs()]
    if not runs or project.tag(reference.tag).runs():
        runs = select.runs(project, reference) + runs
    summaries = [summary.of(run) for run in runs]
    if options.json:
        print(summary.as_json(map(summary.values, summaries)))
    else:
        print(summary.table([["run", "status", "seed", "epoch", "best", "age"], *map(_row, summaries)]))
    return 0


def _row(run: summary.Summary) -> list[str]:
    seed = "" if run.seed is None else str(run.seed)
    return [str(run.run), run.status, seed, run.progress, run.best or "", summary.age(run.started)]
