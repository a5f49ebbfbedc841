"""The status of a run is derived from its record, its lock and its heartbeat."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exper.core import host_info, paths
from tests.conftest import copy_project, isolate
from tests.support import manager
from tests.support.manager import edit_record, exper, record, state, write


@pytest.fixture(scope="module")
def _killed(_template: Path, tmp_path_factory: pytest.TempPathFactory) -> paths.Project:
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home")
        project = copy_project(paths.Project(_template), folder / "project")
        write(project, main=manager.SLEEPS)
        with manager.training(project, "run", "base") as (supervisor, pid):
            os.kill(supervisor.pid, signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)
            supervisor.wait()
            manager.wait_for(lambda: state(project, "base/0") == "died")
    return project


@pytest.fixture
def died(_killed: paths.Project, tmp_path: Path) -> paths.Project:
    """Return a project with a run whose whole session was killed."""
    return copy_project(_killed, tmp_path / "it's a próject")


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


def test_a_whole_session_killed_has_died_and_can_go_on(died: paths.Project) -> None:
    assert record(died, "base/0")["status"] == "running"
    assert "died" in exper(died, "expels", "base").stdout


def test_a_reused_pid_does_not_make_it_running(died: paths.Project) -> None:
    edit_record(died, "base/0", pid=os.getpid(), pid_started=host_info.started(os.getpid()))
    assert state(died, "base/0") == "died"


def test_a_reused_pid_is_not_waited_for(project: paths.Project) -> None:
    """Training that outlives its supervisor holds the lock; another process has the supervisor's pid now."""
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


def test_another_boot_of_this_host_has_died(died: paths.Project) -> None:
    edit_record(died, "base/0", boot_id="another")
    manager.the_run(died, "base/0").heartbeat.touch()
    assert state(died, "base/0") == "died"


@pytest.mark.parametrize(("age", "expected"), [(0, "running"), (80, "running"), (100, "died"), (10**6, "died")])
def test_another_hosts_run_runs_while_its_heartbeat_is_fresh(died: paths.Project, age: int, expected: str) -> None:
    edit_record(died, "base/0", host="another", boot_id="another")
    heartbeat = manager.the_run(died, "base/0").heartbeat
    os.utime(heartbeat, (time.time() - age, time.time() - age))
    assert state(died, "base/0") == expected


def test_another_hosts_run_without_heartbeat_has_died(died: paths.Project) -> None:
    edit_record(died, "base/0", host="another", boot_id="another")
    manager.the_run(died, "base/0").heartbeat.unlink()
    assert state(died, "base/0") == "died"


def test_a_run_that_runs_elsewhere_is_not_continued_or_removed(died: paths.Project) -> None:
    edit_record(died, "base/0", host="another", boot_id="another")
    manager.the_run(died, "base/0").heartbeat.touch()
    assert "on another" in manager.refused(died, "continue", "base")
    manager.refused(died, "rm", "base", "--yes")


def test_asking_does_not_prevent_others_from_taking_the_lock(died: paths.Project) -> None:
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\nfrom pathlib import Path\n"
        "from exper.core import paths\nfrom exper.runs import status\n"
        "print('asks', flush=True)\nwhile True: status.read(paths.Run(Path(sys.argv[2])))\n"
    )
    folder = manager.the_run(died, "base/0").folder
    words = [sys.executable, "-c", script, str(died.code), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline()
        for _ in range(3):
            with manager.training(died, "continue", "base", run="base/0") as (supervisor, pid):
                os.kill(pid, signal.SIGKILL)
                assert supervisor.wait(20) == 1
        assert asking.poll() is None
        asking.kill()


@pytest.mark.parametrize("stored", ["finished", "failed", "interrupted", "pruned"])
def test_a_stored_end_is_believed(died: paths.Project, stored: str) -> None:
    edit_record(died, "base/0", status=stored)
    assert state(died, "base/0") == stored


def test_the_record_of_a_run_names_process_host_and_command(project: paths.Project) -> None:
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
