"""Go on with a run that was interrupted, failed or died, from its last good checkpoint.

It trains the tag's own code, whatever is checked out now, with the seed and threads it had, and ends with the numbers
of a run that never broke. Without an id: the run started last among those that can go on; one that a search has
pruned goes on if its id is given.

Examples:
    continue baseline
    continue baseline/2 --exact        refuse if versions, device or data are not what they were
"""

from exper.core import paths, slurm
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import say
from exper.core.signals import Signals
from exper.repository.repository import Repository
from exper.runs import jobs, lifecycle, run_record, select, status, tags
from exper.runs.resume import state, take_up


def continue_(arguments: list[str], project: paths.Project) -> int:
    """Find the run, take it up and train."""
    options = _parser().parse_args(arguments)
    reference = tags.parse_reference(options.run)
    tags.refuse_untagged(reference)
    run = choose(select.runs(project, reference), is_named=reference.number is not None)
    record = run_record.read(run)
    if state(run) == "finished":
        lifecycle.settle(project, run, "finished")  # a kill after the record may have lost the rest of the end
        say(f"continue: {run} has finished already. To train it again, type: rerun {run} -f")
        return 0
    repository = Repository(project.root)
    with Signals() as signals:
        live, config = take_up(project, repository, run, record, ["continue", str(run)], exact=options.exact)
        return lifecycle.carry_out(project, live, signals, config)


def _parser() -> Parser:
    parser = Parser("continue", __doc__)
    parser.add_argument("run", metavar="tag[/id]", help="the run to go on with")
    parser.add_argument("-f", action="store_true", help="accepted: the seed is kept in any case")
    parser.add_argument("--exact", action="store_true", help="refuse if bits may differ")
    return parser


def choose(runs: list[paths.Run], *, is_named: bool) -> paths.Run:
    """Return the run started last among those that can go on; one that is just ending is waited for.

    Raises:
        Refused: none can, and one is running, or was pruned and is not named.
    """
    states = {run: state(run) for run in runs}
    able = [run for run in runs if states[run] in status.UNFINISHED or (is_named and states[run] == "pruned")]
    able = able or [run for run in runs if states[run] == "queued" and slurm.is_ours(run_record.read(run).get("job"))]
    if able:
        return max(able, key=lambda run: str(run_record.read(run)["sessions"][-1].get("started")))
    running = [run for run in runs if states[run] not in (*status.OVER, "damaged")]
    if running:
        record = run_record.read(running[-1])
        if states[running[-1]] in status.QUEUED:
            where = jobs.described(record["job"])
            raise Refused(f"{running[-1]} is queued, as {where}. To take it out: exper cancel {running[-1]}")
        raise Refused(f"{running[-1]} is {states[running[-1]]}, as pid {record.get('pid')} on {record.get('host')}.")
    if states[runs[-1]] == "pruned":
        raise Refused(f"{runs[-1]} was pruned by its search. To go on with it all the same: continue {runs[-1]}")
    return runs[-1]
