"""Training under its supervisor: terminal, output, closed pipes, Ctrl-C and Ctrl-Z, and processes it leaves behind."""

import os
import resource
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest

from exper.core import paths
from exper.runs import status, supervisor
from tests.support import manager
from tests.support.manager import exper, log, record, state, write


def _line(project: paths.Project, *words: str) -> str:
    return shlex.join(manager.command(project, *words))


def _shell(project: paths.Project, program: str = "bash", **options: Any) -> "pexpect.spawn[str]":
    """Start an interactive shell in the project."""
    arguments = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[program]
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program}")
    env = os.environ | {"PS1": "ready> ", "PROMPT": "ready> "}
    terminal = pexpect.spawn(program, arguments, cwd=project.root, timeout=20, encoding="utf-8", env=env, **options)
    terminal.expect("ready> ")
    return terminal


# -- as on a terminal --------------------------------------------------------------------------------------------------


def test_training_sees_a_terminal_of_the_users_size_and_colours(project: paths.Project) -> None:
    about = "sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size(), os.environ['TERM']"
    write(project, main=f"import os, sys; print('saw', {about})")
    with _shell(project, dimensions=(33, 111)) as terminal:
        terminal.sendline(_line(project, "run", "base"))
        terminal.expect("saw .*\n")
        assert "saw True True os.terminal_size(columns=111, lines=33) xterm" in terminal.after


def test_a_new_size_of_the_window_reaches_training(project: paths.Project) -> None:
    main = manager.READY + "ready()\nwhile os.get_terminal_size().columns != 50: time.sleep(0.05)\nprint('saw it')\n"
    write(project, main=main)
    with _shell(project, dimensions=(33, 111)) as terminal:
        terminal.sendline(_line(project, "run", "base"))
        manager.wait_for((manager.the_run(project, "base/0").folder / "ready").exists)
        terminal.setwinsize(20, 50)
        terminal.expect("saw it")


def test_without_a_terminal_it_sees_80_columns_and_no_colours(project: paths.Project) -> None:
    write(
        project, main="import os, sys; print(sys.stdout.isatty(), os.get_terminal_size().columns, os.environ['TERM'])"
    )
    exper(project, "run", "base")
    assert log(project, "base/0") == ["True 80 dumb"]


def test_breakpoint_works_on_a_terminal(project: paths.Project) -> None:
    write(project, main="secret = 40\nbreakpoint()\nprint('went on')\n")
    with _shell(project) as terminal:
        terminal.sendline(_line(project, "run", "base"))
        terminal.expect_exact("(Pdb) ")
        terminal.sendline("p secret + 2")
        terminal.expect("42")
        terminal.expect_exact("(Pdb) ")
        terminal.sendline("c")
        terminal.expect("went on")
        terminal.expect("ready> ")
    assert state(project, "base/0") == "finished"
    assert "went on" in log(project, "base/0")


