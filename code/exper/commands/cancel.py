"""Take runs out of SLURM's queue, or end them in their job after they have saved; waits until that is recorded.

Of a search that was submitted, its tag means all its jobs.

Examples:
    exper cancel baseline/0
    exper cancel baseline          all runs of the tag that are in a job
"""

import os
import signal
import time

from exper import find, jobs, lock, paths, run_json, slurm, status, tags
from exper.arguments import Parser
from exper.error import Refused
from exper.say import say

_SECONDS = 180


def cancel(arguments: list[str], project: paths.Project) -> int:
    """Cancel jobs, then wait for the records of their runs."""
    parser = Parser("exper cancel", __doc__)
    parser.add_argument("run", metavar="tag[/id]", help="the run, or all of a tag or a search")
    options = parser.parse_args(arguments)
    reference = tags.parse_reference(options.run)
    searching = [job for job in jobs.of_search(project.tag(reference.tag)) if jobs.is_alive(job)]
    if reference.number is None and searching:
        return _cancel_search(searching)
    runs = [run for run in find.runs(project, reference) if status.read(run) in (*status.QUEUED, "running")]
    found = {run: job for run in runs if (job := run_json.read(run).get("job"))}
    if not found:
        raise Refused(f"no job of SLURM has {reference}. Type: expels {reference.tag}")
    for job in found.values():
        slurm.cancel(job)
    return max(map(_wait, found))


def _cancel_search(searching: list[slurm.Job]) -> int:
    for job in searching:
        slurm.cancel(job)
    deadline = time.monotonic() + _SECONDS
    while any(map(jobs.is_alive, searching)):
        if time.monotonic() > deadline:
            say(f"cancel: {jobs.described(searching[0])} still runs, {_SECONDS} s after SLURM was told to end it")
            return 1
        time.sleep(0.2)
        slurm.forget_answers()
    say(f"cancel: {', '.join(map(jobs.described, searching))} has ended")
    return 0


def _wait(run: paths.Run) -> int:
    """Wait until a run is over, tell how, and return the exit code."""
    deadline = time.monotonic() + _SECONDS
    while status.read(run) in (*status.QUEUED, "running"):
        if time.monotonic() > deadline:
            say(f"cancel: {run} still runs, {_SECONDS} s after SLURM was told to end {_job(run)}")
            return 1
        time.sleep(0.2)
        slurm.forget_answers()
    _record(run)
    say(f"cancel: {run} is {status.read(run)}, {_job(run)} has ended. To go on: exper submit --continue {run}")
    return 0


def _job(run: paths.Run) -> str:
    return jobs.described(run_json.read(run)["job"])


def _record(run: paths.Run) -> None:
    """Record what nobody else can: that a run was interrupted before its job had begun."""
    held = lock.take(run.lock)
    if held is None:
        return
    try:
        record = run_json.read(run)
        if record["status"] == "queued":
            run_json.write(run, run_json.end(record, "interrupted", -signal.SIGTERM))
    finally:
        os.close(held)
