"""`continue`: which run it takes up, what it keeps, and what it refuses."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from exper.core import paths
from exper.runs import status
from tests.support import manager
from tests.support.manager import exper, git, log, record, refused, state, write

# Fails in its first session, and ends well in the next.
FAILS_ONCE = (
    manager.READY
    + """\
print("seed", os.environ["EXPER_SEED"], "threads", os.environ["OMP_NUM_THREADS"])
sys.exit(0 if (run / "checkpoint" / "one").exists() else (run / "checkpoint" / "one").touch() or 1)
"""
)


def _failed(project: paths.Project, *words: str) -> None:
    write(project, main=FAILS_ONCE)
    exper(project, "run", "base", *words, code=1)


@pytest.mark.parametrize("words", [["continue", "base"], ["con", "base/0"], ["continue", "base", "-f"]])
def test_a_failed_run_goes_on_with_its_seed_and_threads(project: paths.Project, words: list[str]) -> None:
    _failed(project)
    exper(project, *words)
    first, second = log(project, "base/0")
    assert first == second
    assert [one["status"] for one in record(project, "base/0")["sessions"]] == ["failed", "finished"]
    assert record(project, "base/0")["started"] == record(project, "base/0")["sessions"][0]["started"]
    assert manager.finished(project) == ["base/0"]


def test_the_log_has_a_line_for_each_session(project: paths.Project) -> None:
    _failed(project)
    exper(project, "continue", "base")
    lines = manager.the_run(project, "base/0").log.read_text().splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("===")] == ["=== run base", "=== continue base/0"]


def test_a_finished_run_says_so_and_nothing_in_its_folder_changes(trained: paths.Project) -> None:
    folder = manager.the_run(trained, "base/0").folder
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in [folder, *folder.rglob("*")]}
    assert "finished already" in exper(trained, "continue", "base/0").stderr
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in [folder, *folder.rglob("*")]} == before


def test_a_line_that_a_kill_kept_from_finished_is_added(trained: paths.Project) -> None:
    trained.list_file("finished").write_text("other/3\n")
    exper(trained, "continue", "base")
    assert manager.finished(trained) == ["other/3", "base/0"]


def test_the_run_started_last_of_those_that_can_go_on_is_taken(project: paths.Project) -> None:
    _failed(project)
    exper(project, "rerun", "base", code=1)
    exper(project, "rerun", "base", code=1)
    exper(project, "continue", "base/2")
    exper(project, "continue", "base")
    assert [state(project, f"base/{number}") for number in range(3)] == ["failed", "finished", "finished"]


def test_it_trains_the_tags_code_and_not_the_working_trees(project: paths.Project) -> None:
    _failed(project)
    write(project, main="print('newer')")
    (project.code / "config.py").write_text("not static, not committed")
    exper(project, "continue", "base")
    assert "newer" not in log(project, "base/0")


def test_a_running_run_is_refused_with_pid_and_host(project: paths.Project) -> None:
    write(project, main=manager.SLEEPS)
    with manager.training(project, "run", "base") as (supervisor, _):
        for words in (["base"], ["base/0"]):
            error = refused(project, "continue", *words)
            assert f"pid {supervisor.pid} on {os.uname().nodename}" in error


def test_it_waits_for_a_run_whose_training_is_ending(project: paths.Project) -> None:
    write(
        project,
        main=manager.READY
        + """\
if (run / "saved").exists():
    sys.exit(0)
ready()
os.read(int(os.environ["EXPER_CONTROL"]), 1)
time.sleep(1.5)
(run / "saved").touch()
sys.exit(143)
""",
    )
    with manager.training(project, "run", "base") as (supervisor, _):
        supervisor.kill()
        supervisor.wait()
        assert state(project, "base/0") == "running"
        exper(project, "continue", "base")
    assert state(project, "base/0") == "finished"


def test_it_waits_for_a_run_that_has_been_asked_to_end(project: paths.Project) -> None:
    write(
        project,
        main=manager.READY
        + """\
if (run / "saved").exists():
    sys.exit(0)
