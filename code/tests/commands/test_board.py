"""`exper board`, and the TensorBoard that `run` brings up in the background: one, found again, never in the way."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from exper.core import paths
from tests.support import boards, manager
from tests.support.boards import address_in, curve, of_project, runs
from tests.support.manager import exper, refused, state, wait_for, write

UP = r"TensorBoard is at (http://\S+)"


@pytest.fixture(autouse=True)
def _ended(project: paths.Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Take away what keeps tests from starting a TensorBoard, and end those that this test has started."""
    monkeypatch.delenv("CI")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    write(project, main=boards.CURVES, config=boards.CONFIG)
    try:
        yield
    finally:
        boards.end_all(project)


def typed(project: paths.Project, *words: str) -> str:
    """Type a command on a terminal; return what the terminal shows."""
    program, *rest = manager.command(project, *words)
    with pexpect.spawn(program, rest, cwd=project.root, timeout=30, encoding="utf-8") as terminal:
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == 0
        return str(terminal.before)


def only(project: paths.Project) -> psutil.Process:
    """Return the one TensorBoard of a project."""
    (process,) = of_project(project)
    return process


def test_run_brings_one_up_and_says_where_it_is(project: paths.Project) -> None:
    write(project, main=boards.CURVES + "seconds_until('go')\nprint('goes on')\n")
    program, *words = manager.command(project, "run", "base")
    with pexpect.spawn(program, words, cwd=project.root, timeout=30, encoding="utf-8") as terminal:
        terminal.expect(UP)
        address = terminal.match[1]
        wait_for(lambda: curve(address, "base/0", "val/acc") == [(1, 1.0), (2, 2.0), (3, 3.0)])
        (manager.the_run(project, "base/0").folder / "go").touch()
        terminal.expect("goes on")
        terminal.expect(pexpect.EOF)
        assert UP[:10] not in terminal.before
    assert state(project, "base/0") == "finished"


def test_it_outlives_the_shell_and_is_found_again(project: paths.Project) -> None:
    address = address_in(exper(project, "board").stdout)  # in a session of its own that is over now
    pid = only(project).pid
    assert f"is at {address}" in typed(project, "run", "base")
    again = exper(project, "board").stdout
    assert f"{address} (pid {pid} on" in again
    wait_for(lambda: runs(address) == ["base/0"])
    exper(project, "rm", "base", "--yes")
    wait_for(lambda: runs(address) == [])
    assert only(project).pid == pid


def test_stop_ends_it_and_keeps_run_from_starting_another(project: paths.Project, tmp_path: Path) -> None:
    exper(project, "board")
    process = only(project)
    children = process.children()
    assert "has ended" in exper(project, "board", "stop").stdout
    assert all(manager.is_gone(one.pid) for one in (process, *children))
    assert not project.board.record.exists()
    assert "No TensorBoard runs" in exper(project, "board", "stop").stdout
    assert "TensorBoard" not in typed(project, "run", "base")
    assert of_project(project) == []
    address_in(exper(project, "board").stdout)
    assert "TensorBoard" in typed(project, "rerun", "base")


