"""Take up a run where it was left: `continue`, and a search that was killed."""

import time

from exper import find, life, machine, paths, run_json, same, settings, status, tagged
from exper.repository import Repository

_ENDING_SECONDS = 30


def take_up(
    project: paths.Project,
    repository: Repository,
    run: paths.Run,
    record: run_json.Record,
    command: list[str],
    *,
    exact: bool = False,
) -> tuple[life.Live, dict[str, settings.Value]]:
    """Return a run that has ended before it finished, ready to train from its own commit, and its settings.

    `record` is as the caller read it before it looked at the run's state.

    Raises:
        Refused: its tag is gone or moved, its code can't be trained here, somebody works on it, or, with `exact`,
            bits may differ.
    """
    commit = find.code_of(repository, run, record)
    config = tagged.check(repository, commit)
    needed = tagged.requirements(repository, commit)
    different = same.check_versions(record.get("versions", {}), needed, exact=exact)
    expected = same.expect(run, exact=exact) | {"different": different}
    return life.resume(project, run, record, expected, command, repository=repository), config


def state(run: paths.Run) -> str:
    """Return the run's status; of one that is ending, or whose supervisor is gone, once its training has ended."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while True:
        now = status.read(run)
        if now != "running" or time.monotonic() > deadline:
            return now
        record = run_json.read(run)
        is_supervised = machine.is_alive(record.get("pid"), record.get("pid_started"))
        if not machine.is_here(record) or (is_supervised and not status.is_ending(run)):
            return now
        time.sleep(0.1)