def test_a_terminal_that_a_killed_training_left_raw_is_put_right(project: paths.Project) -> None:
    write(project, main="import os, signal, tty\ntty.setraw(0)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with _shell(project) as terminal:
        terminal.sendline("before=$(stty -g)")
        terminal.expect("ready> ")
        terminal.sendline(_line(project, "run", "base") + '; [ "$before" = "$(stty -g)" ] && echo same-$((1+1))')
        terminal.expect("same-2")


@pytest.mark.parametrize("program", ["bash", "zsh"])
@pytest.mark.parametrize("main", ["SAVES", "SLEEPS"])
def test_ctrl_c_ends_a_loop_around_run(project: paths.Project, program: str, main: str) -> None:
    write(project, main=getattr(manager, main))
    with _shell(project, program) as terminal:
        terminal.sendline(f"for i in 0 1 2; do {_line(project, 'run')} t$i; done; echo status $?")
        manager.wait_for((manager.the_run(project, "t0/0").folder / "ready").exists)
        terminal.sendcontrol("c")
        terminal.expect("ready> ")
        assert state(project, "t0/0") == "interrupted"
        assert manager.tags(project) == ["t0"]


def test_ctrl_c_in_a_script_ends_the_script(project: paths.Project) -> None:
    write(project, main=manager.SLEEPS)
    (project.root / "go.sh").write_text(f"{_line(project, 'run', 'base')}\necho went on\n")
    words = [str(project.root / "go.sh")]
    with pexpect.spawn("bash", words, cwd=project.root, timeout=20, encoding="utf-8") as terminal:
        manager.wait_for((manager.the_run(project, "base/0").folder / "ready").exists)
        terminal.sendcontrol("c")
        terminal.expect(pexpect.EOF)
        assert "went on" not in terminal.before
    assert state(project, "base/0") == "interrupted"


@pytest.mark.parametrize("program", ["bash", "zsh"])
def test_ctrl_z_stops_training_and_fg_goes_on(project: paths.Project, program: str) -> None:
    write(project, main=manager.WAITS)
    with _shell(project, program) as terminal:
        terminal.sendline(_line(project, "run", "base"))
        folder = manager.the_run(project, "base/0").folder
        manager.wait_for((folder / "ready").exists)
        training = psutil.Process(int((folder / "ready").read_text()))
        terminal.sendcontrol("z")
        terminal.expect("(?i)stopped|suspended")
        terminal.expect("ready> ")
        manager.wait_for(lambda: training.status() == psutil.STATUS_STOPPED)
        (folder / "go").touch()
        terminal.sendline("fg")
        terminal.expect("done")
        terminal.expect("ready> ")
    assert state(project, "base/0") == "finished"


def test_in_the_background_it_goes_on_and_ends(project: paths.Project) -> None:
    write(project, main=manager.WAITS)
    with _shell(project) as terminal:
        terminal.sendline(_line(project, "run", "base") + " &")
        folder = manager.the_run(project, "base/0").folder
        manager.wait_for((folder / "ready").exists)
        terminal.sendline("echo still-$((1+1))")
        terminal.expect("still-2")
        (folder / "go").touch()
        terminal.sendline("wait; echo waited-$?")
        terminal.expect("waited-0")
    assert state(project, "base/0") == "finished"


# -- who listens goes away ---------------------------------------------------------------------------------------------


def test_a_closed_pipe_does_not_end_training(project: paths.Project) -> None:
    write(project, main="for number in range(20000): print('line', number)\n")
    done = subprocess.run(
        ["bash", "-c", f"{_line(project, 'run', 'base')} | head -n 1"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "line 0\n"
    assert "Traceback" not in done.stderr
    manager.wait_for(lambda: state(project, "base/0") == "finished")
    assert log(project, "base/0")[-1] == "line 19999"


def test_a_closed_terminal_does_not_end_training(project: paths.Project) -> None:
    write(project, main=manager.WAITS)
    terminal = _shell(project)
    terminal.sendline(_line(project, "run", "base"))
    folder = manager.the_run(project, "base/0").folder
    manager.wait_for((folder / "ready").exists)
    terminal.close(force=True)
    time.sleep(0.3)
    assert state(project, "base/0") == "running"
    (folder / "go").touch()
    manager.wait_for(lambda: state(project, "base/0") == "finished")
    assert log(project, "base/0")[-1] == "done"


# -- children ----------------------------------------------------------------------------------------------------------


def test_what_grandchildren_print_is_in_the_log(project: paths.Project) -> None:
    children = "subprocess.run(['sh', '-c', 'echo out; echo err >&2'])\nos.system('echo system')\n"
    write(project, main=f"import os, subprocess\n{children}")
    exper(project, "run", "base")
    assert log(project, "base/0") == ["out", "err", "system"]


@pytest.mark.parametrize(
    "child",
    ["sleep 100", "while :; do echo noise; sleep 0.05; done", "yes", "trap '' HUP; sleep 100 >/dev/null"],
    ids=["silent", "chatty", "flood", "elsewhere"],
)
def test_a_grandchild_that_outlives_training_does_not_hang_the_end(project: paths.Project, child: str) -> None:
    write(
        project,
        main=manager.READY
        + f"""\
import subprocess
child = subprocess.Popen(["sh", "-c", {child!r}], start_new_session=True)
(run / "child").write_text(str(child.pid))
print("done")
""",
    )
    try:
        exper(project, "run", "base", timeout=30)
    finally:
        os.killpg(int((manager.the_run(project, "base/0").folder / "child").read_text()), signal.SIGKILL)
    assert "done" in log(project, "base/0")
    assert state(project, "base/0") == "finished"


def test_training_that_closes_its_output_is_waited_for(project: paths.Project) -> None:
    closes = "print('bye', flush=True)\nos.close(1)\nos.close(2)\n"
    write(project, main=manager.READY + closes + "time.sleep(0.5)\n(run / 'end').touch()\nos._exit(0)\n")
    exper(project, "run", "base")
    assert (manager.the_run(project, "base/0").folder / "end").exists()
    assert state(project, "base/0") == "finished"


def test_the_heartbeat_file_is_touched(project: paths.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    exper(project, "run", "base")
    heartbeat = manager.the_run(project, "base/0").heartbeat
    monkeypatch.setattr(status, "HEARTBEAT_SECONDS", 0.05)
    with supervisor.heartbeat(manager.the_run(project, "base/0")):
        os.utime(heartbeat, (1, 1))
        manager.wait_for(lambda: heartbeat.stat().st_mtime > 1)


def test_a_full_disk_under_the_log_does_not_end_training(project: paths.Project, tmp_path: Path) -> None:
    """The limit stands in for a disk: writing fails, with another number."""
    write(project, main="import signal\nfor number in range(50000): print('line', number)\nprint('end')\n")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = exper(project, "run", "base", preexec_fn=limit)
    assert "end\n" in done.stdout
    assert "the log misses lines" in done.stdout + done.stderr
    assert record(project, "base/0")["status"] == "finished"


@manager.can_mount
def test_a_full_disk_at_the_start_leaves_no_tag(project: paths.Project) -> None:
    (project.code / "large.py").write_bytes(os.urandom(200_000))
    manager.commit(project)
    done, left = manager.on_a_small_disk(project, project.result, "run", "base", "epochs=9")
    assert done.returncode == 2, done.stderr
    assert "No space left" in done.stderr
    assert left in ([], [".lock"])
    assert manager.tags(project) == []
