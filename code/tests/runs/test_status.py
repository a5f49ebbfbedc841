"""A run's status is derived, not believed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from exper.core import host_info, paths
from tests.support import manager
from tests.support.manager import edit_record, exper, record, state, write


def _died(project: paths.Project) -> None:
    """Leave a run whose whole session was killed."""
    write(project, main=manager.SLEEPS)
    with manager.training(project, "run", "base") as (supervisor, pid):
        os.kill(supervisor.pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        supervisor.wait()
        manager.wait_for(lambda: state(project, "base/0") == "died")


def test_a_training_run_is_running(project: paths.Project) -> None:
    write(project, main=manager.SLEEPS)
    with manager.training(project, "run", "base"):
        assert state(project, "base/0") == "running"
        assert "1 running" in exper(project, "expls").stdout


def test_training_killed_alone_has_failed_with_the_signal_named(project: paths.Project) -> None:
    write(project, main=manager.SLEEPS)
    with manager.training(project, "run", "base") as (supervisor, pid):
        os.kill(pid, signal.SIGKILL)
        assert supervisor.wait(20) == 1
    assert state(project, "base/0") == "failed"
    assert record(project, "base/0")["signal"] == "SIGKILL"


def test_a_supervisor_killed_alone_leaves_it_running_until_training_ends(project: paths.Project) -> None:
    write(project, main=manager.WATCHES)
    with manager.training(project, "run", "base") as (supervisor, _):
        supervisor.kill()
        supervisor.wait()
        assert state(project, "base/0") == "running"
        manager.wait_for(lambda: state(project, "base/0") == "died")
    assert (manager.the_run(project, "base/0").folder / "saved").exists()


def test_a_whole_session_killed_has_died_and_can_go_on(project: paths.Project) -> None:
    _died(project)
    assert record(project, "base/0")["status"] == "running"
    assert "died" in exper(project, "expels", "base").stdout


def test_a_reused_pid_does_not_make_it_running(project: paths.Project) -> None:
    _died(project)
    edit_record(project, "base/0", pid=os.getpid(), pid_started=host_info.started(os.getpid()))
    assert state(project, "base/0") == "died"


def test_a_reused_pid_is_not_waited_for(project: paths.Project) -> None:
    """The lock is held by training that outlives its supervisor, whose pid somebody else has now."""
    write(project, main=manager.WATCHES.replace("sys.exit(143)", "").replace("ready()\n", "ready()\n", 1))
    with manager.training(project, "run", "base") as (supervisor, _):
        supervisor.kill()
        supervisor.wait()
        edit_record(project, "base/0", pid=os.getpid())
        began = time.monotonic()
        again = manager.start(project, "continue", "base")
        manager.wait_for(lambda: len(record(project, "base/0")["sessions"]) == 2 or again.poll() is not None)
        os.killpg(again.pid, signal.SIGKILL)
        again.communicate()
        assert again.returncode == -signal.SIGKILL
        assert time.monotonic() - began < 20


def test_another_boot_of_this_host_has_died(project: paths.Project) -> None:
    _died(project)
    edit_record(project, "base/0", boot_id="another")
    manager.the_run(project, "base/0").heartbeat.touch()
    assert state(project, "base/0") == "died"


@pytest.mark.parametrize(("age", "expected"), [(0, "running"), (80, "running"), (100, "died"), (10**6, "died")])
def test_another_hosts_run_is_running_while_its_heart_beats(project: paths.Project, age: int, expected: str) -> None:
    _died(project)
    edit_record(project, "base/0", host="another", boot_id="another")
    heartbeat = manager.the_run(project, "base/0").heartbeat
    os.utime(heartbeat, (time.time() - age, time.time() - age))
    assert state(project, "base/0") == expected


def test_another_hosts_run_without_heartbeat_has_died(project: paths.Project) -> None:
    _died(project)
    edit_record(project, "base/0", host="another", boot_id="another")
    manager.the_run(project, "base/0").heartbeat.unlink()
    assert state(project, "base/0") == "died"


def test_a_run_that_runs_elsewhere_is_not_continued_or_removed(project: paths.Project) -> None:
    _died(project)
    edit_record(project, "base/0", host="another", boot_id="another")
    manager.the_run(project, "base/0").heartbeat.touch()
    assert "on another" in manager.refused(project, "continue", "base")
    manager.refused(project, "rm", "base", "--yes")


def test_asking_does_not_get_in_the_way_of_who_wants_the_lock(project: paths.Project) -> None:
    _died(project)
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\nfrom exper import status, paths\nfrom pathlib import Path\n"
        "print('asks', flush=True)\nwhile True: status.read(paths.Run(Path(sys.argv[2])))\n"
    )
    folder = manager.the_run(project, "base/0").folder
    words = [sys.executable, "-c", script, str(project.code), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        asking.stdout.readline()
        for _ in range(3):
            with manager.training(project, "continue", "base", run="base/0") as (supervisor, pid):
                os.kill(pid, signal.SIGKILL)
                assert supervisor.wait(20) == 1
        asking.kill()


@pytest.mark.parametrize("stored", ["finished", "failed", "interrupted", "pruned"])
def test_what_has_ended_is_as_stored(project: paths.Project, stored: str) -> None:
    exper(project, "run", "base")
    edit_record(project, "base/0", status=stored)
    assert state(project, "base/0") == stored


def test_the_record_of_a_run_tells_who_where_and_when(project: paths.Project) -> None:
    write(project, main=manager.SLEEPS)
    with manager.training(project, "run", "base") as (supervisor, _):
        now = record(project, "base/0")
        (session,) = now["sessions"]
        assert now["pid"] == session["pid"] == supervisor.pid
        assert (now["host"], now["boot_id"]) == (host_info.host(), host_info.boot_id())
        assert host_info.is_alive(now["pid"], now["pid_started"])
        assert now["ended"] is None
        assert session["command"] == ["run", "base"]
        assert json.loads(manager.the_run(project, "base/0").record.read_text())["versions"]["python"]
