"""Cancel the SLURM jobs of runs: a queued run leaves the queue, a running one saves and ends.

The command waits until the new status is recorded. The tag of a submitted search means all jobs of the search.

Examples:
    exper cancel baseline/0
    exper cancel baseline          all runs of the tag that have a job
"""

import os
import signal
import time

from exper.core import lock, paths, slurm
from exper.core.arguments import Parser
from exper.core.errors import Refused
from exper.core.messages import say
from exper.runs import jobs, run_record, select, status, tags

_SECONDS = 180


def cancel(arguments: list[str], project: paths.Project) -> int:
    """Cancel the jobs, then wait until their runs have ended."""
    parser = Parser("exper cancel", __doc__)
    parser.add_argument("run", metavar="tag[/id]", help="a run, or a tag for all its runs or its search")
    options = parser.parse_args(arguments)
    reference = tags.parse_reference(options.run)
    searching = [job for job in jobs.of_search(project.tag(reference.tag)) if not jobs.is_over(job)]
    if reference.number is None and searching:
        return _cancel_search(searching)
    runs = [run for run in select.runs(project, reference) if status.read(run) in status.ACTIVE]
    job_of = {run: job for run in runs if (job := run_record.read(run).get("job"))}
    if not job_of:
        raise Refused(f"{reference} has no SLURM job. For its status, type: expels {reference.tag}")
    for job in job_of.values():
        slurm.cancel(job)
    return max(map(_wait, job_of))


def _cancel_search(searching: list[slurm.Job]) -> int:
    for job in searching:
        slurm.cancel(job)
    deadline = time.monotonic() + _SECONDS
    while left := [job for job in searching if not jobs.is_over(job)]:
        if time.monotonic() > deadline:
            what = jobs.describe(left[0])
            return _say_late(what, what, is_known=jobs.state(left[0]) is not None)
        time.sleep(0.2)
        slurm.forget_answers()
    say(f"cancel: {', '.join(map(jobs.describe, searching))} has ended")
    return 0


def _wait(run: paths.Run) -> int:
    """Wait until a run has ended, print its status, and return the exit code."""
    deadline = time.monotonic() + _SECONDS
    while (now := status.read(run)) in status.ACTIVE:
        if time.monotonic() > deadline:
            return _say_late(str(run), _job(run), is_known=now != status.QUEUED[1])
        time.sleep(0.2)
        slurm.forget_answers()
    _record(run)
    say(f"cancel: {run} is {status.read(run)}, {_job(run)} has ended. To continue: exper submit --continue {run}")
    return 0


def _say_late(what: str, job: str, *, is_known: bool) -> int:
    state = f"{what} is still running" if is_known else f"SLURM does not say whether {what} has ended"
    say(f"cancel: {state}, {_SECONDS} s after it was told to end {job}")
    return 1


def _job(run: paths.Run) -> str:
    return jobs.describe(run_record.read(run)["job"])


def _record(run: paths.Run) -> None:
    """Record the interruption of a run whose job never started: no other process can."""
    held = lock.take(run.lock)
    if held is None:
        return
    try:
        record = run_record.read(run)
        if record["status"] == "queued":
            run_record.write(run, run_record.end(record, "interrupted", -signal.SIGTERM))
    finally:
        os.close(held)
