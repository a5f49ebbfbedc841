"""`run`: what it makes, what it refuses, and that it touches nothing of the user's."""

import json
import os
import shutil
import subprocess

import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import exper, git, log, nothing_left, record, refused, state, tags, untouched, write

# -- what a run is -----------------------------------------------------------------------------------------------------


def test_a_run_leaves_tag_record_log_and_a_line_in_finished(project: paths.Project) -> None:
    exper(project, "run", "base", "-f")
    assert tags(project) == ["base"]
    now = record(project, "base/0")
    assert (now["status"], now["seed"], now["commit"]) == (
        "finished",
        42,
        git(project.root, "rev-parse", "HEAD").strip(),
    )
    assert log(project, "base/0") == ["hello"]
    assert manager.finished(project) == ["base/0"]
    assert manager.the_run(project, "base/0").seed.read_text() == "42\n"


def test_the_tag_records_what_another_machine_needs(project: paths.Project) -> None:
    exper(project, "run", "base", "-f", "-m", "a first try", "epochs=5", "optimizer.lr=0.5")
    message = git(project.root, "cat-file", "-p", "base").partition("\n\n")[2]
    why, _, trailers = message.partition("\n\n")
    assert why == "a first try"
    said = [line.split(": ", 1) for line in trailers.splitlines()]
    assert [name for name, _ in said] == [
        "Exper-Format", "Exper-Seed", "Exper-Threads", "Exper-Python", "Exper-Torch", "Exper-Set", "Exper-Set"
    ]  # fmt: skip
    assert dict(said[:2]) == {"Exper-Format": "1", "Exper-Seed": "42"}
    assert [value for name, value in said if name == "Exper-Set"] == ["epochs=5", "optimizer.lr=0.5"]


def test_training_gets_what_the_contract_says(project: paths.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPER_STALE", "1")
    write(
        project,
        main="""
        import json, os, sys
        about = {name: value for name, value in os.environ.items() if name.startswith("EXPER_")}
        json.dump(about | {"cwd": os.getcwd(), "argv": sys.argv, "bytecode": sys.dont_write_bytecode}, sys.stdout)
        """,
    )
    exper(project, "run", "base", "-f")
    said = json.loads(log(project, "base/0")[0])
    snapshot = project.tag("base").snapshot
    assert said["EXPER_RUN"] == str(manager.the_run(project, "base/0").folder)
    assert (said["EXPER_DATA"], said["EXPER_SEED"], said["EXPER_FORMAT"]) == (str(project.data), "42", "1")
    assert (said["cwd"], said["argv"]) == (str(snapshot), [str(snapshot / "code" / "main.py")])
    assert said["bytecode"]
    assert {"EXPER_LOCK", "EXPER_CONTROL", "EXPER_OUTPUT"} <= said.keys()
    assert "EXPER_STALE" not in said


def test_without_f_seeds_differ(project: paths.Project) -> None:
    exper(project, "run", "a")
    exper(project, "run", "b")
    assert record(project, "a/0")["seed"] != record(project, "b/0")["seed"]


def test_a_changed_setting_is_in_the_tag_and_not_in_the_tree(project: paths.Project) -> None:
    write(project, main="print(open('code/config.py').read())")
    with untouched(project.root):
        exper(project, "run", "quick", "epochs=7", "optimizer.lr=1e-3")
    assert log(project, "quick/0")[:2] == [
        "epochs = 7",
        "optimizer = {'name': 'sgd', 'lr': 0.001}  # too high for ResNets",
    ]


@pytest.mark.parametrize("folder", ["", "code", "code/exper"])
def test_commands_work_from_any_folder(project: paths.Project, folder: str) -> None:
    exper(project, "run", "base", cwd=project.root / folder)
    assert state(project, "base/0") == "finished"


# -- hostile words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [["--\x1b[31mred"], ["base", "\x1b]0;x\x07=1"], ["base", "epochs"], ["base", "=1"], ["base", "nope=1"],
     ["base", "epochs=many"], ["base", "epochs=\udcff"], ["base", "optimizer.name=\udcff"], ["base", "epochs=1e400"],
     ["base", "optimizer.lr=" + "(" * 5000], ["base", "epochs.x=1"],
     ["base", "--message=x"], ["base", "-x"], [], ["base", "optimizer={'lr': __import__('os')}"]],
    ids=range(15),
)  # fmt: skip
def test_hostile_words_are_refused_without_traceback_or_escape(project: paths.Project, words: list[str]) -> None:
    with nothing_left(project):
        error = refused(project, "run", *map(os.fsencode, words))  # type: ignore[arg-type]
    assert "\x1b" not in error


