"""The life of a run: a refusal undoes it, its end is recorded, and its last session is closed before the next."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from exper.core import lock, paths
from exper.runs import lifecycle, run_record
from tests.support import manager
from tests.support.manager import exper, git, log, nothing_left, refused, state, tags, write

JOB = {"id": "7", "cluster": "here"}


def _record(status: str, job: run_record.Record | None) -> run_record.Record:
    record = run_record.begin(run_record.new("base", "abc", 1, 2) | {"id": 0}, ["run", "base"], "queued")
    if job is not None:
        record = run_record.give_job(record, job)
    if status == "queued":
        return record
    record = run_record.begin(record, ["continue", "base/0"])
    return record if status == "running" else run_record.end(record, status, 1)


@pytest.mark.parametrize(
    ("status", "job", "is_ours", "sessions"),
    [
        ("failed", None, False, ["failed"]),
        ("failed", JOB, False, ["failed"]),
        ("failed", JOB, True, ["failed", "queued"]),
        ("interrupted", JOB, True, ["interrupted", "queued"]),
        ("running", None, False, ["died"]),
        ("running", JOB, False, ["died"]),
        ("running", JOB, True, ["died", "queued"]),
        ("queued", JOB, False, ["died"]),
        ("queued", JOB, True, ["queued"]),
        ("queued", None, False, ["died"]),
        ("queued", None, True, ["queued"]),  # `submit` was killed before it could record the job
    ],
)
def test_a_session_without_an_end_has_died_and_our_job_goes_on_as_a_queued_one(
    monkeypatch: pytest.MonkeyPatch, status: str, job: run_record.Record | None, is_ours: bool, sessions: list[str]
) -> None:
    if is_ours:
        for name, value in {"EXPER_JOB": "1", "SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "here"}.items():
            monkeypatch.setenv(name, value)
    record = lifecycle._with_last_session_closed(_record(status, job))
    assert [session["status"] for session in record["sessions"]] == sessions
    assert record["status"] == sessions[-1]
    if is_ours:
        assert record["job"] == JOB


@pytest.mark.parametrize(
    ("returncode", "status"),
    [(0, "finished"), (1, "failed"), (2, "failed"), (130, "interrupted"), (143, "interrupted"), (138, "interrupted"),
     (-signal.SIGTERM, "interrupted"), (-signal.SIGKILL, "failed"), (137, "failed")],
)  # fmt: skip
def test_an_exit_code_decides_the_status(returncode: int, status: str) -> None:
    assert lifecycle.outcome(returncode) == status


def test_an_undone_session_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    project = paths.Project(tmp_path)
    run = project.tag("base").run(0)
    run.folder.mkdir(parents=True)
    run_record.write(run, _record("failed", None))
    previous = run.record.read_bytes()
    held = lock.take(run.lock)
    assert held is not None
    run_record.write(run, run_record.begin(run_record.read(run), ["continue", "base/0"]))
    run.refused.write_text("lr\n")
    lifecycle.undo_session(project, lifecycle.LiveRun(run, held, run_record.read(run), previous))
    os.close(held)
    assert run.record.read_bytes() == previous
    assert not run.refused.exists()


def test_a_setting_that_main_refuses_leaves_nothing(project: paths.Project) -> None:
    write(project, main=manager.REFUSES)
    with nothing_left(project):
        error = refused(project, "run", "base", "epochs=0")
    assert error.splitlines()[-1] == "run: lr must be above 0."


def test_a_refusal_keeps_a_tag_that_was_there_before(project: paths.Project) -> None:
    write(project, main=manager.REFUSES)
    git(project.root, "tag", "base")
    refused(project, "run", "base")
    assert tags(project) == ["base"]
    assert project.tag("base").runs() == []


def test_a_refusal_is_told_also_where_the_tag_is_gone_by_then(project: paths.Project) -> None:
    waits = "ready()\nseconds_until('go')\n"
    write(project, main=manager.REFUSES.replace(manager.READY, manager.READY + waits))
    with manager.training(project, "run", "base") as (supervisor, _):
        git(project.root, "tag", "--delete", "base")
        (manager.the_run(project, "base/0").folder / "go").touch()
        said = supervisor.communicate(timeout=20)[0]
        assert supervisor.returncode == 2
    assert said.splitlines()[-1] == "run: lr must be above 0."
    assert manager.left(project) == []


def test_exit_2_without_the_file_is_a_failure(project: paths.Project) -> None:
    write(project, main="import sys; sys.exit(2)")
    exper(project, "run", "base", code=1)
    assert state(project, "base/0") == "failed"


def test_a_crash_is_failed_with_its_traceback_in_the_log(project: paths.Project) -> None:
    write(project, main="print('begins')\n1 / 0\n")
    done = exper(project, "run", "base", code=1)
    assert "base/0 failed (exit code 1)" in done.stderr
    assert log(project, "base/0")[-1] == "ZeroDivisionError: division by zero"
    assert manager.finished(project) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP, signal.SIGRTMIN + 2])
def test_a_signal_that_kills_training_is_named(project: paths.Project, number: int) -> None:
    write(project, main=f"import os, signal\nsignal.signal(1, signal.SIG_DFL)\nos.kill(os.getpid(), {int(number)})\n")
    done = exper(project, "run", "base", code=1)
    name = number.name if isinstance(number, signal.Signals) else "signal 36"
    assert f"failed (killed by {name})" in done.stderr
    assert state(project, "base/0") == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("main", ["SAVES", "SLEEPS"])
def test_a_stop_signal_reaches_training_and_is_recorded(project: paths.Project, number: int, main: str) -> None:
    write(project, main=getattr(manager, main))
    with manager.training(project, "run", "base") as (supervisor, _):
        supervisor.send_signal(number)
        said = supervisor.communicate(timeout=20)[0]
        assert supervisor.returncode == 128 + number
    assert "continue base/0" in said
    assert state(project, "base/0") == "interrupted"
    assert (manager.the_run(project, "base/0").folder / "saved").exists() == (main == "SAVES")
    assert manager.finished(project) == []


def test_training_that_stops_itself_does_not_stop_the_script_around(project: paths.Project) -> None:
    """Only a Ctrl-C that was typed is passed on to the shell; this one came from elsewhere."""
    write(project, main="import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    line = " ".join(f"'{word}'" if "'" not in word else f'"{word}"' for word in manager.command(project, "run", "base"))
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo went on $?"], capture_output=True, text=True, start_new_session=True
    )
    assert "went on 130" in done.stdout


@pytest.mark.parametrize("bad", ["finished.txt", ".lock", ".."])
def test_a_list_that_takes_no_more_is_said_before_training(project: paths.Project, bad: str) -> None:
    project.lists.mkdir(parents=True)
    if bad == "..":
        project.lists.rmdir()
        project.lists.write_text("a file\n")
    else:
        (project.lists / bad).mkdir()
    with nothing_left(project):
        assert "nothing can be added to" in refused(project, "run", "base")


def test_a_run_whose_line_cannot_be_written_has_finished_all_the_same(project: paths.Project) -> None:
    write(project, main="import pathlib; pathlib.Path('../../../__statistic__/exper-list/finished.txt').mkdir()\n")
    error = exper(project, "run", "base").stderr
    assert "base/0 can't be added to" in error
    assert "base/0 finished" in error
    assert not project.tag("base").snapshot.exists()
    project.list_file("finished").rmdir()
    exper(project, "continue", "base")
    assert manager.finished(project) == ["base/0"]
