"""The life of a run: created whole by one rename or resumed, trained, and ended in a fixed order."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exper.core import files, lock, paths, slurm
from exper.core.errors import Refused
from exper.core.messages import say
from exper.core.signals import STOPPING, Interrupted, Signals
from exper.repository.repository import Repository
from exper.runs import board, ids, lists, remove, run_record, snapshot, staging, status, supervisor


class Busy(Refused):
    """Another process has the run."""


@dataclass(frozen=True)
class LiveRun:
    """A run whose lock this process holds."""

    run: paths.Run
    lock: int
    record: run_record.Record
    previous: bytes | None  # the run.json to restore if main.py refuses; None: the run is new


# -- creating and resuming ---------------------------------------------------------------------------------------------


def create(
    project: paths.Project,
    record: run_record.Record,
    command: list[str],
    *,
    repository: Repository | None,
    signals: Signals,
    least: int = 0,
    number: int | None = None,
    is_first: bool = False,
    status: str = "running",
) -> LiveRun:
    """Prepare a run in a staging folder, with its snapshot if it has a commit, and rename the folder to its id.

    The record comes from `run_record.new`. The id is `number`, or else the lowest that was never given and is not
    below `least`. With `is_first`, a tag that has another run is refused.

    Raises:
        Refused: a live run uses another snapshot of the tag, the tag is gone, or it is not the first run.
        Busy: another process has created the run `number`.
        Interrupted: before the rename; nothing is left.
    """
    tag = project.tag(record["tag"])
    with staging.new(project, tag) as (folder, held):
        _fill(folder, record)
        while True:
            if repository is not None:
                snapshot.prepare(project, tag, record["commit"], repository, folder)
            with lock.held(project.lock):
                signals.check()
                if is_first:
                    check_has_no_runs(tag)
                if repository is not None:
                    record = record | {"tree": _tree(repository, record)}
                    if not tag.snapshot.is_dir():  # the last run of the tag has just finished and removed it
                        continue
                record = record | {"id": max(ids.highest(tag) + 1, least) if number is None else number}
                record = run_record.begin(record, command, status)
                return LiveRun(_give_id(tag, folder, record), held, record, None)


def _fill(folder: Path, record: run_record.Record) -> None:
    files.replace(folder / "seed", f"{record['seed']}\n")
    (folder / "heartbeat").touch()
    for name in ("checkpoint", "tensorboard"):
        (folder / name).mkdir()


def check_writable(project: paths.Project) -> None:
    """Refuse a `__result__` that no run can be created in, and a list of finished runs that can't be appended to."""
    try:
        project.result.mkdir(exist_ok=True)
        with lock.held(project.lock):
            pass
    except OSError as error:
        raise Refused(f"no run can be put into {project.result}: {error.strerror or error}.") from None
    lists.check_writable(project, lists.FINISHED)


def check_has_no_runs(tag: paths.Tag) -> None:
    """Refuse a tag that has runs."""
    if tag.runs():
        raise Refused(f"the tag {tag.name!r} has runs. Type: rerun {tag.name}, or: continue {tag.name}")


def _tree(repository: Repository, record: run_record.Record) -> str:
    """Return the project's tree in the commit of a run, if its tag still points there to keep the commit."""
    commit_and_tree = repository.commit_and_tree(record["tag"])
    if commit_and_tree[:1] != [record["commit"]]:  # its maker deletes a tag again when its run is refused
        raise Refused(f"the tag {record['tag']!r} has just been removed, or moved. Type the command again.")
    return commit_and_tree[1]


def _give_id(tag: paths.Tag, folder: Path, record: run_record.Record) -> paths.Run:
    run = tag.run(record["id"])
    files.write_json(folder / "run.json", record)
    try:
        os.rename(folder, run.folder)
    except OSError as error:
        if run.record.exists():
            raise Busy(f"another process has just begun {run}.") from None
        raise Refused(f"{run.folder} can't become a run: {error.strerror}. Move away what is there.") from None
    ids.save_highest(tag)  # only now: a kill just before must not cost `run` its id 0
    return run


