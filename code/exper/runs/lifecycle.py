"""The life of a run: born whole by one rename, trained, and ended in a fixed order."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exper.core import files, lock, paths, slurm
from exper.core import signals as interrupt
from exper.core.errors import Refused
from exper.core.messages import say
from exper.core.signals import Signals
from exper.repository.repository import Repository
from exper.runs import board, ids, lists, remove, run_record, snapshot, staging, status, supervisor


class Busy(Refused):
    """Another process has the run."""


@dataclass(frozen=True)
class LiveRun:
    """A run that this process holds the lock of."""

    run: paths.Run
    lock: int
    record: run_record.Record
    previous: bytes | None  # the run.json to go back to if main.py refuses; None: the run is new


# -- birth -------------------------------------------------------------------------------------------------------------


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
    """Prepare a run beside, with its snapshot if it has a commit, and rename it into being.

    The record comes from `run_record.new`; its id is `number`, or else the next that was never given, `least` or more.
    The first run of a tag is refused if another has come first.

    Raises:
        Refused: a live run uses another snapshot of the tag, the tag is gone, or it is not the first.
        Busy: another process has made the run `number`.
        Interrupted: before the rename; nothing is left.
    """
    tag = project.tag(record["tag"])
    with staging.new(project, tag) as (folder, held):
        files.replace(folder / "seed", f"{record['seed']}\n")
        (folder / "heartbeat").touch()
        for name in ("checkpoint", "tensorboard"):
            (folder / name).mkdir()
        run = None
        while run is None:
            if repository is not None:
                snapshot.prepare(project, tag, record["commit"], repository, folder)
            with lock.held(project.lock):
                signals.check()
                if is_first:
                    check_has_no_runs(tag)
                if repository is not None:
                    record = record | {"tree": _tree(repository, record)}
                if repository is None or tag.snapshot.is_dir():  # else the last run of the tag has just finished
                    record = record | {"id": max(ids.highest(tag) + 1, least) if number is None else number}
                    record = run_record.begin(record, command, status)
                    run = _give_id(tag, folder, record)
    return LiveRun(run, held, record, None)


def check_writable(project: paths.Project) -> None:
    """Refuse a `__result__` in which no run can be born, and a list of finished runs that takes no more."""
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
    """Return the project's tree in the commit of a run, if the tag still holds it: or nothing would."""
    found = repository.commit_and_tree(record["tag"])
    if found[:1] != [record["commit"]]:  # who made it takes it back when its run is refused
        raise Refused(f"the tag {record['tag']!r} has just been removed, or moved. Type the command again.")
    return found[1]


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
    """Take up a run that has ended before it finished, or is queued; `record` is as the caller has read it.

    Raises:
        Busy: somebody else works on it.
        Refused: a live run uses another snapshot of the tag.
    """
    held = lock.take(run.lock, wait_seconds=2.0)  # its supervisor may be in its last instructions
    if held is None:
        raise Busy(f"{run} is being worked on by another process.")
    try:
        tag = project.tag(run.tag)
        with staging.new(project, tag) as (folder, _):
            snapshot.prepare(project, tag, record["commit"], repository, folder, ours=run)
        with lock.held(project.lock):  # of a run's own lock, not every network disk tells other hosts
            _check_unchanged(run, record)
            before = run.record.read_bytes()
            run.refused.unlink(missing_ok=True)
            run.prune.unlink(missing_ok=True)
            run.heartbeat.write_bytes(b"")
            now = run_record.begin(_as_left(record) | expected, command, status)
            run_record.write(run, now)
    except BaseException:
        os.close(held)
        raise
    return LiveRun(run, held, now, before)


def _check_unchanged(run: paths.Run, record: run_record.Record) -> None:
    if run_record.read(run)["sessions"] != record["sessions"]:
        raise Busy(f"another process has just worked on {run}. Type the command again.")


def _as_left(record: run_record.Record) -> run_record.Record:
    """Return the record of a run as it was left: what ended without a word has died; a job of ours goes on with it."""
    if record["status"] == "queued" and not record.get("job") and (job := slurm.this_life()):
        record = run_record.give_job(record, {"id": job["id"], "cluster": job["cluster"]})  # `submit` was killed before
    is_ours = slurm.is_ours(record.get("job"))
    if is_ours and record["status"] == "queued":
        return record
    if record["status"] in ("queued", "running"):
        record = run_record.mark_died(record)
    return run_record.queue_again(record) if is_ours else record


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


# -- training ----------------------------------------------------------------------------------------------------------


def train_and_report(project: paths.Project, live: LiveRun, signals: Signals, config: dict[str, Any]) -> int:
    """Train a run, tell the user how it begins and ends, and where TensorBoard is; return the exit code.

    Raises:
        Refused, Interrupted: as `train`.
    """
    run, folder = live.run, paths.from_here(live.run.folder)
    say(f"exper: {run} trains with seed {live.record['seed']} and {live.record['threads']} threads")
    say(version_warnings(live.record).rstrip())
    announcement = board.Announcement(project, config)
    say(announcement.line())
    try:
        how = train(project, live, signals, lambda: say(announcement.line()))
    except interrupt.Interrupted as error:
        if run_record.read(run)["status"] == "queued":
            say(f"exper: {run} {error}; it goes back into the queue")
            _requeue(run)
        else:
            say(f"exper: {run} {error}. To go on, type: continue {run}")
        raise
    say(f"exper: {run} {how}. Its files: {folder}/" if how == "finished" else f"exper: {run} {how}: {folder}/log")
    say(announcement.line(is_last=True))
    return 0 if how == "finished" else 1


