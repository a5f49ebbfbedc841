"""`exper submit` and `exper cancel`: jobs of a real SLURM."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exper.commands import cancel
from exper.core import paths
from exper.statistic import history
from tests.support import campaign, manager, searching, slurm
from tests.support.manager import exper, log, record, refused, state, wait_for, write

pytestmark = slurm.needed

# Counts its lives, as checkpoints would; saves at the notice and at the end of a job.
LIVES = (
    manager.READY
    + """\
lives = run / "checkpoint" / "lives"
number = int(lives.read_text()) + 1 if lives.exists() else 1
lives.write_text(str(number))
print("life", number, "seed", os.environ["EXPER_SEED"], "threads", os.environ["OMP_NUM_THREADS"], flush=True)
def save(number, frame):
    sys.exit(128 + number)
for one in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(one, save)
(run / f"life_{number}").touch()
if number < 3:
    time.sleep(60)
"""
)


DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


@pytest.fixture(scope="session")
def served() -> Iterator[dict[str, str]]:
    with slurm.served() as environment:
        yield environment


@pytest.fixture(autouse=True)
def _cluster(served: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in served.items():
        monkeypatch.setenv(name, value)
    yield
    slurm.all_over()


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a host that has no SLURM."""
    (tmp_path / "git").symlink_to(str(shutil.which("git")))
    return os.environ | {"PATH": str(tmp_path)}


def _lives(project: paths.Project, number: int, run: str = "base/0") -> None:
    wait_for(lambda: (manager.the_run(project, run).folder / f"life_{number}").exists(), seconds=60)


def _epoch(run: paths.Run, number: int) -> None:
    """Wait until a run has taken an epoch."""
    wait_for(lambda: number in history.curves(run).get("val/loss", history.Curve([], [])).x, seconds=90)


def _sessions(project: paths.Project, run: str = "base/0") -> list[str]:
    return [one["status"] for one in record(project, run)["sessions"]]


def test_a_job_trains_the_tag_and_the_run_is_queued_at_once(project: paths.Project) -> None:
    with manager.untouched(project.root):
        said = exper(project, "submit", "base", "-f", "--", "--hold").stderr
        number = slurm.job(project, "base/0")
        assert said == f"submit: base/0 is queued with seed 42 and 1 threads, as job {number} of the cluster 'tests'\n"
        assert state(project, "base/0") == "queued"
        assert record(project, "base/0")["job"] == {"id": number, "cluster": "tests"}
        assert "1 queued" in exper(project, "expls").stdout
        slurm.tell("scontrol", "release", number)
        slurm.end(project, "base/0")
    assert log(project, "base/0") == ["hello"]
    assert [one["command"] for one in record(project, "base/0")["sessions"]] == [["submit", "base", "-f"]]
    assert record(project, "base/0")["job"]["id"] == number
    wait_for(lambda: manager.finished(project) == ["base/0"])
    assert "hello" not in manager.the_run(project, "base/0").job_log.read_text()


def test_a_job_goes_on_after_the_notice_as_the_same_run(project: paths.Project) -> None:
    write(project, main=LIVES)
    exper(project, "submit", "base", "--", "--cpus-per-task=2")
    number = slurm.job(project, "base/0")
    for life in (1, 2):
        _lives(project, life)
        slurm.notice(number)
    slurm.end(project, "base/0")
    sessions = record(project, "base/0")["sessions"]
    assert [one["status"] for one in sessions] == ["interrupted", "interrupted", "finished"]
    assert {one["job"]["id"] for one in sessions} == {number}
    first, *others = [line.partition(" seed")[2] for line in log(project, "base/0")]
    assert others == [first, first]
    assert first.endswith("threads 2")
    assert "goes back into the queue" in manager.the_run(project, "base/0").job_log.read_text()


def test_between_two_lives_it_is_queued(project: paths.Project) -> None:
    write(project, main=LIVES)
    exper(project, "submit", "base")
    _lives(project, 1)
    slurm.notice(slurm.job(project, "base/0"))
    slurm.end(project, "base/0", "queued")
    error = refused(project, "continue", "base")
    assert "exper cancel base/0" in error
    assert "exper cancel base/0" in refused(project, "rm", "base/0", "--yes")
    exper(project, "cancel", "base/0")
    assert state(project, "base/0") == "interrupted"


