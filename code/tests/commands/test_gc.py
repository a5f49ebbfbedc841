"""`exper gc`: what goes, what stays, and that everything still works afterwards."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exper.core import checkpoint_file, lock, paths
from exper.repository.repository import Repository
from exper.runs import staging
from tests.conftest import CODE
from tests.support import campaign, manager, searching
from tests.support.manager import exper, finished, git, record, refused, state, the_run, untouched, write

# Trains as the template does, as far as gc can see it: checkpoints with their footers and links, and statistic.json.
SAVES_EPOCHS = (
    manager.READY
    + """
import hashlib, json
sys.path.insert(0, "code")
from exper.core import checkpoint_file as checkpoint_files
(run / "checkpoint").mkdir(exist_ok=True)
def save(name):
    data = name.encode() * 1000
    end = checkpoint_files.footer(hashlib.sha256(data).digest(), len(data))
    (run / "checkpoint" / name).write_bytes(data + end)
def link(name, to):
    (run / "checkpoint" / name).unlink(missing_ok=True)
    (run / "checkpoint" / name).symlink_to(to)
begun = len(checkpoint_files.names(run / "checkpoint"))
for epoch in range(begun, begun + 6):
    save(f"epoch_{epoch}.path")
    link("epoch_last.path", f"epoch_{epoch}.path")
link("epoch_best.path", "epoch_2.path")
metric = {"last": {"epoch": epoch}, "best": {"epoch": 2, "val/acc": 0.9}, "test": {}}
(run / "statistic.json").write_text(json.dumps({"format": 1, "hparam": {}, "metric": metric}))
"""
)
FAILS_FIRST = SAVES_EPOCHS + "sys.exit(begun == 0)\n"


def checkpoints(project: paths.Project, name: str) -> list[str]:
    """Return the names in a run's checkpoint/, with links that lead nowhere marked."""
    folder = the_run(project, name).checkpoint
    return sorted(path.name + "" if path.exists() else f"{path.name} -> nothing" for path in folder.iterdir())


