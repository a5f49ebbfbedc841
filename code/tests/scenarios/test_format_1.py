"""Today's manager reads, continues, repeats and verifies runs of format 1 with the code of their own tags.

assets/format_1/project.tar.xz holds a project of commit 07094fc with a run of each kind: finished, interrupted, died
(kill -9), failed, and a search of four trials, one of them pruned. assets/format_1/make.sh made it.
"""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from exper.core import paths
from tests.conftest import CODE, isolate
from tests.support import manager
from tests.support.manager import exper, git, state, the_run

ARCHIVE = CODE / "tests" / "assets" / "format_1" / "project.tar.xz"
EPOCHS = 16
CLOSE = 1e-3  # other CPUs round differently; a wrong state is further away
# The job script of `exper submit` at 07094fc, for {python}, {code} and {run}.
JOB_SCRIPT = "#!/bin/sh\nEXPER_JOB=1 exec '{python}' -I '{code}/exper/launch.py' continue {run} >/dev/null\n"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[paths.Project]:
    """Unpack the project and bring its working tree, not its tags, up to date with the code of today."""
    folder = tmp_path_factory.mktemp("format_1")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home")
        root = folder / "project"
        with tarfile.open(ARCHIVE) as archive:
            archive.extraction_filter = staticmethod(tarfile.fully_trusted_filter)
            archive.extractall(root)
        git(root, "init", "--quiet", "--initial-branch=today")
        git(root, "fetch", "--quiet", "repository.bundle", "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")
        (root / "repository.bundle").unlink()
        git(root, "reset", "--quiet", "--hard", "main")
        shutil.rmtree(root / "code" / "exper")
        shutil.copytree(CODE / "exper", root / "code" / "exper", ignore=shutil.ignore_patterns("__pycache__"))
        project = paths.Project(root)
        manager.commit(project)
        yield project


@pytest.fixture(scope="module")
def unbroken(kept: paths.Project) -> paths.Run:
    """Repeat the finished run on this machine: the numbers of another one may differ in their last digits."""
    exper(kept, "rerun", "finished", "-f", timeout=300)
    return the_run(kept, "finished/1")


def history(run: paths.Run) -> list[dict[str, Any]]:
    """Return history.jsonl without times."""
    lines = [json.loads(line) for line in run.history.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def metric(run: paths.Run) -> dict[str, Any]:
    """Return the metrics of statistic.json without times."""
    metric: dict[str, dict[str, Any]] = json.loads(run.statistic.read_text())["metric"]
    return {kind: {name: value for name, value in line.items() if name != "seconds"} for kind, line in metric.items()}


def assert_close(run: paths.Run, other: paths.Run) -> None:
    """Compare two runs, of which one was trained on another machine, or a part of one."""
    for line, expected in zip(history(run), history(other), strict=True):
        line.pop("weights"), expected.pop("weights")
        assert line == pytest.approx(expected, rel=CLOSE)
    for kind, line in metric(run).items():
        numbers = {name: value for name, value in line.items() if name != "weights"}
        assert numbers == pytest.approx({name: metric(other)[kind][name] for name in numbers}, rel=CLOSE)


# -- what is read ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_an_ended_run_has_the_status_of_its_tag(status: str, kept: paths.Project) -> None:
    assert state(kept, f"{status}/0") == status


def test_of_a_search_one_trial_was_pruned(kept: paths.Project) -> None:
    shown = json.loads(exper(kept, "expels", "wide", "--json").stdout)
    assert sorted(run["status"] for run in shown if run["seed"] == 0)[-1] == "pruned"


@pytest.mark.parametrize(
    "words",
    [
        ("expls",),
        ("expels", "failed"),
        ("record", "finished", "failed"),
        ("title",),
        ("plot", "finished/0", "died/0"),
        ("report", "finished/0", "failed/0"),
        ("diff", "finished/0", "failed/0"),
        ("gc", "--dry-run"),
    ],
    ids=lambda words: str(words[0]),
)
def test_every_reading_command_takes_its_runs(words: tuple[str, ...], kept: paths.Project) -> None:
    exper(kept, *words)


def test_a_table_has_the_metrics_of_the_finished_run(kept: paths.Project) -> None:
    exper(kept, "table", "finished")
    rows = csv.DictReader(io.StringIO(kept.table_file("finished", "csv").read_text()))
    (row,) = (row for row in rows if row["run"] == "finished/0")
    assert float(row["metric/test/test/acc"]) == metric(the_run(kept, "finished/0"))["test"]["test/acc"]


# -- what is trained, with the code of the tag ------------------------------------------------------------------------


def test_rerun_repeats_a_finished_run(kept: paths.Project, unbroken: paths.Run) -> None:
    assert len(history(unbroken)) == EPOCHS
    assert_close(unbroken, the_run(kept, "finished/0"))


def test_verify_calls_a_repeated_run_exact(kept: paths.Project, unbroken: paths.Run) -> None:
    assert exper(kept, "verify", str(unbroken), timeout=300).stdout.startswith(f"EXACT ({EPOCHS} epochs")


def test_continue_goes_on_with_a_run_that_died(kept: paths.Project, unbroken: paths.Run) -> None:
    died = the_run(kept, "died/0")
    assert state(kept, "died/0") == "died"
    stood = history(died)
    exper(kept, "continue", "died", timeout=300)
    assert history(died)[: len(stood) - 1] == stood[:-1]  # the last line may be behind the checkpoint
    assert_close(died, unbroken)


def test_a_job_script_goes_on_with_an_interrupted_run(kept: paths.Project, unbroken: paths.Run) -> None:
    interrupted = the_run(kept, "interrupted/0")
    assert state(kept, "interrupted/0") == "interrupted"
    script = JOB_SCRIPT.format(python=sys.executable, code=kept.code, run=interrupted)
    subprocess.run(["sh", "-c", script], check=True, timeout=300, stderr=subprocess.PIPE)
    assert state(kept, "interrupted/0") == "finished"
    assert_close(interrupted, unbroken)


def test_continue_after_a_kill_ends_in_the_same_bits(kept: paths.Project, unbroken: paths.Run) -> None:
    again = the_run(kept, "finished/2")
    supervisor = manager.start(kept, "rerun", "finished", "-f")
    manager.wait_for(lambda: (again.checkpoint / "epoch_3.path").exists(), seconds=300)
    os.killpg(supervisor.pid, signal.SIGKILL)
    supervisor.communicate()
    exper(kept, "continue", str(again), timeout=300)
    assert history(again) == history(unbroken)
    assert metric(again) == metric(unbroken)


def test_evaluate_tests_the_checkpoint_of_a_finished_run(kept: paths.Project) -> None:
    run = the_run(kept, "finished/0")
    before = metric(run)["test"]
    exper(kept, "evaluate", "finished/0", timeout=300)
    assert metric(run)["test"] == pytest.approx(before, rel=CLOSE)


def test_a_search_goes_on_with_one_more_trial(kept: paths.Project) -> None:
    exper(kept, "search", "wide", "--trials", "5", timeout=300)
    trials = json.loads(exper(kept, "results", "wide", "--json").stdout)
    assert len(trials) == 5
