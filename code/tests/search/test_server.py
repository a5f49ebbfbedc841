"""The server of warm starts, and its trials: signals, kills, pruning."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from exper.runs import run_record
from exper.search import server as warm
from tests.conftest import CODE
from tests.support import manager
from tests.support.laboratory import SHOWS, THREADS, Laboratory
from tests.support.manager import log, state

pytestmark = pytest.mark.usefixtures("same_environment")

# Saves when it is asked to stop, as exper/training does; with `is_deaf` only the second time.
LISTENS = (
    manager.READY
    + """\
import threading
times = 0
def stop(number, frame):
    global times
    times += 1
    print("asked", signal.Signals(number).name, flush=True)
    if times > {deaf}:
        (run / "saved").touch()
        sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, stop)
def watch():
    os.read(int(os.environ["EXPER_CONTROL"]), 1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=watch, daemon=True).start()
ready()
while not (run / "go").exists():
    time.sleep(0.01)
"""
)


@pytest.fixture
def begun(
    laboratory: Laboratory, server: warm.Server, request: pytest.FixtureRequest
) -> Iterator[tuple[str, int, int]]:
    """Begin a run that waits for a signal; return its name, its pipe, and training's pid."""
    tag = laboratory.write(request.node.name.replace("[", "-").strip("]"), LISTENS.format(deaf=0))
    pipe = server.start(laboratory.request(f"{tag}/0"))
    run = manager.the_run(laboratory.project, f"{tag}/0")
    manager.wait_for((run.folder / "ready").exists)
    pid = int((run.folder / "ready").read_text())
    yield f"{tag}/0", pipe, pid
    manager.wait_for(lambda: manager.is_gone(pid))


def test_a_killed_supervisor_ends_its_training(
    begun: tuple[str, int, int], laboratory: Laboratory, server: warm.Server
) -> None:
    name, pipe, training = begun
    os.kill(manager.record(laboratory.project, name)["pid"], signal.SIGKILL)
    assert warm.wait_for_report(pipe) == {}
    manager.wait_for(lambda: manager.is_gone(training))
    manager.wait_for(lambda: state(laboratory.project, name) == "died")
    (manager.the_run(laboratory.project, name).folder / "go").touch()
    laboratory.warm(server, name)  # taken up
    assert [one["status"] for one in manager.record(laboratory.project, name)["sessions"]] == ["died", "finished"]


def test_a_pruned_run_has_its_status_and_reason(
    begun: tuple[str, int, int], laboratory: Laboratory, server: warm.Server
) -> None:
    name, pipe, _ = begun
    run = manager.the_run(laboratory.project, name)
    warm.prune(run, 3, "worse than the median")
    assert warm.wait_for_report(pipe) == {}
    record = manager.record(laboratory.project, name)
    assert (record["status"], record["exit_code"]) == ("pruned", 143)
    assert record["pruned"] == {"epoch": 3, "why": "worse than the median"}
    assert not laboratory.project.tag(run.tag).snapshot.exists()
    laboratory.warm(server, name)  # not taken up by a search
    assert len(manager.record(laboratory.project, name)["sessions"]) == 1
    assert "pruned" in manager.exper(laboratory.project, "expls").stdout
    (run.folder / "go").touch()
    assert f"continue {name}" in manager.refused(laboratory.project, "continue", run.tag)
    manager.exper(laboratory.project, "continue", name)
    record = manager.record(laboratory.project, name)
    assert record["status"] == "finished"
    assert record["pruned"] is None
    assert not run.prune.exists()