def save(number, frame):
    time.sleep(1.5)
    (run / "saved").touch()
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
ready()
time.sleep(60)
""",
    )
    with manager.training(project, "run", "base") as (supervisor, _):
        supervisor.terminate()
        manager.wait_for(lambda: status.is_ending(manager.the_run(project, "base/0")))
        assert state(project, "base/0") == "running"
        exper(project, "continue", "base")
        assert supervisor.wait() == 143
    assert [one["status"] for one in record(project, "base/0")["sessions"]] == ["interrupted", "finished"]
    assert not status.is_ending(manager.the_run(project, "base/0"))


def test_of_two_at_once_one_is_refused_or_finds_it_finished(project: paths.Project, tmp_path: Path) -> None:
    _failed(project)
    pace = manager.git_that(tmp_path / "bin", 'sleep 0.05; exec "$@"')
    both = [manager.start(project, "continue", "base", env=os.environ | {"PATH": pace}) for _ in range(2)]
    said = [one.communicate(timeout=30)[0] for one in both]
    assert sorted(one.returncode for one in both) == [0, 2], said
    assert len(record(project, "base/0")["sessions"]) == 2


def test_one_that_another_has_finished_meanwhile_is_not_trained_again(project: paths.Project, tmp_path: Path) -> None:
    _failed(project)
    slow = manager.git_that(tmp_path / "bin", 'sleep 0.3; exec "$@"')
    late = manager.start(project, "continue", "base", env=os.environ | {"PATH": slow})
    manager.wait_for((tmp_path / "bin" / "count").exists)  # it has chosen the run
    exper(project, "continue", "base")
    late.communicate(timeout=30)
    assert (late.returncode, len(record(project, "base/0")["sessions"])) == (2, 2)


def test_a_refusal_of_main_leaves_the_record_as_it_was(project: paths.Project) -> None:
    write(
        project,
        main=manager.READY
        + "if (run / 'x').exists():\n    (run / 'refused').write_text('no GPU\\n')\n    sys.exit(2)\n"
        + "(run / 'x').touch()\n1/0\n",
    )
    exper(project, "run", "base", code=1)
    before = manager.the_run(project, "base/0").record.read_bytes()
    assert refused(project, "continue", "base").splitlines()[-1] == "continue: no GPU"
    assert manager.the_run(project, "base/0").record.read_bytes() == before
    assert not manager.the_run(project, "base/0").refused.exists()
    assert state(project, "base/0") == "failed"


def test_a_moved_tag_is_refused_and_says_how_to_put_it_back(project: paths.Project) -> None:
    _failed(project)
    commit = record(project, "base/0")["commit"]
    write(project, main="print('newer')")
    git(project.root, "tag", "--force", "base")
    assert f"git tag -f base {commit}" in refused(project, "continue", "base")
    git(project.root, "tag", "-f", "base", commit)
    exper(project, "continue", "base")


def test_a_deleted_tag_is_refused_and_says_how_to_bring_it_back(project: paths.Project) -> None:
    _failed(project)
    git(project.root, "tag", "--delete", "base")
    error = refused(project, "continue", "base")
    assert f"git tag base {record(project, 'base/0')['commit']}" in error


def test_a_mistyped_tag_gets_the_nearest(project: paths.Project) -> None:
    exper(project, "run", "baseline")
    assert "Did you mean 'baseline'?" in refused(project, "continue", "basline")


@pytest.mark.parametrize(
    "name", ["nope", "base/1", "base/x", "base/-1", "base/0/0", "../base", "base/" + "1" * 5000, "", "/", "base/²",
             "\x1b[31m", "base/\x1b[31m", "\udcff"]
)  # fmt: skip
def test_what_is_no_run_is_refused(trained: paths.Project, name: str) -> None:
    for command in ("continue", "rerun", "expels", "rm"):
        assert "\x1b" not in refused(trained, command, os.fsencode(name))  # type: ignore[arg-type]


def test_an_untagged_run_is_refused(project: paths.Project) -> None:
    shutil.copytree(project.code / "exper", project.result / "untagged" / "0")
    assert "untagged" in refused(project, "continue", "untagged")
    assert "untagged" in refused(project, "continue", "untagged/0")


def test_exact_refuses_other_versions_and_without_it_they_are_named(project: paths.Project) -> None:
    _failed(project)
    versions = record(project, "base/0")["versions"]
    manager.edit_record(project, "base/0", versions=versions | {"python": "3.9.1"})
    before = manager.the_run(project, "base/0").record.read_bytes()
    assert "python 3.9.1 -> " in refused(project, "continue", "base", "--exact")
    assert manager.the_run(project, "base/0").record.read_bytes() == before
    assert "python 3.9.1 -> " in exper(project, "continue", "base").stderr


def test_a_package_that_the_code_does_not_ask_for_may_differ(project: paths.Project) -> None:
    _failed(project)
    versions = record(project, "base/0")["versions"]
    manager.edit_record(project, "base/0", versions=versions | {"tqdm": "0.1"})
    exper(project, "continue", "base", "--exact")


def test_training_is_told_what_was_recorded_and_whether_it_must_be_the_same(project: paths.Project) -> None:
    write(
        project,
        main="""
        import json, os, sys
        folder = os.environ["EXPER_RUN"]
        now = json.load(open(folder + "/run.json"))
        print(now["recorded"], now["exact"])
        json.dump({"device": {"name": "cpu"}, "data": 1}, open(folder + "/statistic.json", "w"))
        sys.exit(1)
        """,
    )
    exper(project, "run", "base", code=1)
    exper(project, "continue", "base", "--exact", code=1)
    assert log(project, "base/0") == ["None False", "{'device': {'name': 'cpu'}, 'data': 1} True"]


def test_an_interrupted_continue_is_interrupted_again(project: paths.Project) -> None:
    write(project, main=manager.SAVES)
    for words in (["run", "base"], ["continue", "base"]):
        with manager.training(project, *words) as (supervisor, _):
            supervisor.send_signal(signal.SIGTERM)
            assert supervisor.wait(20) == 143
    assert [one["status"] for one in record(project, "base/0")["sessions"]] == ["interrupted"] * 2


def test_a_run_of_an_older_manager_with_fewer_keys_goes_on(project: paths.Project) -> None:
    """What format 1 has always had; a newer manager may write more."""
    _failed(project)
    at = manager.the_run(project, "base/0")
    now = json.loads(at.record.read_text())
    for key in ("recorded", "exact", "different", "versions", "environment", "reproducible"):
        now.pop(key)
    at.record.write_text(json.dumps(now))
    exper(project, "continue", "base")


def test_a_run_of_a_newer_manager_is_refused(project: paths.Project) -> None:
    _failed(project)
    manager.edit_record(project, "base/0", format=99)
    assert "newer Exper" in refused(project, "continue", "base")


def test_waiting_is_short_where_nothing_is_ending(project: paths.Project) -> None:
    write(project, main=manager.SLEEPS)
    with manager.training(project, "run", "base"):
        began = time.monotonic()
        refused(project, "continue", "base")
        assert time.monotonic() - began < 20  # where something is ending: 30