def everything(project: paths.Project) -> dict[str, bytes]:
    """Return all files of the project's results and statistics."""
    found = [path for path in (*project.result.rglob("*"), *project.statistic.rglob("*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in found if path.name != ".lock"}


def killed_start(project: paths.Project, tag: str) -> Path:
    """Make what a start that was killed leaves beside the runs of a tag."""
    folder = project.tag(tag).folder / f".new-{staging.unique_name()}"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "seed").write_text("1\n" * 50_000)
    return folder


def half_written(path: Path) -> Path:
    """Return the temporary file of a killed writer of `path`."""
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\nfrom exper.core import files\n"
        "with files.replacing(Path(sys.argv[2])): os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(CODE), str(path)], check=False)
    [left] = path.parent.glob(f".{path.name}.*")
    return left


# -- what goes ---------------------------------------------------------------------------------------------------------


def test_where_there_is_nothing_to_remove_it_says_so(project: paths.Project) -> None:
    assert "nothing to remove" in exper(project, "gc").stderr
    exper(project, "run", "base")
    before = everything(project)
    assert "nothing to remove" in exper(project, "gc").stderr
    assert everything(project) == before


def test_the_snapshot_of_a_failed_run_goes_and_comes_back_with_continue(project: paths.Project) -> None:
    write(project, main=FAILS_FIRST)
    exper(project, "run", "base", code=1)
    before = record(project, "base/0")
    with untouched(project.root):
        said = exper(project, "gc", "--yes").stderr
    assert said.startswith("gc: base: its snapshot, 0.")
    assert not project.tag("base").snapshot.exists()
    assert record(project, "base/0") == before
    assert "nothing to remove" in exper(project, "gc", "--yes").stderr
    exper(project, "continue", "base")
    assert state(project, "base/0") == "finished"


@pytest.mark.parametrize("undo", ["delete", "move"])
def test_a_snapshot_that_may_be_the_last_copy_of_the_code_stays(project: paths.Project, undo: str) -> None:
    write(project, main="raise SystemExit(1)")
    exper(project, "run", "base", code=1)
    manager.commit(project)
    git(project.root, "tag", "--delete", "base")
    if undo == "move":
        git(project.root, "tag", "base")
    exper(project, "gc", "--yes")
    assert project.tag("base").snapshot.exists()


def test_what_a_killed_command_has_left_goes(trained: paths.Project) -> None:
    killed_start(trained, "base")
    run = the_run(trained, "base/0")
    half_written(trained.tag("base").last_id)
    young = half_written(run.statistic)
    old = half_written(run.picture)
    mine = run.folder / ".statistic.json.notes"
    (run.checkpoint / ".epoch_3.path.ab_c1234").write_bytes(b"x" * 100_000)
    (run.folder / "evaluate" / ".epoch_3").mkdir(parents=True)
    for path in (young, old, mine):
        path.touch()
    for path in (old, mine, run.checkpoint / ".epoch_3.path.ab_c1234", run.folder / "evaluate" / ".epoch_3"):
        os.utime(path, (1, 1))
    said = exper(trained, "gc", "--yes").stderr.splitlines()
    assert said[0] == "gc: base/0: 3 files that a kill has left half written, 0.1 MB"
    assert said[1] == "gc: base: what a killed command has left, 0.1 MB"
    assert said[2] == "gc: 0.2 MB in all"
    assert young.exists()
    assert mine.exists()
    assert [path.name for path in trained.tag("base").folder.glob(".*")] == []
    assert (os.listdir(run.checkpoint), os.listdir(run.folder / "evaluate")) == ([], [])


@manager.needs_stranger
def test_what_cannot_be_read_counts_as_used(project: paths.Project) -> None:
    for name in ("theirs", "mine", "mine"):
        exper(project, "rerun" if project.tag(name).runs() else "run", name)
    names = finished(project)
    project.tag("theirs").folder.chmod(0)
    project.tag("mine").run(1).folder.chmod(0)
    (project.list_file("all")).write_text("theirs\nmine/0\n")
    done = manager.as_stranger(project, "gc", "--yes")
    assert (done.returncode, done.stderr) == (0, "gc: there is nothing to remove\n")
    done = manager.as_stranger(project, "gc", "--yes", "--keep", "best")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert f"{project.tag('theirs').folder} can't be read" in done.stderr
    done = manager.as_stranger(project, "table", "all", "--json")
    assert done.returncode == 1
    assert [row["run"] for row in json.loads(done.stdout)] == ["mine/0"]
    assert "'theirs'" in done.stderr
    for folder in (project.tag("theirs").folder, project.tag("mine").run(1).folder):
        folder.chmod(0o755)
    assert finished(project) == names


def test_a_start_under_way_is_left_alone(project: paths.Project) -> None:
    write(project, main=manager.WAITS)
    with manager.training(project, "run", "base") as (supervisor, _):
        left = killed_start(project, "base")
        exper(project, "gc", "--yes")
        assert not left.exists()
        assert project.tag("base").snapshot.exists()
        assert "is being worked on" in exper(project, "gc", "--keep", "last", "--yes").stderr
        (the_run(project, "base/0").folder / "go").touch()
        assert supervisor.wait(20) == 0
    assert state(project, "base/0") == "finished"


def test_the_folder_of_a_tag_goes_that_a_killed_rm_has_left(trained: paths.Project) -> None:
    exper(trained, "run", "kept")
    exper(trained, "rm", "base", "kept", "--yes")
    git(trained.root, "tag", "--delete", "base")
    (trained.result / "mine").mkdir()
    (trained.result / "mine" / "notes").touch()
    exper(trained, "gc", "--yes")
    assert manager.left(trained) == ["kept", "mine"]
    exper(trained, "run", "base")
    exper(trained, "run", "kept")
    assert [str(run) for run in trained.runs()] == ["base/0", "kept/1"]


def test_lines_of_finished_txt_go_whose_runs_somebody_has_deleted(project: paths.Project) -> None:
    for tag in ("base", "other"):
        exper(project, "run", tag)
    shutil.rmtree(the_run(project, "base/0").folder)
    project.list_file("mine").write_text("base/0\n")
    assert "gc: finished.txt: 1 line whose runs are gone" in exper(project, "gc", "--yes").stderr
    assert manager.finished(project) == ["other/0"]
    assert project.list_file("mine").read_text() == "base/0\n"


def test_what_verifications_have_left_goes_and_one_under_way_stays(trained: paths.Project) -> None:
    left, live = (trained.verifications / f"base-0-{staging.unique_name()}" for _ in range(2))
    left.mkdir(parents=True)
    live.mkdir()
    held = lock.take(live / "lock")
    assert held is not None
    assert "gc: __result__/.verify: what 1 verification left" in exper(trained, "gc", "--yes").stderr
    assert [*trained.verifications.iterdir()] == [live]
    os.close(held)


# -- checkpoints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "stay"),
    [
        ("best,last", ["2", "5", "best", "last"]),
        ("best", ["2", "best"]),
        ("last", ["5", "last"]),
        ("best,4", ["2", "4", "best"]),
    ],
)
def test_of_a_finished_run_those_that_are_asked_for_stay(project: paths.Project, keep: str, stay: list[str]) -> None:
    write(project, main=SAVES_EPOCHS)
    exper(project, "run", "base")
    assert len(checkpoints(project, "base/0")) == 8
    exper(project, "gc", "--yes")
    assert len(checkpoints(project, "base/0")) == 8
    said = exper(project, "gc", "--keep", keep, "--yes").stderr
    assert said.startswith(f"gc: base/0: {6 - sum(name.isdigit() for name in stay)} checkpoints, 0.")
    assert checkpoints(project, "base/0") == [f"epoch_{name}.path" for name in stay]


def test_an_unfinished_run_keeps_what_it_can_go_on_from(project: paths.Project) -> None:
    write(project, main=FAILS_FIRST)
    exper(project, "run", "base", code=1)
    folder = the_run(project, "base/0").checkpoint
    os.truncate(folder / "epoch_4.path", 100)
    exper(project, "gc", "--keep", "last", "--yes")
    assert [name for name in checkpoints(project, "base/0") if name[6].isdigit()] == [
        "epoch_2.path",  # the best
        "epoch_3.path",
        "epoch_4.path",
        "epoch_5.path",
    ]
    exper(project, "continue", "base")
    assert state(project, "base/0") == "finished"


def test_where_one_that_is_to_stay_is_corrupt_all_stay(project: paths.Project) -> None:
    write(project, main=SAVES_EPOCHS)
    exper(project, "run", "base")
    exper(project, "rerun", "base")
    os.truncate(the_run(project, "base/0").checkpoint / "epoch_2.path", 100)
    said = exper(project, "gc", "--keep", "best", "--yes", code=1).stderr
    assert "base/0: epoch_2.path is corrupt, so all its checkpoints stay" in said
    assert len(checkpoints(project, "base/0")) == 8
    assert len(checkpoints(project, "base/1")) == 2
    said = exper(project, "gc", "--keep", "7", "--yes", code=1).stderr
    assert "base/1: none of those to be kept is there, so all its checkpoints stay" in said


def test_what_another_run_has_started_from_stays(project: paths.Project) -> None:
    write(project, main=SAVES_EPOCHS)
    exper(project, "run", "base")
    exper(project, "run", "fine")
    statistic = the_run(project, "fine/0").statistic
    about = {"pretrained": {"from": "base/0@4", "file": "epoch_4.path"}}
    statistic.write_text(json.dumps(json.loads(statistic.read_text()) | about))
    exper(project, "gc", "--keep", "best", "--yes")
    assert "epoch_4.path" in checkpoints(project, "base/0")
    assert "epoch_4.path" not in checkpoints(project, "fine/0")


def test_words_name_the_runs_that_are_meant(project: paths.Project) -> None:
    write(project, main=SAVES_EPOCHS)
    exper(project, "run", "base")
    exper(project, "rerun", "base")
    exper(project, "run", "other")
    left = killed_start(project, "other")
    project.list_file("mine").write_text("base/1\nnobody/0\n")
    said = exper(project, "gc", "mine", "--keep", "last", "--yes", code=1).stderr
    assert "mine.txt names 'nobody/0', and there is no such run; skipped" in said
    sizes = [len(checkpoints(project, name)) for name in ("base/0", "base/1", "other/0")]
    assert sizes == [8, 2, 8]
    assert left.exists()


# -- git tags of trials ------------------------------------------------------------------------------------------------


def test_tags_of_trials_without_runs_go_if_that_is_asked_for(project: paths.Project) -> None:
    searching.prepare(project)
    exper(project, "search", "wide")
    exper(project, "rm", "wide+lr=0.1", "--yes")
    git(project.root, "tag", "far")
    git(project.root, "tag", "far+lr=1")  # fetched: its search was made elsewhere
    before = manager.tags(project)
    exper(project, "gc", "--yes")
    assert manager.tags(project) == before
    said = exper(project, "gc", "--tags", "--yes").stderr
    assert "gc: wide: 1 git tag of trials without runs" in said
    assert manager.tags(project) == [tag for tag in before if tag != "wide+lr=0.1"]
    assert len(json.loads(exper(project, "results", "wide", "--json").stdout)) == 3


def test_where_the_journal_of_a_search_is_damaged_its_tags_stay_and_its_results_are_shown(
    project: paths.Project,
) -> None:
    searching.prepare(project)
    exper(project, "search", "wide")
    journal = project.tag("wide").journal
    journal.write_text(journal.read_text().replace("}", "", 1))
    git(project.root, "tag", "wide+lr=7", "wide")
    left = project.tag("gone")
    left.folder.mkdir()
    left.last_id.write_text("0\n")
    said = exper(project, "gc", "--tags", "--yes", code=1).stderr
    assert "gc: wide: the storage of the search can't be used" in said
    assert "wide+lr=7" in manager.tags(project)
    assert not left.folder.exists()
    shown = exper(project, "results", "wide", "--json")
    assert len(json.loads(shown.stdout)) == 3
    assert "What follows is from the files of the runs." in shown.stderr


def test_tags_of_a_search_under_way_stay(project: paths.Project) -> None:
    searching.prepare(project, seconds="1.0", search='{"optimizer.lr": [0.1]}')
    under_way = manager.start(project, "search", "wide")
    manager.wait_for(lambda: searching.noted(project, "begun"), 60)
    git(project.root, "tag", "wide+lr=7", "wide")
    assert "nothing to remove" in exper(project, "gc", "--tags").stderr
    under_way.send_signal(signal.SIGKILL)
    under_way.communicate()
    manager.wait_for(lambda: state(project, "wide+lr=0.1/0") != "running")
    assert "wide: 1 git tag of trials" in exper(project, "gc", "--tags", "--dry-run").stderr


# -- asking, refusing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["gc", "--keep", "best"], ["rm", "base"]])
def test_a_dry_run_says_what_would_go_and_removes_nothing(project: paths.Project, words: list[str]) -> None:
    write(project, main=SAVES_EPOCHS)
    exper(project, "run", "base")
    before = everything(project)
    assert f"{words[0]}: base/0" in exper(project, *words, "--dry-run").stderr
    assert everything(project) == before
    assert "nobody to ask. Add --yes." in refused(project, *words)
    assert everything(project) == before


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_on_a_terminal_it_asks(project: paths.Project, answer: str, code: int) -> None:
    write(project, main=SAVES_EPOCHS)
    exper(project, "run", "base")
    with manager.asked(project, "gc", "--keep", "best") as terminal:
        terminal.sendline(answer)
    assert terminal.exitstatus == code
    assert len(checkpoints(project, "base/0")) == (2 if answer == "y" else 8)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--keep", "bset"], "'bset' is neither best, last nor the number of an epoch"),
        (["--keep", ""], "'' is neither"),
        (["--keep", "best,,3"], "'' is neither"),
        (["--keep", "-1"], "'-1' is neither"),
        (["nobody"], "no run has the tag 'nobody'"),
        (["../x"], "can't be a tag"),
        (["--all"], "unrecognized arguments"),
        (["--tags", "base"], "Name no runs with it."),
    ],
)
def test_bad_words_are_refused_and_nothing_goes(trained: paths.Project, words: list[str], says: str) -> None:
    killed_start(trained, "base")
    before = everything(trained)
    assert says in refused(trained, "gc", *words, "--yes")
    assert everything(trained) == before


