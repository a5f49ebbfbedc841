"""An untagged run, `python code/main.py`, which is its own supervisor."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pexpect
import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import log, nothing_left, record, refused, state, write

BY_HAND = """\
import os, pathlib, sys
sys.path.append(str(pathlib.Path(__file__).parent))
from exper.core import paths
from exper.runs.untagged import untagged_run
project = paths.Project(pathlib.Path(__file__).resolve().parent.parent)
with untagged_run(project, ["python", "code/main.py"]) as environment:
    run = pathlib.Path(environment["EXPER_RUN"])
"""


def _by_hand(project: paths.Project, body: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    write(project, main=BY_HAND + "".join(f"    {line}\n" for line in body.splitlines()))
    words = [sys.executable, str(project.code / "main.py")]
    settings: dict[str, Any] = {"capture_output": True, "timeout": 30, "start_new_session": True} | options
    return subprocess.run(words, cwd=project.root, text=True, check=False, **settings)


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [("pass", 0, "finished"), ("sys.exit(0)", 0, "finished"), ("1 / 0", 1, "failed"), ("sys.exit(3)", 3, "failed"),
     ("sys.exit('no')", 1, "failed"), ("sys.exit(130)", 130, "interrupted")],
)  # fmt: skip
def test_what_ends_it_decides_exit_code_and_status(project: paths.Project, body: str, code: int, status: str) -> None:
    assert _by_hand(project, body).returncode == code
    assert state(project, "untagged/0") == status


def test_what_is_printed_is_on_the_terminal_and_in_the_log(project: paths.Project) -> None:
    done = _by_hand(project, "print('out')\nprint('err', file=sys.stderr)\nos.system('echo child')\n")
    assert log(project, "untagged/0") == ["out", "err", "child"]
    assert done.stdout.splitlines() == ["out", "err", "child"]


def test_it_has_no_tag_is_in_no_list_and_is_not_reproducible(project: paths.Project) -> None:
    _by_hand(project, "pass")
    assert manager.tags(project) == []
    assert manager.finished(project) == []
    assert record(project, "untagged/0")["commit"] is None
    assert record(project, "untagged/0")["reproducible"] is False


def test_ids_count_up(project: paths.Project) -> None:
    _by_hand(project, "pass")
    _by_hand(project, "pass")
    assert [run.id for run in project.tag("untagged").runs()] == [0, 1]


@pytest.mark.parametrize("words", [["continue", "untagged"], ["rerun", "untagged/0"], ["rerun", "untagged", "-f"]])
def test_continue_and_rerun_refuse_it(project: paths.Project, words: list[str]) -> None:
    _by_hand(project, "1 / 0")
    with nothing_left(project):
        assert "untagged" in refused(project, *words)


def test_killed_it_has_died(project: paths.Project) -> None:
    _by_hand(project, f"os.kill(os.getpid(), {int(signal.SIGKILL)})")
    manager.wait_for(lambda: state(project, "untagged/0") == "died")


def test_it_is_running_while_it_runs(project: paths.Project) -> None:
    body = "from exper.runs import status\nprint(status.read(paths.Run(run)))\n"
    _by_hand(project, body)
    assert log(project, "untagged/0") == ["running"]


def test_a_refused_one_leaves_no_run(project: paths.Project) -> None:
    done = _by_hand(project, "(run / 'refused').write_text('lr')\nsys.exit(2)\n")
    assert done.returncode == 2
    assert project.tag("untagged").runs() == []


def test_a_debugger_works_on_a_terminal(project: paths.Project) -> None:
    write(project, main=BY_HAND + "    secret = 40\n    breakpoint()\n    print('went on')\n")
    words = [str(project.code / "main.py")]
    with pexpect.spawn(sys.executable, words, cwd=project.root, timeout=20, encoding="utf-8") as terminal:
        terminal.expect_exact("(Pdb) ")
        terminal.sendline("p secret + 2")
        terminal.expect("42")
        terminal.sendline("c")
        terminal.expect("went on")
        terminal.expect(pexpect.EOF)
    assert state(project, "untagged/0") == "finished"


def test_secrets_on_the_command_line_and_in_the_environment_are_not_recorded(project: paths.Project) -> None:
    write(project, main=BY_HAND + "    print('ran')\n")
    words = [sys.executable, str(project.code / "main.py"), "--token=hunter2"]
    subprocess.run(words, cwd=project.root, env=os.environ | {"API_KEY": "hunter2"}, check=True, capture_output=True)
    assert "hunter2" not in json.dumps(record(project, "untagged/0"))
