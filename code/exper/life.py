"""The life of a run: born whole by one rename, trained, ended in a fixed order; or taken back as if never there."""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exper import files, interrupt, lists, lock, paths, process, run_json, snapshot, status
from exper.error import Refused
from exper.interrupt import Signals
from exper.repository import Repository, TagObject

_NEW = ".new-"
_LOCK = "lock"


@dataclass(frozen=True)
class Live:
    """A run that this process holds the lock of."""

    run: paths.Run
    lock: int
    record: run_json.Record
    before: bytes | None  # the run.json to go back to if main.py refuses; None: the run is new


# -- birth -------------------------------------------------------------------------------------------------------------


def begin(
    project: paths.Project,
    record: run_json.Record,
    command: list[str],
    *,
    repository: Repository | None,
    signals: Signals,
    least: int,
    is_first: bool = False,
) -> Live:
    """Prepare a run beside, with its snapshot if it has a commit, and rename it into being.

    The record comes from `run_json.new`; its id is decided here: the next that was never given, `least` or more.
    The first run of a tag is refused if another has come first, or the tag is gone again.

    Raises:
        Refused: a live run uses another snapshot of the tag, or it is not the first.
        Interrupted: before the rename; nothing is left.
    """
    tag = project.tag(record["tag"])
    with _new_folder(project, tag) as (folder, held):
        files.replace(folder / "seed", f"{record['seed']}\n")
        (folder / "heartbeat").touch()
        for name in ("checkpoint", "tensorboard"):
            (folder / name).mkdir()
        run = None
        while run is None:
            if repository is not None:
                prepare_snapshot(project, tag, record["commit"], repository, folder)
            with lock.held(project.lock):
                signals.check()
                if is_first and repository is not None:
                    check_first(tag)
                    _check_tag(repository, record)
                if repository is None or tag.snapshot.is_dir():  # else the last run of the tag has just finished
                    record = record | {"id": max(last_id(tag) + 1, least)}
                    record = run_json.begin(record, command)
                    run = _give_id(tag, folder, record)
    return Live(run, held, record, None)


def check_writable(project: paths.Project) -> None:
    """Refuse a `__result__` in which no run can be born."""
    try:
        project.result.mkdir(exist_ok=True)
        with lock.held(project.lock):
            pass
    except OSError as error:
        raise Refused(f"no run can be put into {project.result}: {error.strerror or error}.") from None


def check_first(tag: paths.Tag) -> None:
    """Refuse a tag that has runs."""
    if tag.runs():
        raise Refused(f"the tag {tag.name!r} has runs. Type: rerun {tag.name}, or: continue {tag.name}")


def _check_tag(repository: Repository, record: run_json.Record) -> None:
    known = repository.tag(record["tag"])
    if known is None or known.commit != record["commit"]:  # who made it takes it back when its run is refused
        raise Refused(f"the tag {record['tag']!r} has just been removed. Type the command again.")


def resume(
    project: paths.Project,
    run: paths.Run,
    record: run_json.Record,
    expected: run_json.Record,
    command: list[str],
    *,
    repository: Repository,
) -> Live:
    """Take up a run that has ended before it finished; `record` is as the caller has read it.

    Raises:
        Refused: somebody else works on it, or a live run uses another snapshot of the tag.
    """
    held = lock.take(run.lock)
    if held is None:
        raise Refused(f"{run} is being worked on by another process.")
    try:
        _check_unchanged(run, record)
        before = run.record.read_bytes()
        tag = project.tag(run.tag)
        with _new_folder(project, tag) as (folder, _):
            prepare_snapshot(project, tag, record["commit"], repository, folder, ours=run)
        run.refused.unlink(missing_ok=True)
        run.heartbeat.touch()
        now = run_json.begin(record | expected, command)
        run_json.write(run, now)
    except BaseException:
        os.close(held)
        raise
    return Live(run, held, now, before)


def _check_unchanged(run: paths.Run, record: run_json.Record) -> None:
    if run_json.read(run)["sessions"] != record["sessions"]:
        raise Refused(f"another process has just worked on {run}. Type the command again.")


def prepare_snapshot(
    project: paths.Project,
    tag: paths.Tag,
    commit: str,
    repository: Repository,
    folder: Path,
    *,
    ours: paths.Run | None = None,
) -> None:
    """Make sure that the tag's snapshot holds `commit`, exactly; a new one is made in `folder` and renamed.

    Raises:
        Refused: it holds something else, and a live run uses it.
    """
    made = folder / "snapshot"
    for is_last in (False, True):
        if tag.snapshot.is_dir() and snapshot.is_whole(tag.snapshot, repository, commit, project):
            shutil.rmtree(made, ignore_errors=True)
            return
        if not made.exists():
            snapshot.write(made, repository, commit, project)
        live = _put_snapshot(project, tag, made, ours)
        if live is None:
            return
        if is_last:  # else another start has just put it there, and it may be what we need
            raise Refused(f"{tag.snapshot} is not what {commit[:10]} holds, and {live} trains from it. Wait for it.")


