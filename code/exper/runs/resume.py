"""Take up a run where it was left: `continue`, and a search that was killed."""

import time

from exper.config import config_file
from exper.core import host_info, paths, slurm
from exper.repository.repository import Repository
from exper.runs import commits, lifecycle, run_record, select, status

_ENDING_SECONDS = 30
_NODE_SECONDS = 120  # until the heartbeat of a node that has failed is old


def take_up(
    project: paths.Project,
    repository: Repository,
    run: paths.Run,
    record: run_record.Record,
    command: list[str],
    *,
    exact: bool = False,
    as_: str = "running",
) -> tuple[lifecycle.Live, dict[str, config_file.Value]]:
    """Return a run that has ended before it finished, ready to train from its own commit, and its settings.

    `record` is as the caller read it before it looked at the run's state; `as_` is its new status: "running", or
    "queued" for a job that is to train it later.

    Raises:
        Refused: its tag is gone or moved, its code can't be trained here, somebody works on it, or, with `exact`,
            bits may differ.
    """
    commit = select.code_of(repository, run, record)
    config = commits.read_config(repository, commit)
    needed = commits.requirements(repository, commit)
    different = run_record.different_versions(record.get("versions", {}), needed, exact=exact)
    expected = run_record.expected(run, different, exact=exact)
    live = lifecycle.resume(project, run, record, expected, command, repository=repository, status=as_)
    return live, config


def state(run: paths.Run) -> str:
    """Return the run's status; of one that is ending, or whose supervisor is gone, once its training has ended."""
    seconds = _ENDING_SECONDS if slurm.this_job() is None else _NODE_SECONDS
    deadline = time.monotonic() + seconds
    while True:
        now = status.read(run)
        if now not in ("queued", "running") or time.monotonic() > deadline or not _is_about_to_change(run, now):
            return now
        time.sleep(0.1)


def _is_about_to_change(run: paths.Run, now: str) -> bool:
    record = run_record.read(run)
    if now == "queued":  # a job can start before `submit` has written down which one it is
        return slurm.this_job() is not None and not record.get("job")
    if slurm.is_ours(record.get("job")):  # SLURM has given up the node where it was running
        return True
    is_supervised = host_info.is_alive(record.get("pid"), record.get("pid_started"))
    return host_info.is_here(record) and (status.is_ending(run) or not is_supervised)
