"""The entry: commands, exit codes, and what it does not import."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exper import commands
from exper.core import paths
from tests.support import manager
from tests.support.manager import exper, nothing_left, refused, write

COMMANDS = ["run", "continue", "rerun", "expls", "expels", "rm"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_does_nothing(project: paths.Project, command: str) -> None:
    with nothing_left(project):
        shown = exper(project, command, "-h").stdout
    assert "Example" in shown


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_without_a_command_it_lists_them(project: paths.Project, words: list[str]) -> None:
    shown = exper(project, *words).stdout
    assert {line.split()[0] for line in shown.splitlines() if line.startswith("  ")} >= set(COMMANDS)


@pytest.mark.parametrize("word", ["ruin", "__init__", "../run", "", "\x1b[31m", "run.py", "continue_"])
def test_an_unknown_command_is_refused(project: paths.Project, word: str) -> None:
    assert "\x1b" not in refused(project, word)


def test_a_mistyped_command_gets_the_nearest(project: paths.Project) -> None:
    assert "Did you mean 'rerun'?" in refused(project, "rerunn")


@pytest.mark.parametrize("words", [["rerun", "--exac", "x"], ["rm", "--ye", "x"]])
def test_options_are_not_abbreviated(project: paths.Project, words: list[str]) -> None:
    refused(project, *words)


def test_a_bug_of_ours_is_3_with_its_traceback(project: paths.Project) -> None:
    (project.code / "exper" / "commands" / "expls.py").write_text('"""Broken."""\ndef expls(a, b): return 1 / 0\n')
    error = exper(project, "expls", code=3).stderr
    assert "ZeroDivisionError" in error
    assert "bug of Exper" in error


def test_a_users_module_does_not_become_ours(project: paths.Project) -> None:
    for name in ("json", "subprocess", "random", "queue", "signal", "code", "data", "exper"):
        (project.code / f"{name}.py").write_text("raise SystemExit('mine')\n")
    exper(project, "expls", cwd=project.code)


CALLERS = {
    "cron": {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LOGNAME": "nobody", "SHELL": "/bin/sh"},
    "a shell": None,
}


@pytest.mark.parametrize("place", ["absolute", "relative"])
@pytest.mark.parametrize("caller", CALLERS)
def test_it_runs_from_any_caller(project: paths.Project, caller: str, place: str) -> None:
    for name in ("git", "signal", "config"):  # modules of the caller's folder
        (project.root / f"{name}.py").write_text("raise SystemExit('mine')\n")
    entry = project.code / "exper"
    words = [sys.executable, "-I", os.path.relpath(entry, project.root) if place == "relative" else entry]
    done = subprocess.run(
        [*words, "run", "base"], cwd=project.root, env=CALLERS[caller], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert manager.the_run(project, "base/0").record.exists()


USES_GIT = """\
from mlflow.utils.git_utils import get_git_commit

def probe(arguments, project):
    print(get_git_commit(str(project.root)))
    return 0
"""


def test_a_folder_of_exper_hides_no_package(project: paths.Project, git: Callable[..., str]) -> None:
    pytest.importorskip("mlflow")
    (project.code / "exper" / "git").mkdir()
    (project.code / "exper" / "git" / "__init__.py").write_text("raise SystemExit('ours')\n")
    (project.code / "exper" / "commands" / "probe.py").write_text(USES_GIT)
    assert exper(project, "probe").stdout.strip() == git("rev-parse", "HEAD").strip()


def test_job_scripts_of_earlier_versions_still_start(project: paths.Project, tmp_path: Path) -> None:
    words = [sys.executable, "-I", f"{project.code}/exper/launch.py", "run", "x"]
    first = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    second = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (second.returncode, second.stderr.partition(":")[0]) == (2, "run")


def test_a_short_name_is_the_command(project: paths.Project) -> None:
    for short, name in commands.SHORT_NAMES.items():
        assert exper(project, short, "-h").stdout == exper(project, name, "-h").stdout


def test_no_command_imports_torch_pandas_or_optuna(project: paths.Project) -> None:
    words = manager.command(project, "run", "base")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words[1:]], capture_output=True, text=True, cwd=project.root, check=True
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "exper" in imported
    assert imported & {"torch", "pandas", "optuna", "numpy", "git"} == set()


@pytest.mark.parametrize(
    ("line", "code", "shown"),
    [("expls >/dev/full", 1, "expls: No space left on device\n"), ("expls | true", 0, ""),
     ("expls -h >/dev/full", 0, ""), ("expels nothing 2>/dev/full", 2, ""), ("expels nothing 2>&1 | true", 2, "")],
)  # fmt: skip
def test_where_nobody_reads_the_exit_code_is_true(project: paths.Project, line: str, code: int, shown: str) -> None:
    words = line.replace("|", '; echo $? >"$0"; } |') if "|" in line else f'{line}; echo $? >"$0"; }}'
    command = shlex.join(manager.command(project))
    done = subprocess.run(
        ["bash", "-c", f"{{ {command} {words}", project.root / "code.txt"], capture_output=True, text=True
    )
    found = int((project.root / "code.txt").read_text())
    assert (found if found != 141 else 0, done.stderr) == (code, shown)


def test_a_run_whose_reader_has_gone_ends_with_its_own_code(project: paths.Project) -> None:
    write(project, main="import time; time.sleep(0.5); print('end')")
    line = f'( {shlex.join(manager.command(project, "run", "base"))}; echo $? >"$0" ) 2>&1 | head -1'
    subprocess.run(["bash", "-c", line, project.root / "code.txt"], capture_output=True, check=True)
    assert (project.root / "code.txt").read_text() == "0\n"


def test_where_letters_are_lacking_they_are_shown_as_escapes(project: paths.Project) -> None:
    exper(project, "run", "base")
    best = {"metric": {"best": {"größe": 1.0, "epoch": 1}}}
    manager.the_run(project, "base/0").statistic.write_text(json.dumps(best))
    program, *words = manager.command(project, "expls")
    done = subprocess.run(
        [program, "-X", "utf8=0", *words], capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}
    )
    assert done.returncode == 0, done.stderr
    assert "gr\\xf6\\xdfe" in done.stdout