def test_a_job_takes_up_its_run_though_submit_was_killed_before_it_wrote_that_down(
    project: paths.Project, tmp_path: Path
) -> None:
    deadly = tmp_path / "bin" / "sbatch"
    deadly.parent.mkdir()
    deadly.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} "$@"\nkill -9 $PPID\n')
    deadly.chmod(0o755)
    write(project, main=LIVES)
    exper(project, "submit", "base", code=-9, env=os.environ | {"PATH": f"{deadly.parent}:{os.environ['PATH']}"})
    _lives(project, 1)
    assert [one["status"] for one in record(project, "base/0")["sessions"]] == ["running"]
    slurm.notice(slurm.job(project, "base/0"))
    slurm.end(project, "base/0", "queued")


def test_slurm_may_end_scontrol_with_the_job_that_it_requeues(
    project: paths.Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scontrol = shutil.which("scontrol")
    late = tmp_path / "bin" / "scontrol"  # ended by the signal after SLURM has done what it asks for
    late.parent.mkdir()
    late.write_text(f'#!/bin/sh\n{scontrol} "$@" || exit\n[ "$1" != requeue ] || kill -TERM $$\n')
    late.chmod(0o755)
    monkeypatch.setenv("PATH", f"{late.parent}:{os.environ['PATH']}")
    write(project, main=LIVES)
    exper(project, "submit", "base")
    _lives(project, 1)
    number = slurm.job(project, "base/0")
    slurm.notice(number)
    wait_for(lambda: slurm.state(number) == "PENDING")
    assert state(project, "base/0") == "queued"
    assert "does not requeue" not in manager.the_run(project, "base/0").job_log.read_text()


def test_a_job_that_slurm_requeues_goes_on(project: paths.Project) -> None:
    write(project, main=LIVES)
    exper(project, "submit", "base")
    _lives(project, 1)
    slurm.tell("scontrol", "requeue", slurm.job(project, "base/0"))
    slurm.end(project, "base/0", "queued")
    assert _sessions(project) == ["interrupted", "queued"]
    _lives(project, 2)


def test_a_job_whose_processes_were_killed_goes_on_when_it_is_requeued(project: paths.Project) -> None:
    write(project, main=DEAF + LIVES.replace("SIGTERM", "SIGUSR1"))
    exper(project, "submit", "base")
    _lives(project, 1)
    slurm.tell("scontrol", "requeue", slurm.job(project, "base/0"))
    slurm.end(project, "base/0", "queued", seconds=40)
    assert record(project, "base/0")["status"] == "running"
    _lives(project, 2)
    assert _sessions(project) == ["died", "running"]


def test_a_node_that_failed_leaves_the_run_to_the_next_once_its_heart_beats_no_more(project: paths.Project) -> None:
    exper(project, "submit", "base", "--", "--hold")
    number = slurm.job(project, "base/0")
    run = manager.the_run(project, "base/0")
    elsewhere = {"host": "node7", "boot_id": "another boot of another kernel"}  # as it would have written it
    manager.edit_record(project, "base/0", status="running", **elsewhere)
    assert state(project, "base/0") == "running"
    os.utime(run.heartbeat, (time.time() - 91,) * 2)
    assert state(project, "base/0") == "queued"
    os.utime(run.heartbeat, (time.time() - 85,) * 2)
    slurm.tell("scontrol", "release", number)
    slurm.end(project, "base/0")
    assert _sessions(project) == ["died", "finished"]
    assert time.time() - run.heartbeat.stat().st_mtime < 60


def test_a_job_that_fails_is_failed(project: paths.Project) -> None:
    write(project, main="raise ValueError('the loss is NaN')")
    exper(project, "submit", "base")
    slurm.end(project, "base/0", "failed")
    wait_for(lambda: slurm.state(slurm.job(project, "base/0")) == "FAILED")
    assert "ValueError: the loss is NaN" in log(project, "base/0")


def test_refused_settings_fail_the_run_and_say_why(project: paths.Project) -> None:
    write(project, main=manager.REFUSES)
    exper(project, "submit", "base")
    slurm.end(project, "base/0", "failed")
    assert "exper: lr must be above 0." in log(project, "base/0")
    assert manager.tags(project) == ["base"]


def test_cancel_ends_a_running_job_after_it_has_saved(project: paths.Project) -> None:
    write(project, main=LIVES)
    exper(project, "submit", "base")
    _lives(project, 1)
    assert "base/0 is interrupted" in exper(project, "cancel", "base").stderr
    ended = record(project, "base/0")  # SLURM and the supervisor both send it: the second may meet a Python that ends
    assert ended["exit_code"] == 143 or ended["signal"] == "SIGTERM"
    assert "no SLURM job" in refused(project, "cancel", "base/0")
    exper(project, "submit", "--continue", "base")
    _lives(project, 2)
    assert state(project, "base/0") == "running"


def test_a_cancelled_queued_run_goes_on_in_a_new_job_or_without(project: paths.Project) -> None:
    exper(project, "submit", "base", "--", "--hold")
    exper(project, "cancel", "base/0")
    assert state(project, "base/0") == "interrupted"
    exper(project, "submit", "--continue", "base/0", "--", "--hold")
    assert state(project, "base/0") == "queued"
    exper(project, "cancel", "base/0")
    exper(project, "continue", "base/0")
    assert _sessions(project) == ["interrupted", "interrupted", "finished"]
    assert record(project, "base/0")["job"] is None


def test_a_queued_run_whose_job_is_gone_has_died(project: paths.Project) -> None:
    exper(project, "submit", "base", "--", "--hold")
    slurm.tell("scancel", slurm.job(project, "base/0"))
    slurm.end(project, "base/0", "died")
    exper(project, "continue", "base")
    assert state(project, "base/0") == "finished"


def test_without_squeue_a_queued_run_has_a_question_mark(project: paths.Project, without: dict[str, str]) -> None:
    exper(project, "submit", "base", "--", "--hold")
    assert "1 queued?" in exper(project, "expls", env=without).stdout
    assert "exper cancel" in refused(project, "continue", "base", env=without)
    assert "1 queued?" not in exper(project, "expls").stdout


def test_where_slurm_is_missing_or_silent_nothing_is_tagged(project: paths.Project, without: dict[str, str]) -> None:
    with manager.nothing_left(project):
        assert "there is no sbatch here" in refused(project, "submit", "base", env=without)
        assert "SLURM does not answer" in refused(
            project, "submit", "base", env=os.environ | {"SLURM_CONF": "/nonexistent"}
        )


def test_what_sbatch_refuses_leaves_nothing(project: paths.Project) -> None:
    with manager.nothing_left(project):
        error = refused(project, "submit", "base", "--", "--partition=nowhere")
    assert "SLURM does not accept the job" in error
    assert "partition" in error


def test_a_refused_continuation_leaves_the_run_as_it_was(project: paths.Project) -> None:
    write(project, main="raise SystemExit(1)")
    exper(project, "run", "base", code=1)
    before = manager.the_run(project, "base/0").record.read_bytes()
    refused(project, "submit", "--continue", "base", "--", "--partition=nowhere")
    assert manager.the_run(project, "base/0").record.read_bytes() == before
    assert state(project, "base/0") == "failed"


def test_a_job_that_may_not_be_requeued_is_interrupted_for_good(project: paths.Project) -> None:
    write(project, main=LIVES)
    exper(project, "submit", "base", "--", "--no-requeue")
    _lives(project, 1)
    slurm.notice(slurm.job(project, "base/0"))
    slurm.end(project, "base/0", "interrupted")
    assert _sessions(project) == ["interrupted"]


def test_a_run_whose_job_slurm_does_not_requeue_is_interrupted_and_says_so(
    project: paths.Project, without: dict[str, str]
) -> None:
    write(project, main=LIVES)
    exper(project, "submit", "base", "--", f"--export=ALL,PATH={without['PATH']}")
    _lives(project, 1)
    slurm.notice(slurm.job(project, "base/0"))
    said = manager.the_run(project, "base/0").job_log
    wait_for(lambda: "SLURM does not requeue the job" in said.read_text(), seconds=60)
    assert state(project, "base/0") == "interrupted"
    assert _sessions(project) == ["interrupted"]


def test_an_array_shares_a_search_and_goes_on_after_the_notice(project: paths.Project) -> None:
    searching.prepare(project, seconds="0.3", search='{"optimizer.lr": [0.1, 0.05, 0.02, 0.01, 0.005, 0.001]}')
    exper(project, "search", "wide", "--submit", "2")
    wait_for(lambda: len({path.name for path in project.tag("wide").folder.glob("search.?.log")}) == 2, seconds=30)
    wait_for(lambda: len(searching.noted(project, "begun")) >= 2, seconds=30)
    number = project.tag("wide").jobs.read_text().split()[0]
    slurm.notice(f"{number}_0")
    wait_for(lambda: not slurm.tell("squeue", "--noheader"), seconds=90)
    said = project.tag("wide").folder / "search.0.log"
    assert "goes back into the queue" in said.read_text()
    assert len(searching.told(project, "wide")) == 6
    assert {trial.state.name for trial in searching.told(project, "wide")} == {"COMPLETE"}
    assert sorted(searching.noted(project, "ended")) == sorted(f"{tag}/0" for tag in searching.trials(project, "wide"))


def test_a_submitted_search_is_cancelled_by_its_tag_and_not_removed_before(project: paths.Project) -> None:
    searching.prepare(project)
    exper(project, "search", "wide", "--submit", "2", "--", "--hold")
    assert project.tag("wide").job_script.stat().st_mode & 0o777 == 0o700
    assert "exper cancel wide" in refused(project, "rm", "wide", "--tag", "--yes")
    exper(project, "cancel", "wide")
    exper(project, "rm", "wide", "--tag", "--yes")
    assert manager.left(project) == []


def test_where_squeue_does_not_answer_a_search_counts_as_queued(
    project: paths.Project, without: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    searching.prepare(project)
    exper(project, "search", "wide", "--submit", "2", "--", "--hold")
    job = project.tag("wide").jobs.read_text().split()[0]
    assert "there is no scancel here" in refused(project, "cancel", "wide", env=without)
    assert f"does not say whether job {job}" in refused(project, "rm", "wide", "--tag", "--yes", env=without)
    for program in ("scancel", "scontrol"):
        Path(without["PATH"], program).symlink_to(str(shutil.which(program)))
    with monkeypatch.context() as here:
        here.setattr(cancel, "_SECONDS", 1)
        here.setenv("PATH", without["PATH"])
        assert cancel.cancel(["wide"], project) == 1
    assert f"cancel: SLURM does not say whether job {job}" in capsys.readouterr().err
    exper(project, "rm", "wide", "--tag", "--yes")


def test_flags_of_sbatch_without_submit_are_refused(project: paths.Project) -> None:
    searching.prepare(project)
    with manager.nothing_left(project):
        assert "--submit" in refused(project, "search", "wide", "--", "--hold")
        refused(project, "search", "wide", "--submit", "2", "--", "--partition=nowhere")


def test_a_job_that_met_two_notices_ends_with_the_bits_of_an_unbroken_run(tmp_path: Path) -> None:
    project = paths.Project(campaign.make_project(tmp_path / "project"))
    settings = ["epochs=12", "threads=1", "ema=0.99", "log_every_steps=10"]
    exper(project, "submit", "broken", "-f", *settings)
    run = manager.the_run(project, "broken/0")
    for epoch in (2, 5):
        _epoch(run, epoch)
        slurm.notice(slurm.job(project, "broken/0"))
    exper(project, "run", "whole", "-f", *settings, timeout=200)
    slurm.end(project, "broken/0", seconds=120)
    assert _sessions(project, "broken/0") == ["interrupted", "interrupted", "finished"]
    whole = manager.the_run(project, "whole/0")
    assert campaign.result(run.folder) == campaign.result(whole.folder)