@pytest.mark.parametrize("reason", ["CI", "no terminal", "logger"])
def test_run_starts_none(project: paths.Project, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason == "CI":
        monkeypatch.setenv("CI", "true")
    if reason == "logger":
        write(project, config="epochs = 3\nlogger = []\n")
    shown = exper(project, "run", "base").stderr if reason == "no terminal" else typed(project, "run", "base")
    assert "TensorBoard" not in shown
    assert not project.board.folder.exists()
    assert of_project(project) == []


def test_asked_for_it_starts_in_ci_as_well(project: paths.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    address_in(exper(project, "board").stdout)


def test_those_that_start_at_once_start_one(project: paths.Project) -> None:
    exper(project, "run", "base")
    started = [manager.start(project, "board") for _ in range(4)]
    said = [one.communicate(timeout=60)[0] for one in started]
    assert len(set(map(address_in, said))) == 1
    wait_for(lambda: len(of_project(project)) == 1)


def test_a_killed_one_is_not_believed_and_replaced(project: paths.Project) -> None:
    exper(project, "board")
    killed = only(project)
    children = killed.children()
    killed.kill()
    wait_for(lambda: all(manager.is_gone(one.pid) for one in (killed, *children)))
    assert project.board.record.exists()
    said = typed(project, "run", "base")
    assert f"pid {killed.pid} " not in exper(project, "board").stdout
    assert runs(address_in(exper(project, "board").stdout)) == ["base/0"]
    assert "TensorBoard is" in said


def test_a_record_without_its_process_ends_nobody(project: paths.Project) -> None:
    project.board.folder.mkdir(parents=True)
    ours = {"address": "http://localhost:1/", "pid": os.getpid(), "pid_started": psutil.Process().create_time()}
    project.board.record.write_text(json.dumps(ours))
    assert "No TensorBoard runs" in exper(project, "board", "stop").stdout


def test_a_failure_is_a_line(project: paths.Project) -> None:
    (project.code / "exper" / "views" / "hparams.py").write_text("import nothing_of_that_name\n")
    manager.commit(project)
    write(project, main=manager.READY + "seconds_until('go')\n")
    program, *words = manager.command(project, "run", "base")
    with pexpect.spawn(program, words, cwd=project.root, timeout=30, encoding="utf-8") as terminal:
        terminal.expect("exper: TensorBoard did not start: .*nothing_of_that_name.*\n")
        (manager.the_run(project, "base/0").folder / "go").touch()
        terminal.expect("finished")
        terminal.expect(pexpect.EOF)
    assert "nothing_of_that_name" in exper(project, "board", code=1).stderr
    assert "nothing_of_that_name" in refused(project, "itb", "base")


def test_it_goes_on_without_the_code_and_ends_without_the_results(project: paths.Project) -> None:
    address = address_in(exper(project, "board").stdout)
    process = only(project)
    children = process.children()
    exper(project, "run", "base")
    shutil.rmtree(project.code)
    wait_for(lambda: runs(address) == ["base/0"])
    found = boards.post(address, "experiment/defaultExperimentId/data/plugin/hparams/experiment", {})
    assert "hparam/optimizer.lr" in [one["name"] for one in found["hparamInfos"]]
    shutil.rmtree(project.result)
    wait_for(lambda: all(manager.is_gone(one.pid) for one in (process, *children)))


def test_serve_is_for_the_foreground_and_ends_with_a_signal(project: paths.Project) -> None:
    serving = manager.start(project, "board", "serve")
    assert serving.stdout is not None
    with serving:
        try:
            address = address_in(serving.stdout.readline())
            assert runs(address) == []
            assert "is running already" in exper(project, "board", "serve").stderr
            serving.send_signal(signal.SIGINT)
            assert serving.wait(30) == 130
        finally:
            serving.kill()
    assert not project.board.record.exists()


def test_a_stop_while_it_starts(project: paths.Project) -> None:
    starting = manager.start(project, "board", "serve")
    wait_for(project.board.record.exists)
    assert "has ended" in exper(project, "board", "stop").stdout
    starting.communicate(timeout=30)
    assert starting.returncode == 143


def test_one_that_runs_elsewhere_is_said(project: paths.Project) -> None:
    exper(project, "board")
    record = json.loads(project.board.record.read_text()) | {"host": "elsewhere", "boot_id": "another"}
    project.board.record.write_text(json.dumps(record))
    assert "on elsewhere" in exper(project, "board").stdout
    assert "it runs on elsewhere" in refused(project, "board", "stop")


def test_a_wrong_word_is_refused(project: paths.Project) -> None:
    assert "'stat'" in refused(project, "board", "stat")


def test_a_run_by_hand_brings_it_up_too(project: paths.Project) -> None:
    body = """\
        import os, pathlib, sys
        sys.path.append(str(pathlib.Path(__file__).parent))
        from exper.core import paths
        from exper.runs.untagged import untagged_run
        with untagged_run(paths.Project(pathlib.Path(__file__).resolve().parent.parent), ["python"]) as environment:
            print("trains")
        """
    write(project, main=body)
    words = [str(project.code / "main.py")]
    with pexpect.spawn(sys.executable, words, cwd=project.root, timeout=30, encoding="utf-8") as terminal:
        terminal.expect("trains")
        terminal.expect("TensorBoard is")
        terminal.expect(pexpect.EOF)
    assert len(of_project(project)) == 1