def test_a_damaged_run_loses_nothing(project: paths.Project) -> None:
    write(project, main=SAVES_EPOCHS + "sys.exit(1)")
    exper(project, "run", "base", code=1)
    the_run(project, "base/0").record.write_text("{")
    before = everything(project)
    exper(project, "gc", "--yes")
    said = exper(project, "gc", "--keep", "best", "--yes", code=1).stderr
    assert "base/0 is damaged, so all its checkpoints stay" in said
    assert everything(project) == before


# -- kills and readers -------------------------------------------------------------------------------------------------


def test_killed_at_any_moment_the_next_call_does_the_rest_and_every_reader_sees_whole_runs(
    project: paths.Project,
) -> None:
    write(project, main=SAVES_EPOCHS)
    for tag in ("base", "other"):
        exper(project, "run", tag)
        for _ in range(2):
            exper(project, "rerun", tag)
    write(project, main=FAILS_FIRST)
    for tag in ("bad", "worse"):
        exper(project, "run", tag, code=1)
    random.seed(1)
    words = ("gc", "--keep", "last", "--yes"), ("rm", "base/1", "other/2", "bad/0", "--yes")
    for command in words * 4:
        under_way = manager.start(project, *command)
        time.sleep(random.uniform(0.05, 0.35))
        under_way.send_signal(signal.SIGKILL)
        under_way.communicate()
        for tag in {run.tag for run in project.runs()}:
            shown = json.loads(exper(project, "expels", tag, "--json").stdout)
            assert {one["status"] for one in shown} <= {"finished", "failed"}
    exper(project, *words[1])
    exper(project, *words[0])
    assert [str(run) for run in project.runs()] == ["base/0", "base/2", "other/0", "other/1", "worse/0"]
    assert manager.finished(project) == ["base/0", "base/2", "other/0", "other/1"]
    assert checkpoints(project, "base/0") == ["epoch_5.path", "epoch_last.path"]
    assert [name for name in checkpoints(project, "worse/0") if name[6].isdigit()] == [
        "epoch_2.path",
        "epoch_4.path",
        "epoch_5.path",
    ]
    left = [path.name for tag in project.tags() for path in tag.folder.glob("[!0-9]*")]
    assert set(left) <= {"last_id", "removed_ids"}
    exper(project, "rerun", "base")
    exper(project, "run", "bad", code=1)
    exper(project, "continue", "worse")
    assert [str(run) for run in project.runs()][:4] == ["bad/1", "base/0", "base/2", "base/3"]