def resume(
    project: paths.Project,
    run: paths.Run,
    record: run_record.Record,
    expected: run_record.Record,
    command: list[str],
    *,
    repository: Repository,
    status: str = "running",
) -> LiveRun:
    """Begin a new session of a run that ended before it finished, or is queued; `record` is as the caller read it.

    Raises:
        Busy: another process works on it.
        Refused: a live run uses another snapshot of the tag.
    """
    held = lock.take(run.lock, wait_seconds=2.0)  # its supervisor may be in its last instructions
    if held is None:
        raise Busy(f"{run} is being worked on by another process.")
    try:
        tag = project.tag(run.tag)
        with staging.new(project, tag) as (folder, _):
            snapshot.prepare(project, tag, record["commit"], repository, folder, ours=run)
        with lock.held(project.lock):  # not every network disk shows a run's own lock to other hosts
            _check_unchanged(run, record)
            previous = run.record.read_bytes()
            run.refused.unlink(missing_ok=True)
            run.prune.unlink(missing_ok=True)
            run.heartbeat.write_bytes(b"")
            record = run_record.begin(_with_last_session_closed(record) | expected, command, status)
            run_record.write(run, record)
    except BaseException:
        os.close(held)
        raise
    return LiveRun(run, held, record, previous)


def _check_unchanged(run: paths.Run, record: run_record.Record) -> None:
    if run_record.read(run)["sessions"] != record["sessions"]:
        raise Busy(f"another process has just worked on {run}. Type the command again.")


# By the stored status, and whether this process is the run's job: `begin` turns a queued session into the new one.
_CLOSING: dict[tuple[str, bool], tuple[Callable[[run_record.Record], run_record.Record], ...]] = {
    ("queued", True): (),
    ("queued", False): (run_record.mark_died,),
    ("running", True): (run_record.mark_died, run_record.queue_again),
    ("running", False): (run_record.mark_died,),
}


def _with_last_session_closed(record: run_record.Record) -> run_record.Record:
    """Return the record before a new session: a session without an end has died; our job goes on as a queued one."""
    if record["status"] == "queued" and not record.get("job") and (job := slurm.this_life()):
        record = run_record.give_job(record, {"id": job["id"], "cluster": job["cluster"]})  # `submit` was killed before
    is_ours = slurm.is_ours(record.get("job"))
    steps = _CLOSING.get((record["status"], is_ours), (run_record.queue_again,) if is_ours else ())
    for step in steps:
        record = step(record)
    return record


# -- training ----------------------------------------------------------------------------------------------------------


def train_and_report(project: paths.Project, live: LiveRun, signals: Signals, config: dict[str, Any]) -> int:
    """Train a run, print its start, its end and the address of TensorBoard; return the exit code.

    Raises:
        Refused, Interrupted: as `train`.
    """
    run = live.run
    say(f"exper: {run} trains with seed {live.record['seed']} and {live.record['threads']} threads")
    say(version_warnings(live.record).rstrip())
    announcement = board.Announcement(project, config)
    say(announcement.line())
    try:
        ending = train(project, live, signals, lambda: say(announcement.line()))
    except Interrupted as error:
        if run_record.read(run)["status"] == "queued":
            say(f"exper: {run} {error}; it goes back into the queue")
            _requeue(run)
        else:
            say(f"exper: {run} {error}. To continue it, type: continue {run}")
        raise
    folder = paths.from_here(run.folder)
    is_finished = ending == "finished"
    say(f"exper: {run} {ending}. Its files: {folder}/" if is_finished else f"exper: {run} {ending}: {folder}/log")
    say(announcement.line(is_last=True))
    return 0 if is_finished else 1


def _requeue(run: paths.Run) -> None:
    """Put this process's job back into the queue, which ends the job."""
    refusal = slurm.requeue()
    held = refusal and lock.take(run.lock)
    if held:
        run_record.write(run, run_record.unqueue(run_record.read(run)))
        os.close(held)
        say(f"exper: SLURM does not requeue the job: {refusal}. To continue the run: exper submit --continue {run}")