def test_a_killed_server_harms_no_trial_and_another_takes_its_place(
    begun: tuple[str, int, int], laboratory: Laboratory, server: warm.Server
) -> None:
    name, pipe, _ = begun
    laboratory.write("after", SHOWS)
    before = server.pid
    os.kill(before, signal.SIGSTOP)
    lost = server.start(laboratory.request("after/0"))
    os.kill(before, signal.SIGKILL)
    assert list(warm.wait_for_report(lost)) == ["lost"]
    manager.wait_for(lambda: manager.is_gone(before))
    laboratory.warm(server, "after/0")
    assert server.pid != before
    assert log(laboratory.project, "after/0") == ["warm"]
    assert state(laboratory.project, name) == "running"
    (manager.the_run(laboratory.project, name).folder / "go").touch()
    assert warm.wait_for_report(pipe) == {}
    assert state(laboratory.project, name) == "finished"


# A process that searches: it asks for runs, then waits for their ends.
SEARCHES = """\
import json, sys
sys.path.insert(0, {code!r})
from pathlib import Path
from exper.core import paths, signals as stop_signals
from exper.search import server as warm
with stop_signals.Signals() as signals, warm.Server(paths.Project(Path({root!r})), {threads}) as server:
    signals.receiver = server.pid
    pipes = [server.start(request) for request in json.loads(sys.argv[1])]
    print(server.pid, flush=True)
    print([warm.wait_for_report(pipe) for pipe in pipes], flush=True)
"""


@pytest.fixture
def searching(laboratory: Laboratory) -> Iterator["subprocess.Popen[str]"]:
    """Start a process that searches; two runs wait for a signal, the second is deaf to the first."""
    for deaf in (0, 1):
        if f"deaf{deaf}" not in manager.tags(laboratory.project):
            laboratory.write(f"deaf{deaf}", LISTENS.format(deaf=deaf))
    number = len(laboratory.project.tag("deaf0").runs())
    requests = [laboratory.request(f"deaf{deaf}/{number}") for deaf in (0, 1)]
    script = SEARCHES.format(code=str(CODE), root=str(laboratory.project.root), threads=THREADS)
    words = [sys.executable, "-c", script, json.dumps(requests)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        for deaf in (0, 1):
            run = manager.the_run(laboratory.project, f"deaf{deaf}/{number}")
            manager.wait_for((run.folder / "ready").exists)
        yield process
        process.kill()


def test_ctrl_c_once_saves_and_twice_stops(laboratory: Laboratory, searching: "subprocess.Popen[str]") -> None:
    assert searching.stdout is not None
    server = int(searching.stdout.readline())
    os.kill(searching.pid, signal.SIGINT)
    manager.wait_for(lambda: state(laboratory.project, "deaf0/0") == "interrupted")
    manager.wait_for(lambda: log(laboratory.project, "deaf1/0") == ["asked SIGINT"])
    assert state(laboratory.project, "deaf1/0") == "running"
    os.kill(searching.pid, signal.SIGINT)
    assert searching.stdout.readline() == "[{}, {}]\n"
    assert searching.wait(20) == 0
    assert state(laboratory.project, "deaf1/0") == "interrupted"
    assert log(laboratory.project, "deaf1/0") == ["asked SIGINT"] * 2
    assert manager.is_gone(server)


def test_a_killed_search_interrupts_its_trials(laboratory: Laboratory, searching: "subprocess.Popen[str]") -> None:
    assert searching.stdout is not None
    server = int(searching.stdout.readline())
    number = len(laboratory.project.tag("deaf0").runs()) - 1
    run = manager.the_run(laboratory.project, f"deaf0/{number}")
    deaf = manager.the_run(laboratory.project, f"deaf1/{number}")
    os.kill(searching.pid, signal.SIGKILL)
    manager.wait_for(lambda: manager.is_gone(server))
    manager.wait_for(lambda: run_record.read(run)["status"] == "interrupted")
    assert run_record.read(run)["exit_code"] == 143
    assert (run.folder / "saved").exists()
    supervisor = run_record.read(deaf)["pid"]
    assert psutil.pid_exists(supervisor)  # it waits for its training as long as that needs
    os.kill(supervisor, signal.SIGTERM)
    manager.wait_for(lambda: run_record.read(deaf)["status"] == "interrupted")