def _put_snapshot(project: paths.Project, tag: paths.Tag, made: Path, ours: paths.Run | None) -> paths.Run | None:
    """Put `made` in the snapshot's place, unless a run uses what is there; return that run, or None."""
    old = made.with_name("old-snapshot")
    with lock.held(project.lock):
        live = [run for run in tag.runs() if run != ours and status.is_live(run)]
        if live and tag.snapshot.exists():
            return live[0]
        if tag.snapshot.exists():
            os.rename(tag.snapshot, old)
        os.rename(made, tag.snapshot)
    shutil.rmtree(old, ignore_errors=True)
    return None


@contextlib.contextmanager
def _new_folder(project: paths.Project, tag: paths.Tag) -> Iterator[tuple[Path, int]]:
    """Yield what `_made_folder` yields; what the disk refuses there is the user's to mend, and nothing is left."""
    try:
        with _made_folder(project, tag) as made:
            yield made
    except OSError as error:
        raise Refused(f"no run can be put into {tag.folder}: {error.strerror or error}.") from None


@contextlib.contextmanager
def _made_folder(project: paths.Project, tag: paths.Tag) -> Iterator[tuple[Path, int]]:
    """Yield a locked `.new-<random>/` in the tag's folder and its lock; gone at the end, unless renamed."""
    project.result.mkdir(exist_ok=True)
    with lock.held(project.lock):
        tag.folder.mkdir(exist_ok=True)
        _sweep(tag)
        folder = tag.folder / f"{_NEW}{os.urandom(8).hex()}"
        folder.mkdir()
        held = lock.take(folder / _LOCK)
        assert held is not None
    try:
        yield folder, held
    finally:
        if folder.exists():  # it has not become a run
            os.close(held)
            shutil.rmtree(folder, ignore_errors=True)
            with lock.held(project.lock), contextlib.suppress(OSError):
                tag.folder.rmdir()


def _sweep(tag: paths.Tag) -> None:
    """Remove what starts that were killed have left."""
    for folder in tag.folder.glob(f"{_NEW}*"):
        if not lock.is_held(folder / _LOCK):
            shutil.rmtree(folder, ignore_errors=True)


def _give_id(tag: paths.Tag, folder: Path, record: run_json.Record) -> paths.Run:
    run = tag.run(record["id"])
    files.write_json(folder / "run.json", record)
    try:
        os.rename(folder, run.folder)
    except OSError as error:
        raise Refused(f"{run.folder} can't become a run: {error.strerror}. Move away what is there.") from None
    _keep_last_id(tag)  # only now: a kill just before must not cost `run` its id 0
    return run


def _keep_last_id(tag: paths.Tag) -> None:
    """Write the highest id down, if it is not; on a full disk, the folders of the runs still tell it."""
    if last_id(tag) != _written_id(tag):
        with contextlib.suppress(OSError):
            files.replace(tag.last_id, f"{last_id(tag)}\n")


def last_id(tag: paths.Tag) -> int:
    """Return the highest id ever given, -1 if none was."""
    return max([_written_id(tag), *(run.id for run in tag.runs())])


def _written_id(tag: paths.Tag) -> int:
    try:
        return int(tag.last_id.read_text())
    except (FileNotFoundError, ValueError):
        return -1


# -- training ----------------------------------------------------------------------------------------------------------


def carry_out(project: paths.Project, live: Live, signals: Signals) -> int:
    """Train a run, tell the user how it begins and ends, and return the exit code.

    Raises:
        Refused, Interrupted: as `train`.
    """
    run, folder = live.run, _from_here(live.run.folder)
    say(f"exper: {run} trains with seed {live.record['seed']} and {live.record['threads']} threads")
    say(_differences(live.record).rstrip())
    try:
        how = train(project, live, signals)
    except interrupt.Interrupted as error:
        say(f"exper: {run} {error}. To go on, type: continue {run}")
        raise
    say(f"exper: {run} {how}. Its files: {folder}/" if how == "finished" else f"exper: {run} {how}: {folder}/log")
    return 0 if how == "finished" else 1


def _from_here(path: Path) -> str:
    try:
        return os.path.relpath(path)
    except FileNotFoundError:  # the folder that the user is in is deleted
        return str(path)