def train(
    project: paths.Project,
    live: LiveRun,
    signals: Signals,
    between_lines: Callable[[], None] = lambda: None,
    start: Callable[[supervisor.Program], supervisor.Training] = supervisor.start,
) -> str:
    """Train a run that was created or resumed, and record its end; return its status.

    Raises:
        Refused: main.py refuses the settings; the session is undone, and a new run is removed.
        Interrupted: training was asked to end, and has ended.
    """
    run = live.run
    record = live.record
    write_session_header(run, record)
    folder = project.tag(run.tag).snapshot
    environment = supervisor.environment(run, project.data, record)
    training = supervisor.Supervisor(
        run, folder, environment, live.lock, signals, between_lines=between_lines, start=start
    )
    try:
        returncode = training.supervise()
        if returncode == 2 and run.refused.exists():
            if not slurm.is_ours(record["job"]):
                raise _refusal(project, live)
            _log_refusal(run)  # nobody would see it; the run stays, as failed
        return _record_end(project, run, record, returncode, signals)
    finally:
        os.close(live.lock)


def _refusal(project: paths.Project, live: LiveRun) -> Refused:
    """Undo the session; return main.py's refusal."""
    text = live.run.refused.read_text(errors="replace").strip()
    undo_session(project, live)
    return Refused(text)


def undo_session(project: paths.Project, live: LiveRun) -> None:
    """Remove a new run; restore the record of a resumed one."""
    if live.previous is None:
        remove.remove_run(project, live.run)
    else:
        live.run.refused.unlink(missing_ok=True)
        files.replace(live.run.record, live.previous)


def _log_refusal(run: paths.Run) -> None:
    files.append(run.log, f"exper: {run.refused.read_text(errors='replace').strip()}\n")


def version_warnings(record: run_record.Record) -> str:
    """Return a line for each version that differs from the recorded one."""
    return "".join(f"not as in the recorded run, so bits may differ: {line}\n" for line in record["different"])


def write_session_header(run: paths.Run, record: run_record.Record, kind: str | None = None) -> None:
    """Append the line to the log that begins a session, of training or of another `kind`."""
    session = record["sessions"][-1]
    line = f"=== {' '.join(session['command'])}: {run}, {kind or 'session {}'.format(len(record['sessions']))}"
    line += f", {session['started']}, {session['host']}, pid {session['pid']}, seed {record['seed']} ===\n"
    files.append(run.log, line + version_warnings(record))


# -- the end -----------------------------------------------------------------------------------------------------------


def _record_end(
    project: paths.Project, run: paths.Run, record: run_record.Record, returncode: int, signals: Signals
) -> str:
    """Write run.json, then the list of finished runs; then remove the snapshot if no run needs it."""
    how = outcome(returncode)
    pruned = None
    if how == "interrupted" and run.prune.exists():
        how = "pruned"
        pruned = files.read_json(run.prune)
    record = run_record.end(record, how, returncode, pruned)
    if how == "interrupted" and slurm.is_ours(record["job"]) and slurm.is_to_come_back(_signal_in(returncode)):
        record = run_record.queue_again(record)  # in the same write, or another process could resume it in between
    run_record.write(run, record)
    if how in status.FINAL:
        finalize(project, run, how, ours=run)
    if how == "interrupted":
        raise interruption(returncode, signals)
    return run_record.ending(record)


def interruption(returncode: int, signals: Signals) -> Interrupted:
    """Return the exception for the exit code of a process that was asked to end."""
    number = _signal_in(returncode)
    was_typed = number == signal.SIGINT and signals.noted is None and signals.was_without_terminal
    return Interrupted(number, was_typed=was_typed)


def outcome(returncode: int) -> str:
    """Return the status for training's exit code; a negative code is a signal's number."""
    if returncode == 0:
        return "finished"
    return "interrupted" if _signal_in(returncode) in STOPPING else "failed"


def _signal_in(returncode: int) -> int:
    """Return the number of the signal that ended a process, or that its exit code names."""
    return -returncode if returncode < 0 else returncode - 128


def finalize(project: paths.Project, run: paths.Run, how: str, *, ours: paths.Run | None = None) -> None:
    """List a finished run and release the tag's snapshot. A second call changes nothing.

    `ours` is the run whose lock this process holds, if any.
    """
    if how == "finished":
        try:
            lists.append(project, lists.FINISHED, str(run))
        except (OSError, Refused) as error:
            why = getattr(error, "strerror", None) or error
            say(f"exper: {run} can't be added to {project.list_file(lists.FINISHED)}: {why}. Then type: continue {run}")
    snapshot.release(project, project.tag(run.tag), ours=ours)
