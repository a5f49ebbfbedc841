"""Resume a run: for `continue`, `submit --continue`, and a search that was killed."""

import time
from typing import NamedTuple

from exper.config import config_file
from exper.core import host_info, paths, slurm
from exper.core.errors import Refused
from exper.repository.repository import Repository
from exper.runs import commits, jobs, lifecycle, run_record, select, status, tags

_ENDING_SECONDS = 30
_NODE_SECONDS = 120  # until the heartbeat of a failed node is stale


class Resumed(NamedTuple):
    """A run to train on, and the settings of its commit."""

    live: lifecycle.LiveRun
    config: dict[str, config_file.Value]


def resume_run(
    project: paths.Project,
    repository: Repository,
    run: paths.Run,
    record: run_record.Record,
    command: list[str],
    *,
    exact: bool = False,
    status: str = "running",
) -> Resumed:
    """Return a run that ended before it finished, ready to train from its own commit.

    `record` is the one that the caller read before it looked at the run's status; `status` is the new status:
    "running", or "queued" for a job that is to train it later.

    Raises:
        Refused: its tag is gone or moved, its code can't be trained here, another process works on it, or, with
            `exact`, bits may differ.
    """
    commit = select.commit_of(repository, run, record)
    config = commits.read_config(repository, commit)
    required = commits.requirements(repository, commit)
    different = run_record.different_versions(record.get("versions", {}), required, exact=exact)
    expected = run_record.expected(run, different, exact=exact)
    live = lifecycle.resume(project, run, record, expected, command, repository=repository, status=status)
    return Resumed(live, config)


def choose_run(project: paths.Project, text: str) -> paths.Run:
    """Return the run that `tag/id` names or, for a tag alone, the run started last among those that can be resumed.

    A run that is about to end is waited for. If no run can be resumed, the last one is returned: it has finished.

    Raises:
        Refused: a run is active, or was pruned and only its tag is given.
    """
    reference = tags.parse_reference(text)
    tags.refuse_untagged(reference)
    runs = select.runs(project, reference)
    states = {run: wait_for_end(run) for run in runs}
    resumable = status.UNFINISHED if reference.number is None else (*status.UNFINISHED, "pruned")
    candidates = [run for run in runs if states[run] in resumable] or [
        run for run in runs if states[run] == "queued" and slurm.is_ours(run_record.read(run).get("job"))
    ]
    if candidates:
        return max(candidates, key=lambda run: str(run_record.read(run)["sessions"][-1].get("started")))
    for run in reversed(runs):
        if states[run] in status.ACTIVE:
            raise _active(run, states[run])
    if states[runs[-1]] == "pruned":
        raise Refused(f"{runs[-1]} was pruned by its search. To continue it anyway, type: continue {runs[-1]}")
    return runs[-1]


def _active(run: paths.Run, state: str) -> Refused:
    record = run_record.read(run)
    if state in status.QUEUED:
        return Refused(f"{run} is queued, as {jobs.describe(record['job'])}. To take it out: exper cancel {run}")
    return Refused(f"{run} is {state}, as pid {record.get('pid')} on {record.get('host')}.")


def wait_for_end(run: paths.Run) -> str:
    """Return the run's status; of a run that is ending, or has lost its supervisor, once its training has ended."""
    seconds = _ENDING_SECONDS if slurm.this_job() is None else _NODE_SECONDS
    deadline = time.monotonic() + seconds
    while True:
        now = status.read(run)
        if now not in ("queued", "running") or time.monotonic() > deadline or not _is_about_to_change(run, now):
            return now
        time.sleep(0.1)


def _is_about_to_change(run: paths.Run, now: str) -> bool:
    record = run_record.read(run)
    if now == "queued":  # a job can start before `submit` has written its number down
        return slurm.this_job() is not None and not record.get("job")
    if slurm.is_ours(record.get("job")):  # SLURM has given up the node where it was running
        return True
    is_supervised = host_info.is_alive(record.get("pid"), record.get("pid_started"))
    return host_info.is_here(record) and (status.is_ending(run) or not is_supervised)