def _requeue(run: paths.Run) -> None:
    """Put the job that we are back into the queue; it ends with that."""
    refusal = slurm.requeue()
    held = refusal and lock.take(run.lock)
    if held:
        run_record.write(run, run_record.unqueue(run_record.read(run)))
        os.close(held)
        say(f"exper: SLURM does not requeue the job: {refusal}. To go on, type: exper submit --continue {run}")


def train(
    project: paths.Project,
    live: LiveRun,
    signals: Signals,
    between_lines: Callable[[], None] = lambda: None,
    start: Callable[[supervisor.Program], supervisor.Training] = supervisor.start,
) -> str:
    """Train a run that is born or taken up, and record its end; return its status.

    Raises:
        Refused: main.py refuses the settings; the session, and a new run with it, is taken back.
        Interrupted: training has been asked to end, and has.
    """
    run, record = live.run, live.record
    write_session_header(run, record)
    folder = project.tag(run.tag).snapshot
    environment = supervisor.environment(run, project.data, record)
    try:
        returncode = supervisor.supervise(
            run, folder, environment, live.lock, signals, between_lines=between_lines, start=start
        )
        if returncode == 2 and run.refused.exists():
            if not slurm.is_ours(record["job"]):
                raise _refusal(project, live)
            _log_refusal(run)  # nobody would see it: the run stays, as failed
        return _end(project, run, record, returncode, signals)
    finally:
        os.close(live.lock)


def _refusal(project: paths.Project, live: LiveRun) -> Refused:
    """Return main.py's refusal, with the run as it was before: gone, if it is new."""
    text = live.run.refused.read_text(errors="replace").strip()
    if live.previous is None:
        remove.remove_run(project, live.run)
    else:
        live.run.refused.unlink()
        files.replace(live.run.record, live.previous)
    return Refused(text)


def _log_refusal(run: paths.Run) -> None:
    files.append(run.log, f"exper: {run.refused.read_text(errors='replace').strip()}\n")


def version_warnings(record: run_record.Record) -> str:
    """Return a line for each version that is not as recorded."""
    return "".join(f"not as in the recorded run, so bits may differ: {line}\n" for line in record["different"])


def write_session_header(run: paths.Run, record: run_record.Record, kind: str | None = None) -> None:
    """Begin a session in the log, of training or of another kind, with a line that tells it from the others."""
    session = record["sessions"][-1]
    line = f"=== {' '.join(session['command'])}: {run}, {kind or 'session {}'.format(len(record['sessions']))}"
    line += f", {session['started']}, {session['host']}, pid {session['pid']}, seed {record['seed']} ===\n"
    files.append(run.log, line + version_warnings(record))


def _end(project: paths.Project, run: paths.Run, record: run_record.Record, returncode: int, signals: Signals) -> str:
    """Record the end: run.json, then finished.txt, then the snapshot goes if nothing needs it."""
    how, pruned = outcome(returncode), None
    if how == "interrupted" and run.prune.exists():
        how, pruned = "pruned", files.read_json(run.prune)
    record = run_record.end(record, how, returncode, pruned)
    if how == "interrupted" and slurm.is_ours(record["job"]) and slurm.is_to_come_back(_signal_in(returncode)):
        record = run_record.queue_again(record)  # at once, or somebody else could take it up in between
    run_record.write(run, record)
    if how in status.FINAL:
        finalize(project, run, how, ours=run)
    if how == "interrupted":
        raise interruption(returncode, signals)
    return run_record.ending(record)


def interruption(returncode: int, signals: Signals) -> interrupt.Interrupted:
    """Return the exception for the exit code of a process that was asked to end."""
    number = _signal_in(returncode)
    was_typed = number == signal.SIGINT and signals.noted is None and signals.was_without_terminal
    return interrupt.Interrupted(number, was_typed=was_typed)


def outcome(returncode: int) -> str:
    """Return the status that an exit code of training stands for; a negative one is a signal's number."""
    if returncode == 0:
        return "finished"
    return "interrupted" if _signal_in(returncode) in interrupt.STOPPING else "failed"


def _signal_in(returncode: int) -> int:
    """Return the number of the signal that a process died of, or that it exited for."""
    return -returncode if returncode < 0 else returncode - 128


def finalize(project: paths.Project, run: paths.Run, how: str, *, ours: paths.Run | None = None) -> None:
    """Do what follows the record of a run that is over, whose lock we may hold; a second time changes nothing."""
    if how == "finished":
        try:
            lists.append(project, lists.FINISHED, str(run))
        except (OSError, Refused) as error:
            why = getattr(error, "strerror", None) or error
            say(f"exper: {run} can't be added to {project.list_file(lists.FINISHED)}: {why}. Then type: continue {run}")
    snapshot.release(project, project.tag(run.tag), ours=ours)