@pytest.mark.parametrize("why", ["\udcff", "two\n\nExper-Seed: 7", "-", " ", "", "\x1b[31m", "ü", "x" * 100000])
def test_any_reason_can_be_given(project: paths.Project, why: str) -> None:
    exper(project, "run", "base", "-f", "-m", os.fsencode(why))  # type: ignore[arg-type]
    exper(project, "rerun", "base", "-f")
    assert record(project, "base/1")["seed"] == 42


def test_h_prints_help_and_changes_nothing(project: paths.Project) -> None:
    with nothing_left(project):
        assert "run baseline" in exper(project, "run", "-h").stdout


# -- what is passed on -------------------------------------------------------------------------------------------------


def test_secrets_of_the_environment_are_nowhere_in_the_results(
    project: paths.Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN", "CUDA_TOKEN", "SLURM_JWT", "GIT_PASSWORD"):
        monkeypatch.setenv(name, "hunter2-secret")
    write(project, main="import os; print(len(os.environ['MY_TOKEN']))")
    exper(project, "run", "base")
    exper(project, "rerun", "base", "-f")
    assert log(project, "base/0") == ["14"]
    found = subprocess.run(
        ["grep", "-rl", "hunter2", project.result, project.root / "__statistic__"], capture_output=True, text=True
    )
    assert found.stdout == ""
    assert "hunter2" not in git(project.root, "cat-file", "-p", "base")


def test_stdin_from_a_pipe_reaches_training(project: paths.Project) -> None:
    write(project, main="print('got', input())")
    exper(project, "run", "base", input="a line\n", stdin=None)
    assert log(project, "base/0") == ["got a line"]


def test_python_options_of_the_user_reach_training(project: paths.Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/my/packages")
    write(project, main="import sys; print(sys.path[1]); import queue; print(queue.__file__)")
    (project.code / "queue.py").write_text("")
    manager.commit(project)
    exper(project, "run", "base")
    assert log(project, "base/0") == ["/my/packages", str(project.tag("base").snapshot / "code" / "queue.py")]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(project: paths.Project, closed: str) -> None:
    (project.root / "go").write_text(f'exec "$@" {closed}\n')
    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--message=go")
    subprocess.run(
        ["sh", project.root / "go", *manager.command(project, "run", "base")], check=True, capture_output=True
    )
    assert log(project, "base/0") == ["hello"]
    assert state(project, "base/0") == "finished"


# -- the project's code while it trains --------------------------------------------------------------------------------


@pytest.mark.parametrize("cwd", ["", "code"])
def test_deleting_all_of_code_right_after_launch_changes_nothing(project: paths.Project, cwd: str) -> None:
    write(project, part="said = 'from the tag'\n", main=manager.WAITS + "import part; print(part.said)\n")
    with manager.training(project, "run", "base", cwd=project.root / cwd) as (supervisor, _):
        shutil.rmtree(project.code)
        (manager.the_run(project, "base/0").folder / "go").touch()
        said = supervisor.communicate(timeout=20)[0]
        assert supervisor.returncode == 0, said
    assert log(project, "base/0") == ["done", "from the tag"]
    assert manager.finished(project) == ["base/0"]
    assert not project.tag("base").snapshot.exists()


def test_switching_the_branch_right_after_launch_changes_nothing(project: paths.Project) -> None:
    git(project.root, "branch", "old")
    write(project, part="said = 'from the tag'\n", main=manager.WAITS + "import part; print(part.said)\n")
    with manager.training(project, "run", "base") as (supervisor, _):
        git(project.root, "rm", "-r", "--quiet", "code/exper")
        git(project.root, "commit", "--quiet", "--message=without")
        git(project.root, "checkout", "--quiet", "old")
        (manager.the_run(project, "base/0").folder / "go").touch()
        assert supervisor.wait(20) == 0
    assert log(project, "base/0") == ["done", "from the tag"]


# -- the manager's own needs -------------------------------------------------------------------------------------------


def test_a_missing_git_is_named(project: paths.Project) -> None:
    assert "git is not installed" in refused(project, "run", "base", env=os.environ | {"PATH": "/nowhere"})


def test_outside_a_repository_is_refused_with_what_to_type(project: paths.Project) -> None:
    shutil.rmtree(project.root / ".git")
    assert "git init" in refused(project, "run", "base")


@pytest.mark.parametrize("mask", [0o002, 0o077])
def test_what_is_written_takes_the_umask(project: paths.Project, mask: int) -> None:
    exper(project, "run", "base", umask=mask)
    for folder in (project.result, project.statistic):
        for path in (path for path in folder.rglob("*") if "snapshot" not in path.parts and not path.is_symlink()):
            assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask, path
