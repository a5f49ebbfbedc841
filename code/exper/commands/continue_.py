"""Go on with a run that was interrupted, failed or died, from its last good checkpoint.

It trains the tag's own code, whatever is checked out now, with the seed and threads it had, and ends with the numbers
of a run that never broke. Without an id: the run started last among those that can go on.

Examples:
    continue baseline
    continue baseline/2 --exact        refuse if versions, device or data are not what they were
"""

import time

from exper import find, life, machine, paths, run_json, same, status, tagged, tags
from exper.arguments import Parser
from exper.error import Refused
from exper.interrupt import Signals
from exper.repository import Repository
from exper.say import say

_ENDING_SECONDS = 30


def continue_(arguments: list[str], project: paths.Project) -> int:
    """Find the run, take it up and train."""
    options = _parser().parse_args(arguments)
    reference = tags.parse_reference(options.run)
    tags.check_kept(reference)
    run = _choose(find.runs(project, reference))
    record = run_json.read(run)
    if _state(run) == "finished":
        life.settle(project, run)  # a kill after the record may have lost the rest of the end
        say(f"continue: {run} has finished already. To train it again, type: rerun {run} -f")
        return 0
    repository = Repository(project.root)
    commit = find.code_of(repository, run, record)
    config = tagged.check(repository, commit)
    needed = tagged.requirements(repository, commit)
    different = same.check_versions(record.get("versions", {}), needed, exact=options.exact)
    expected = same.expect(run, exact=options.exact) | {"different": different}
    with Signals() as signals:
        live = life.resume(project, run, record, expected, ["continue", str(run)], repository=repository)
        return life.carry_out(project, live, signals, config)


def _parser() -> Parser:
    parser = Parser("continue", __doc__)
    parser.add_argument("run", metavar="tag[/id]", help="the run to go on with")
    parser.add_argument("-f", action="store_true", help="accepted: the seed is kept in any case")
    parser.add_argument("--exact", action="store_true", help="refuse if bits may differ")
    return parser


def _choose(runs: list[paths.Run]) -> paths.Run:
    """Return the run started last among those that can go on; one that is just ending is waited for.

    Raises:
        Refused: none can, and one is running.
    """
    states = {run: _state(run) for run in runs}
    able = [run for run in runs if states[run] in status.UNFINISHED]
    if able:
        return max(able, key=lambda run: str(run_json.read(run)["sessions"][-1].get("started")))
    running = [run for run in runs if states[run] not in ("finished", "damaged")]
    if running:
        record = run_json.read(running[-1])
        raise Refused(f"{running[-1]} is {states[running[-1]]}, as pid {record.get('pid')} on {record.get('host')}.")
    return runs[-1]


def _state(run: paths.Run) -> str:
    """Return the run's status; of one that is ending, or whose supervisor is gone, once its training has ended."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while True:
        state = status.read(run)
        if state != "running" or time.monotonic() > deadline:
            return state
        record = run_json.read(run)
        is_supervised = machine.is_alive(record.get("pid"), record.get("pid_started"))
        if not machine.is_here(record) or (is_supervised and not status.is_ending(run)):
            return state
        time.sleep(0.1)