def train(project: paths.Project, live: Live, signals: Signals) -> str:
    """Train a run that is born or taken up, and record its end; return its status.

    Raises:
        Refused: main.py refuses the settings; the session is taken back, a new run is left to the caller to remove.
        Interrupted: training has been asked to end, and has.
    """
    run, record = live.run, live.record
    mark_session(run, record)
    folder = project.tag(run.tag).snapshot
    environment = process.environment(run, project.data, record)
    try:
        returncode = process.supervise(run, folder, environment, live.lock, signals)
        if returncode == 2 and run.refused.exists():
            raise _refusal(live)
        return _end(project, run, record, returncode, signals)
    finally:
        os.close(live.lock)


def _refusal(live: Live) -> Refused:
    """Return main.py's refusal, with the run as it was before: gone, if it is new."""
    text = live.run.refused.read_text(errors="replace").strip()
    live.run.refused.unlink()
    if live.before is not None:
        files.replace(live.run.record, live.before)
    return Refused(text)


def _differences(record: run_json.Record) -> str:
    return "".join(f"not as in the recorded run, so bits may differ: {line}\n" for line in record["different"])


def mark_session(run: paths.Run, record: run_json.Record) -> None:
    """Begin a session in the log with a line that tells it from the others."""
    session = record["sessions"][-1]
    line = f"=== {' '.join(session['command'])}: {run}, session {len(record['sessions'])}"
    line += f", {session['started']}, {session['host']}, pid {session['pid']}, seed {record['seed']} ===\n"
    with files.open_to_append(run.log) as log:
        log.write((line + _differences(record)).encode())


def _end(project: paths.Project, run: paths.Run, record: run_json.Record, returncode: int, signals: Signals) -> str:
    """Record the end: run.json, then finished.txt, then the snapshot goes if nothing needs it."""
    how = outcome(returncode)
    record = run_json.end(record, how, returncode)
    run_json.write(run, record)
    if how == "finished":
        settle(project, run)
    if how == "interrupted":
        number = -returncode if returncode < 0 else returncode - 128
        raise interrupt.Interrupted(number, was_typed=_was_typed(number, signals))
    return run_json.ending(record)


def _was_typed(number: int, signals: Signals) -> bool:
    return number == signal.SIGINT and signals.noted is None and signals.was_without_terminal


def outcome(returncode: int) -> str:
    """Return the status that an exit code of training stands for; a negative one is a signal's number."""
    if returncode == 0:
        return "finished"
    number = -returncode if returncode < 0 else returncode - 128
    return "interrupted" if number in interrupt.STOPPING else "failed"


def settle(project: paths.Project, run: paths.Run) -> None:
    """Do what follows the record of a finished run; a second time changes nothing."""
    lists.append(project, lists.FINISHED, str(run))
    release_snapshot(project, project.tag(run.tag))


def release_snapshot(project: paths.Project, tag: paths.Tag) -> None:
    """Remove the tag's snapshot if all its runs have finished, or it has none."""
    with lock.held(project.lock):
        _sweep(tag)
        unneeded = all(status.read(run) == "finished" for run in tag.runs())
        if not unneeded or not tag.snapshot.exists():
            return
        folder = tag.folder / f"{_NEW}{os.urandom(8).hex()}"
        folder.mkdir()
        os.rename(tag.snapshot, folder / "snapshot")
    shutil.rmtree(folder, ignore_errors=True)


# -- taking back -------------------------------------------------------------------------------------------------------


def remove(project: paths.Project, run: paths.Run) -> None:
    """Remove a run: at once for a reader, by one rename; its id is never given again."""
    tag = project.tag(run.tag)
    with lock.held(project.lock):
        _keep_last_id(tag)
        folder = tag.folder / f"{_NEW}{os.urandom(8).hex()}"
        folder.mkdir()
        os.rename(run.folder, folder / run.folder.name)
    lists.remove(project, lists.FINISHED, {str(run)})
    shutil.rmtree(folder, ignore_errors=True)
    release_snapshot(project, tag)  # it may have been the last run that had not finished


def forget(project: paths.Project, tag: paths.Tag) -> None:
    """Remove the folder of a tag that has no runs, and with it the memory of its ids; a start is left alone."""
    if tag.folder.exists():
        with lock.held(project.lock):
            if not tag.runs():
                _remove_folder(tag)


def take_back_tag(project: paths.Project, repository: Repository, made: TagObject) -> None:
    """Delete a tag that was made for a run that has not come to be, and its folder, unless another run has."""
    tag = project.tag(made.name)
    with lock.held(project.lock):
        if not tag.runs():
            repository.delete_tag(made)
            _remove_folder(tag)


def _remove_folder(tag: paths.Tag) -> None:
    _sweep(tag)
    shutil.rmtree(tag.snapshot, ignore_errors=True)
    tag.last_id.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a start is under way in it, or it is not there
        tag.folder.rmdir()


def say(text: str) -> None:
    """Tell the user how things go, on stderr; a closed terminal is no error."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True, end="\n" if text else "")