def test_runs_and_gc_at_the_same_time_do_each_other_no_harm(project: paths.Project) -> None:
    write(project, main=FAILS_FIRST)
    exper(project, "run", "base", code=1)
    tidying = [manager.start(project, "gc", "--keep", "last", "--yes") for _ in range(2)]
    runs = [manager.start(project, "rerun", "base") for _ in range(3)]
    going_on = manager.start(project, "continue", "base/0")
    tidying += [manager.start(project, "gc", "--keep", "last", "--yes") for _ in range(2)]
    said = [one.communicate(timeout=60)[0] for one in (*runs, going_on, *tidying)]
    assert [one.returncode for one in (*runs, going_on)] == [1, 1, 1, 0], said
    assert not any("Traceback" in one for one in said)
    assert [state(project, f"base/{number}") for number in range(4)] == ["finished", "failed", "failed", "failed"]
    assert Repository(project.root).tag("base") is not None
    assert checkpoint_file.names(the_run(project, "base/1").checkpoint)


def test_real_training_goes_on_with_the_same_bits_and_every_other_command_works(tmp_path: Path) -> None:
    project = paths.Project(tmp_path / "project")
    project.root.mkdir()
    campaign.make_project(project.root)
    settings = ("epochs=5", "threads=1", "checkpoint.keep=None", "checkpoint.every_steps=20", "logger=['tensorboard']")
    exper(project, "run", "unbroken", "-f", *settings, timeout=120)
    run = the_run(project, "broken/0")
    under_way = manager.start(project, "run", "broken", "-f", *settings)
    manager.wait_for(lambda: run.history.exists() and run.history.read_text().count("\n") > 2, 60)
    under_way.send_signal(signal.SIGTERM)
    under_way.communicate()
    there = set(checkpoint_file.names(run.checkpoint))
    assert "checkpoints" in exper(project, "gc", "--keep", "last", "--yes").stderr
    assert 2 <= len(checkpoint_file.names(run.checkpoint)) < len(there)
    exper(project, "continue", "broken", timeout=120)
    assert campaign.result(run.folder) == campaign.result(the_run(project, "unbroken/0").folder)
    exper(project, "gc", "--keep", "best", "--yes")
    assert len(checkpoint_file.names(run.checkpoint)) == 1
    before = campaign.result(run.folder)
    exper(project, "evaluate", "broken/0", timeout=120)
    assert campaign.result(run.folder) == before
    exper(project, "record", "broken", "unbroken")
    assert len(json.loads(exper(project, "table", "--json").stdout)) == 2
    exper(project, "report", "broken", "unbroken")
    exper(project, "rerun", "broken/0", "-f", timeout=120)
    assert campaign.result(the_run(project, "broken/1").folder) == before


def test_a_search_that_has_begun_while_it_asked_keeps_what_it_remembers(project: paths.Project) -> None:
    searching.prepare(project, search='{"optimizer.lr": [0.1]}')
    exper(project, "search", "wide")
    exper(project, "rm", "wide+lr=0.1", "--tag", "--yes")
    git(project.root, "tag", "--delete", "wide")
    with manager.asked(project, "gc") as terminal:
        exper(project, "search", "wide")
        terminal.sendline("y")
        terminal.expect("wide: its folder is in use again, so it stays")
    assert terminal.exitstatus == 1
    assert project.tag("wide").journal.exists()
    exper(project, "results", "wide")
