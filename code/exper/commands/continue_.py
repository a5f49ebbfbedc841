"""Continue a run that was interrupted, failed or died, from its last good checkpoint.

It trains the tag's own code, whatever is checked out now, with the run's seed and threads, and ends with the numbers of
an uninterrupted run. Without an id, the run started last is continued. A run that a search has pruned is continued
only if its id is given.

Examples:
    continue baseline
    continue baseline/2 --exact        refuse if versions, device or data have changed
"""

from exper.core import paths
from exper.core.arguments import Parser
from exper.core.messages import say
from exper.core.signals import Signals
from exper.repository.repository import Repository
from exper.runs import lifecycle, run_record
from exper.runs.resume import choose_run, resume_run, wait_for_end


def continue_(arguments: list[str], project: paths.Project) -> int:
    """Choose the run, resume it and train it."""
    options = _parser().parse_args(arguments)
    run = choose_run(project, options.run)
    record = run_record.read(run)
    if wait_for_end(run) == "finished":
        lifecycle.finalize(project, run, "finished")  # a kill after the record may have lost the rest of the end
        say(f"continue: {run} has finished already. To train it again, type: rerun {run} -f")
        return 0
    repository = Repository(project.root)
    with Signals() as signals:
        live, config = resume_run(project, repository, run, record, ["continue", str(run)], exact=options.exact)
        return lifecycle.train_and_report(project, live, signals, config)


def _parser() -> Parser:
    parser = Parser("continue", __doc__)
    parser.add_argument("run", metavar="tag[/id]", help="the run to continue")
    parser.add_argument("-f", action="store_true", help="accepted and ignored: the seed is always kept")
    parser.add_argument("--exact", action="store_true", help="refuse if bits may differ")
    return parser
