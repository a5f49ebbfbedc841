"""Sessions of a run: how the last one is closed before the next begins, and what an exit code means."""

import os
import signal
from pathlib import Path

import pytest

from exper.core import lock, paths
from exper.runs import lifecycle, run_record

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
