"""`exper evaluate`: under the run's lock, from the tag's code, and no status changes. The programs are a stranger's."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import exper, git, log, refused, start, state, the_run, training, wait_for, write

PRINTS = """\
import os, sys
from pathlib import Path
run = Path(os.environ["EXPER_RUN"])
print("evaluates", *sys.argv[1:], os.environ["EXPER_SEED"], Path(__file__).parents[1].name)
(run / "evaluated").touch()
"""
FAILS = "import sys\nsys.exit(int(sys.argv[2]))\n"


def begun(project: paths.Project, evaluate: str, main: str = "print('trains')") -> None:
    write(project, main=main, evaluate=evaluate)


def content(run: paths.Run) -> dict[str, Any]:
    """Return every file of a run but its log and heartbeat."""
    files = {str(path): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if not name.endswith(("/log", "/heartbeat"))}


def test_a_finished_run_stays_finished_and_its_snapshot_goes(project: paths.Project) -> None:
    begun(project, PRINTS)
    exper(project, "run", "base", "-f")
    run = the_run(project, "base/0")
    before = run.record.read_bytes()
    write(project, main="print('newer')", evaluate="newer")
    with manager.untouched(project.root):
        done = exper(project, "evaluate", "base", "--epoch", "3", "--pictures", "5")
    assert "base/0 is evaluated: __result__/base/0/evaluate/" in done.stderr
    assert log(project, "base/0") == ["trains", "evaluates --epoch 3 --pictures 5 42 snapshot"]
    assert (run.folder / "evaluated").exists()
    assert run.record.read_bytes() == before
    assert not project.tag("base").snapshot.exists()
    assert manager.finished(project) == ["base/0"]


def test_the_log_says_where_the_evaluation_begins(project: paths.Project) -> None:
    begun(project, PRINTS)
    exper(project, "run", "base")
    exper(project, "evaluate", "base/0")
    marks = [line for line in the_run(project, "base/0").log.read_text().splitlines() if line.startswith("===")]
    assert len(marks) == 2
    assert marks[1].startswith("=== exper evaluate base/0: base/0, evaluation, ")


@pytest.mark.parametrize(
    ("epoch", "code"), [("0", 0), ("1", 1), ("3", 1), ("2", 1)], ids=["done", "fails", "with 3", "2 but not refused"]
)
def test_exit_codes_and_a_failed_run_stays_failed(project: paths.Project, epoch: str, code: int) -> None:
    begun(project, FAILS, main="raise SystemExit(4)")
    exper(project, "run", "base", code=1)
    before = content(the_run(project, "base/0"))
    done = exper(project, "evaluate", "base/0", "--epoch", epoch, code=code)
    assert ("the evaluation of base/0 failed: __result__/base/0/log" in done.stderr) == bool(code)
    assert content(the_run(project, "base/0")) == before
    assert state(project, "base/0") == "failed"
    assert project.tag("base").snapshot.is_dir()


def test_a_refusal_of_the_program_is_exit_code_2_and_leaves_the_run_as_it_was(project: paths.Project) -> None:
    begun(project, manager.REFUSES.replace("lr must be above 0.", "no masks."))
    exper(project, "run", "base")
    the_run(project, "base/0").refused.write_text("an old one")
    assert refused(project, "evaluate", "base/0") == "evaluate: no masks.\n"
    assert not the_run(project, "base/0").refused.exists()
    assert state(project, "base/0") == "finished"


# -- at the same time --------------------------------------------------------------------------------------------------


def test_a_live_run_is_refused(project: paths.Project) -> None:
    begun(project, PRINTS, main=manager.SLEEPS)
    with training(project, "run", "base"):
        assert "base/0 is being worked on by another process." in refused(project, "evaluate", "base/0")
        assert state(project, "base/0") == "running"


def test_a_run_that_lives_on_another_host_is_refused(project: paths.Project) -> None:
    begun(project, PRINTS)
    exper(project, "run", "base")
    manager.edit_record(project, "base/0", status="running", host="other", boot_id="other", pid=1)
    the_run(project, "base/0").heartbeat.touch()
    before = the_run(project, "base/0").record.read_bytes()
    assert "is being worked on" in refused(project, "evaluate", "base/0")
    assert the_run(project, "base/0").record.read_bytes() == before


def test_meanwhile_nobody_else_works_on_the_run_and_its_code_stays(project: paths.Project) -> None:
    begun(project, manager.WAITS)
    exper(project, "run", "base")
    with training(project, "evaluate", "base/0", run="base/0") as (evaluation, _):
        assert state(project, "base/0") == "finished"
        assert "is being worked on" in refused(project, "evaluate", "base/0")
        assert "is being worked on" in refused(project, "rm", "base/0", "--yes")
        exper(project, "continue", "base/0")  # it has finished: nothing to do
        exper(project, "rerun", "base/0")  # and its end lets go of the snapshot, if nobody needs it
        assert project.tag("base").snapshot.is_dir()
        (the_run(project, "base/0").folder / "go").touch()
        assert evaluation.wait(20) == 0
    assert not project.tag("base").snapshot.exists()
    assert [state(project, name) for name in ("base/0", "base/1")] == ["finished", "finished"]


def test_a_failed_run_is_not_continued_meanwhile_and_is_afterwards(project: paths.Project) -> None:
    begun(project, manager.WAITS, main="import os, sys\nsys.exit(not os.path.exists(os.environ['EXPER_RUN'] + '/go'))")
    exper(project, "run", "base", code=1)
    with training(project, "evaluate", "base/0", run="base/0") as (evaluation, _):
        assert state(project, "base/0") == "failed"
        assert "is being worked on by another process" in refused(project, "continue", "base/0")
        (the_run(project, "base/0").folder / "go").touch()
        assert evaluation.wait(20) == 0
    exper(project, "continue", "base/0")
    assert state(project, "base/0") == "finished"


def test_a_run_that_died_does_not_seem_to_live_and_can_go_on(project: paths.Project) -> None:
    begun(project, manager.WAITS)
    exper(project, "run", "base")
    manager.edit_record(project, "base/0", status="running")
    assert state(project, "base/0") == "died"
    with training(project, "evaluate", "base/0", run="base/0") as (evaluation, _):
        assert state(project, "base/0") == "died"
        (the_run(project, "base/0").folder / "go").touch()
        assert evaluation.wait(20) == 0
    assert state(project, "base/0") == "died"
    exper(project, "continue", "base/0")
    assert state(project, "base/0") == "finished"


# -- ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_it_and_leaves_the_status(project: paths.Project, number: signal.Signals) -> None:
    begun(project, manager.SAVES)
    exper(project, "run", "base")
    before = the_run(project, "base/0").record.read_bytes()
    with training(project, "evaluate", "base/0", run="base/0") as (evaluation, _):
        evaluation.send_signal(number)
        assert evaluation.wait(20) == 128 + number
        assert f"the evaluation of base/0 was interrupted by {number.name}" in evaluation.communicate()[0]
    assert the_run(project, "base/0").record.read_bytes() == before
    assert state(project, "base/0") == "finished"
    assert not project.tag("base").snapshot.exists()


def test_killed_with_its_supervisor_it_leaves_the_status_and_can_be_repeated(project: paths.Project) -> None:
    begun(project, manager.WAITS)
    exper(project, "run", "base")
    with training(project, "evaluate", "base/0", run="base/0") as (evaluation, pid):
        for one in (evaluation.pid, pid):
            os.kill(one, signal.SIGKILL)
        evaluation.wait(20)
    assert state(project, "base/0") == "finished"
    (the_run(project, "base/0").folder / "go").touch()
    wait_for(lambda: start(project, "evaluate", "base/0", stdout=None).wait(20) == 0)
    assert not project.tag("base").snapshot.exists()


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["base", "--epoch", "first"], "--epoch 'first': write best, last or the number of an epoch."),
        (["base", "--epoch", "-1"], "--epoch '-1'"),
        (["base", "--pictures", "0"], "--pictures '0': write a whole number, 1 for every image."),
        (["bas"], "no run has the tag 'bas'. Did you mean 'base'?"),
        (["base"], "'base' has 2 runs. Name one: base/0, base/1."),
        (["base/7"], "there is no run base/7. 'base' has: 0, 1."),
        (["untagged/0"], "no tag holds the code of untagged runs."),
        ([], "the following arguments are required: tag/id"),
        (["other/0"], "the code of other/0 has no code/evaluate.py"),
    ],
)
def test_wrong_words_are_refused(project: paths.Project, words: list[str], says: str) -> None:
    exper(project, "run", "other")
    begun(project, PRINTS)
    exper(project, "run", "base")
    exper(project, "rerun", "base")
    with manager.nothing_left(project):
        assert says in refused(project, "evaluate", *words)
    assert log(project, "base/0") == ["trains"]


def test_a_moved_tag_is_refused(project: paths.Project) -> None:
    begun(project, PRINTS)
    exper(project, "run", "base")
    write(project, main="print('newer')")
    git(project.root, "tag", "--force", "base")
    assert "git tag -f base" in refused(project, "evaluate", "base/0")


# -- the template ------------------------------------------------------------------------------------------------------


def test_the_template_is_evaluated_by_the_command_line(project: paths.Project) -> None:
    code = Path(__file__).parents[2]
    ignored = shutil.ignore_patterns("tests", "__pycache__", "exper", "requirements.txt")
    shutil.copytree(code, project.code, ignore=ignored, dirs_exist_ok=True)
    manager.commit(project)
    exper(project, "run", "base", "debug=True", "verbose=quiet", "logger=[]")
    run = the_run(project, "base/0")
    before = json.loads(run.statistic.read_text())
    exper(project, "evaluate", "base", "--epoch", "1")
    after = json.loads(run.statistic.read_text())
    assert after["metric"].pop("test")["epoch"] == 1
    before["metric"].pop("test")
    assert after == before
    assert sorted(os.listdir(run.evaluated(1))) == ["confusion.png", "predictions.csv"]
    lines = log(project, "base/0")
    assert len(lines) == 2  # verbose=quiet
    assert lines[1].startswith("test of epoch 1: test/loss ")
    assert "There are: 1, 2." in refused(project, "evaluate", "base/0", "--epoch", "5")
