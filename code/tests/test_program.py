"""`program.this_run`: the run that a supervisor hands over, or an untagged one; and how its block ends."""

import subprocess
import sys

from exper.core import paths
from tests.support import manager
from tests.support.manager import exper, log, record, state, write

MAIN = """\
import pathlib, sys
CODE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(CODE))
from exper import program
from exper.core.errors import Refused
with program.this_run(CODE) as run:
    {body}
"""


def _by_hand(project: paths.Project, body: str, *words: str) -> "subprocess.CompletedProcess[str]":
    write(project, main=MAIN.format(body=body))
    command = [sys.executable, str(project.code / "main.py"), *words]
    return subprocess.run(command, cwd=project.root, text=True, capture_output=True, check=False, timeout=60)


def test_without_a_supervisor_it_is_an_untagged_run_with_its_command_line(project: paths.Project) -> None:
    done = _by_hand(project, "print(run.files, run.seed)", "--debug")
    assert done.returncode == 0
    assert record(project, "untagged/0")["command"] == ["python", "code/main.py", "--debug"]
    assert log(project, "untagged/0") == [f"untagged/0 {record(project, 'untagged/0')['seed']}"]


def test_under_a_supervisor_it_is_the_run_that_is_handed_over_and_most_of_the_manager_stays_out(
    project: paths.Project,
) -> None:
    loaded = "sorted(name for name in sys.modules if name.startswith(('exper.runs', 'exper.repository')))"
    write(project, main=MAIN.format(body=f"print(run.files, run.seed, {loaded})"))
    exper(project, "run", "base", "-f")
    assert log(project, "base/0") == ["base/0 42 []"]


def test_a_refusal_by_hand_is_printed_without_traceback_and_leaves_no_run(project: paths.Project) -> None:
    done = _by_hand(project, "raise Refused('lr must be above 0. Write 0.1.')")
    assert done.returncode == 2
    assert "main.py: lr must be above 0. Write 0.1." in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert project.tag("untagged").runs() == []


def test_a_refusal_under_a_supervisor_takes_back_run_and_tag(project: paths.Project) -> None:
    write(project, main=MAIN.format(body="raise Refused('lr must be above 0.')"))
    with manager.nothing_left(project):
        assert "lr must be above 0." in manager.refused(project, "run", "base")


def test_the_traceback_of_an_error_is_in_the_log_once(project: paths.Project) -> None:
    assert _by_hand(project, "1 / 0").returncode == 1
    assert state(project, "untagged/0") == "failed"
    lines = log(project, "untagged/0")
    assert lines.count("Traceback (most recent call last):") == 1
    assert lines[-1] == "ZeroDivisionError: division by zero"
