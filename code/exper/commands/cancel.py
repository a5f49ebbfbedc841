"""Take runs out of SLURM's queue, or end them in their job after they have saved; waits until that is recorded.

Of a search that was submitted, its tag means all its jobs.

Examples:
    exper cancel baseline/0
    exper cancel baseline          all runs of the tag that are in a job
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
    """Cancel jobs, then wait for the records of their runs."""
    parser = Parser("exper cancel", __doc__)
    parser.add_argument("run", metavar="tag[/id]", help="the run, or all of a tag or a search")
    options = parser.parse_args(arguments)
    reference = tags.parse_reference(options.run)
    searching = [job for job in jobs.of_search(project.tag(reference.tag)) if not jobs.is_over(job)]
    if reference.number is None and searching:
        return _cancel_search(searching)
    runs = [run for run in select.runs(project, reference) if status.read(run) in (*status.QUEUED, "running")]
    found = {run: job for run in runs if (job := run_record.read(run).get("job"))}
    if not found:
        raise Refused(f"no job of SLURM has {reference}. Type: expels {reference.tag}")
    for job in found.values():
        slurm.cancel(job)
    return max(map(_wait, found))


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
    """Wait until a run is over, tell how, and return the exit code."""
    deadline = time.monotonic() + _SECONDS
    while (now := status.read(run)) in (*status.QUEUED, "running"):
        if time.monotonic() > deadline:
            return _say_late(str(run), _job(run), is_known=now != status.QUEUED[1])
        time.sleep(0.2)
        slurm.forget_answers()
    _record(run)
    say(f"cancel: {run} is {status.read(run)}, {_job(run)} has ended. To go on: exper submit --continue {run}")
    return 0


def _say_late(what: str, job: str, *, is_known: bool) -> int:
    how = f"{what} still runs" if is_known else f"SLURM does not answer whether {what} is over"
    say(f"cancel: {how}, {_SECONDS} s after it was told to end {job}")
    return 1


def _job(run: paths.Run) -> str:
    return jobs.describe(run_record.read(run)["job"])


def _record(run: paths.Run) -> None:
    """Record what nobody else can: that a run was interrupted before its job had begun."""
    held = lock.take(run.lock)
    if held is None:
        return
    try:
        record = run_record.read(run)
        if record["status"] == "queued":
            run_record.write(run, run_record.end(record, "interrupted", -signal.SIGTERM))
    finally:
        os.close(held)
