"""Results on a disk that several hosts share, and copies of it: no promise needs a lock that another host can't see.

The second host name is real; a second kernel is simulated by its record.
"""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exper.core import host_info, lock, paths
from exper.core.errors import Refused
from exper.repository.repository import Repository
from exper.runs import lifecycle, lists, resume, run_record, staging
from tests.support import manager
from tests.support.manager import edit_record, exper, record, refused, state, write

_ELSEWHERE = {"host": "node7", "boot_id": "another boot of another kernel"}
_OTHER_NAME = ["unshare", "--user", "--map-root-user", "--uts", "sh", "-c", 'hostname node2 && exec "$@"', "sh"]
_CAN_RENAME = shutil.which("unshare") and not subprocess.run([*_OTHER_NAME, "true"], capture_output=True).returncode


def _pass_seconds(project: paths.Project, name: str, seconds: float) -> None:
    """Make the last heartbeat of a run older."""
    os.utime(manager.the_run(project, name).heartbeat, (time.time() - seconds,) * 2)


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed: no copy was tried")
def test_a_copy_of_a_run_in_the_middle_is_readable_and_goes_on_once_it_is_dead(
    project: paths.Project, tmp_path: Path
) -> None:
    write(project, main=manager.WAITS)
    copy = paths.Project(tmp_path / "copy")
    with manager.training(project, "run", "base"):
        manager.git(project.root, "clone", "--quiet", ".", str(copy.root))
        subprocess.run(["rsync", "-a", f"{project.result}/", f"{copy.result}/"], check=True)
        edit_record(copy, "base/0", **_ELSEWHERE)
        assert "1 running" in exper(copy, "expls").stdout
        assert "on node7" in refused(copy, "continue", "base")
        assert "worked on" in refused(copy, "rm", "base/0", "--yes")
        _pass_seconds(copy, "base/0", 91)
        assert state(copy, "base/0") == "died"
        (manager.the_run(copy, "base/0").folder / "go").touch()
        exper(copy, "continue", "base")
        assert state(copy, "base/0") == "finished"
        assert state(project, "base/0") == "running"
    assert [one["host"] for one in record(copy, "base/0")["sessions"]] == ["node7", host_info.host()]


def test_a_run_that_another_host_has_just_taken_up_is_refused(project: paths.Project) -> None:
    write(project, main="raise SystemExit(1)")
    exper(project, "run", "base", code=1)
    run = manager.the_run(project, "base/0")
    repository = Repository(project.root)
    seen = run_record.read(run)
    now = run_record.begin(seen, ["continue", "base/0"])
    now["sessions"][-1] |= _ELSEWHERE
    run_record.write(run, now | _ELSEWHERE)  # between our look at the run and our start
    with pytest.raises(Refused, match="another process has just worked on"):
        lifecycle.resume(
            project, run, seen, run_record.expected(run, [], exact=False), ["continue"], repository=repository
        )
    run.heartbeat.touch()
    assert resume.wait_for_end(run) == "running"
    assert "on node7" in refused(project, "continue", "base")


def test_a_short_lock_of_another_host_is_waited_for_and_named(tmp_path: Path) -> None:
    (tmp_path / "lock.host").symlink_to("another boot@node7")
    with pytest.raises(Refused, match=r"node7 has held .* remove that file"), lock.held(tmp_path / "lock", 0.1):
        pass
    with concurrent.futures.ThreadPoolExecutor() as pool:
        entered = pool.submit(lambda: lock.held(tmp_path / "lock", 20).__enter__())
        time.sleep(0.1)
        assert not entered.done()
        (tmp_path / "lock.host").unlink()
        entered.result(20)


def test_what_a_killed_process_of_this_host_has_left_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock.host").symlink_to(f"{host_info.boot_id()}@{host_info.host()}")
    with lock.held(tmp_path / "lock", 5):
        assert (tmp_path / "lock.host").is_symlink()
    assert not (tmp_path / "lock.host").is_symlink()


@pytest.mark.skipif(not _CAN_RENAME, reason="no second host name can be had here: no folder was shared by two")
def test_two_hosts_start_runs_at_once_and_lose_none(project: paths.Project) -> None:
    exper(project, "run", "base")
    here = manager.command(project, "rerun", "base")
    starts = [subprocess.Popen([*prefix, *here], cwd=project.root) for prefix in [[], _OTHER_NAME] * 3]
    assert [one.wait(60) for one in starts] == [0] * 6
    runs = [f"base/{number}" for number in range(7)]
    assert [state(project, run) for run in runs] == ["finished"] * 7
    assert sorted(manager.finished(project)) == runs
    assert {record(project, run)["host"] for run in runs} == {host_info.host(), "node2"}
    assert not project.lock.with_name(".lock.host").is_symlink()


def test_lines_of_a_list_wait_for_another_host(project: paths.Project) -> None:
    project.lists.mkdir(parents=True)
    (project.lists / ".lock.host").symlink_to("another boot@node7")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        appended = pool.submit(lists.append, project, "finished", "base/0")
        time.sleep(0.1)
        assert manager.finished(project) == []
        (project.lists / ".lock.host").unlink()
        assert appended.result(20) == ["base/0"]


@pytest.mark.skipif(not _CAN_RENAME, reason="unshare is missing or refused: no second host name")
def test_what_another_host_is_at_work_in_stays_until_it_is_old(project: paths.Project) -> None:
    exper(project, "run", "base")
    program = [sys.executable, "-c", "from exper.runs import staging; print(staging.unique_name())"]
    environment = os.environ | {"PYTHONPATH": str(project.code)}
    names = [subprocess.check_output([*_OTHER_NAME, *program], env=environment, text=True).strip() for _ in range(2)]
    theirs = [project.verifications / f"base-0-{names[0]}", project.tag("base").folder / f".new-{names[1]}"]
    ours = project.tag("base").folder / f".new-{staging.unique_name()}"
    for folder in (*theirs, ours):
        folder.mkdir(parents=True)
    exper(project, "gc", "--yes")
    exper(project, "rerun", "base")
    assert [folder.exists() for folder in (*theirs, ours)] == [True, True, False]
    for folder in theirs:
        os.utime(folder, (time.time() - 4000,) * 2)
    exper(project, "gc", "--yes")
    assert [folder.exists() for folder in theirs] == [False, False]
