"""`run`: what it makes, what it refuses, and that it touches nothing of the user's."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

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


# -- existing tags -----------------------------------------------------------------------------------------------------


def test_a_tag_with_runs_is_refused(project: paths.Project) -> None:
    exper(project, "run", "base")
    with nothing_left(project):
        error = refused(project, "run", "base")
    assert "rerun base" in error
    assert "continue base" in error


def test_a_tag_without_a_run_runs_with_the_seed_in_its_message(project: paths.Project) -> None:
    exper(project, "run", "base")
    seed = record(project, "base/0")["seed"]
    exper(project, "rm", "base", "--yes")
    before = git(project.root, "rev-parse", "base")
    exper(project, "run", "base")
    (run,) = project.tag("base").runs()
    assert record(project, str(run))["seed"] == seed
    assert git(project.root, "rev-parse", "base") == before


def test_a_tag_without_a_run_takes_the_same_tree_after_m_and_settings(project: paths.Project) -> None:
    (project.code / "main.py").write_text("print('changed')\n")
    exper(project, "run", "base", "-m", "why", "epochs=9")
    exper(project, "rm", "base", "--yes")
    with nothing_left(project):
        assert "holds other code" in refused(project, "run", "base", "-m", "why", "epochs=8")
        assert "nope" in refused(project, "run", "other", "-m", "why", "epochs=8", "nope=1")
    exper(project, "run", "base", "-m", "why", "epochs=9")


def test_a_tag_of_another_tree_is_refused_and_not_moved(project: paths.Project) -> None:
    git(project.root, "tag", "base")
    write(project, main="print('newer')")
    with nothing_left(project):
        error = refused(project, "run", "base")
    assert "exper rm base --tag" in error


def test_a_handmade_tag_without_trailers_runs_with_a_fresh_seed(project: paths.Project) -> None:
    git(project.root, "tag", "by-hand")
    exper(project, "run", "by-hand")
    assert state(project, "by-hand/0") == "finished"


def test_a_seed_of_f_that_is_not_the_tags_is_refused(project: paths.Project) -> None:
    exper(project, "run", "base")
    exper(project, "rm", "base", "--yes")
    with nothing_left(project):
        assert "exper rm base --tag" in refused(project, "run", "base", "-f")


def test_a_tag_of_something_that_is_no_commit_is_refused(project: paths.Project) -> None:
    git(project.root, "tag", "blob", "HEAD:code/main.py")
    with nothing_left(project):
        refused(project, "run", "blob")


def test_a_tag_from_before_the_project_was_there_is_refused(tmp_path: Path, project: paths.Project) -> None:
    """The tag's commit does not have the project's folder at all."""
    top = tmp_path / "top"
    top.mkdir()
    git(top, "init", "--quiet")
    (top / "README").write_text("first\n")
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=first")
    git(top, "tag", "old")
    below = paths.Project(top / "sub")
    (project.root / ".git").rename(tmp_path / "gone")
    project.root.rename(below.root)
    git(top, "add", "--all")
    git(top, "commit", "--quiet", "--message=second")
    with nothing_left(below):
        assert "exper rm old --tag" in refused(below, "run", "old")


@pytest.mark.parametrize(
    "name",
    ["", "..", "../x", "a/b", "-x", "a b", "a..b", "a.lock", "a.", "é", "x" * 201, "\x1b[31mred", "a\nb", "HEAD",
     "README.md", "untagged", "12", "lr=0.1", "a+b", "main", "origin", "a~1", "a^", "a:b", "@", "*", "$(id)", "\udcff"],
)  # fmt: skip
def test_a_name_that_is_no_tag_is_refused(project: paths.Project, name: str) -> None:
    git(project.root, "remote", "add", "origin", "/nowhere")
    with nothing_left(project):
        error = refused(project, "run", "--", os.fsencode(name))  # type: ignore[arg-type]
    assert "\x1b" not in error


@pytest.mark.parametrize("name", ["x" * 200, "v1.0-rc_2", "1e5", "A"])
def test_a_name_that_is_a_tag_works(project: paths.Project, name: str) -> None:
    exper(project, "run", name)
    assert state(project, f"{name}/0") == "finished"


def test_a_tag_that_is_a_folder_of_tags_is_refused_for_that_reason(project: paths.Project) -> None:
    git(project.root, "tag", "group/one")
    with nothing_left(project):
        assert "just now" not in refused(project, "run", "group")


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


def test_a_folder_is_no_seed_file(project: paths.Project) -> None:
    (project.code / "seed").unlink()
    (project.code / "seed").mkdir()
    (project.code / "seed" / "part.py").touch()
    manager.commit(project)
    with nothing_left(project):
        assert "code/seed" in refused(project, "run", "base", "-f")
    exper(project, "run", "base")


@pytest.mark.parametrize("seed", ["", "-1", "1.5", "9" * 19, "9" * 5000, "x", "٣"])
def test_a_wrong_seed_file_is_refused(project: paths.Project, seed: str) -> None:
    (project.code / "seed").write_text(seed)
    manager.commit(project)
    with nothing_left(project):
        assert "code/seed" in refused(project, "run", "base", "-f")


@pytest.mark.parametrize(
    "config",
    [
        "import os\n",
        "x = f(1)\n",
        "x = y\n",
        "x = 1\nx = 2\n",
        "x = (\n",
        "\0",
        "x = 1/0\n",
        "x = 9**9**9\n",
        "if 1: x=2\n",
    ],
)
def test_a_config_that_is_not_static_is_refused_before_tagging(project: paths.Project, config: str) -> None:
    write(project, config=config)
    with nothing_left(project):
        assert "code/config.py" in refused(project, "run", "base")


# -- main.py refuses ---------------------------------------------------------------------------------------------------


def test_a_setting_that_main_refuses_leaves_nothing(project: paths.Project) -> None:
    write(project, main=manager.REFUSES)
    with nothing_left(project):
        error = refused(project, "run", "base", "epochs=0")
    assert error.splitlines()[-1] == "run: lr must be above 0."


def test_a_refusal_keeps_a_tag_that_was_there_before(project: paths.Project) -> None:
    write(project, main=manager.REFUSES)
    git(project.root, "tag", "base")
    refused(project, "run", "base")
    assert tags(project) == ["base"]
    assert project.tag("base").runs() == []


def test_a_refusal_is_told_also_where_the_tag_is_gone_by_then(project: paths.Project) -> None:
    waits = "ready()\nseconds_until('go')\n"
    write(project, main=manager.REFUSES.replace(manager.READY, manager.READY + waits))
    with manager.training(project, "run", "base") as (supervisor, _):
        git(project.root, "tag", "--delete", "base")
        (manager.the_run(project, "base/0").folder / "go").touch()
        said = supervisor.communicate(timeout=20)[0]
        assert supervisor.returncode == 2
    assert said.splitlines()[-1] == "run: lr must be above 0."
    assert manager.left(project) == []


def test_exit_2_without_the_file_is_a_failure(project: paths.Project) -> None:
    write(project, main="import sys; sys.exit(2)")
    exper(project, "run", "base", code=1)
    assert state(project, "base/0") == "failed"


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_crash_is_failed_with_its_traceback_in_the_log(project: paths.Project) -> None:
    write(project, main="print('begins')\n1 / 0\n")
    done = exper(project, "run", "base", code=1)
    assert "base/0 failed (exit code 1)" in done.stderr
    assert log(project, "base/0")[-1] == "ZeroDivisionError: division by zero"
    assert manager.finished(project) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGHUP, signal.SIGRTMIN + 2])
def test_a_signal_that_kills_training_is_named(project: paths.Project, number: int) -> None:
    write(project, main=f"import os, signal\nsignal.signal(1, signal.SIG_DFL)\nos.kill(os.getpid(), {int(number)})\n")
    done = exper(project, "run", "base", code=1)
    name = number.name if isinstance(number, signal.Signals) else "signal 36"
    assert f"failed (killed by {name})" in done.stderr
    assert state(project, "base/0") == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("main", ["SAVES", "SLEEPS"])
def test_a_stop_signal_reaches_training_and_is_recorded(project: paths.Project, number: int, main: str) -> None:
    write(project, main=getattr(manager, main))
    with manager.training(project, "run", "base") as (supervisor, _):
        supervisor.send_signal(number)
        said = supervisor.communicate(timeout=20)[0]
        assert supervisor.returncode == 128 + number
    assert "continue base/0" in said
    assert state(project, "base/0") == "interrupted"
    assert (manager.the_run(project, "base/0").folder / "saved").exists() == (main == "SAVES")
    assert manager.finished(project) == []


def test_training_that_stops_itself_does_not_stop_the_script_around(project: paths.Project) -> None:
    """Only a Ctrl-C that was typed is passed on to the shell; this one came from elsewhere."""
    write(project, main="import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    line = " ".join(f"'{word}'" if "'" not in word else f'"{word}"' for word in manager.command(project, "run", "base"))
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo went on $?"], capture_output=True, text=True, start_new_session=True
    )
    assert "went on 130" in done.stdout


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


# -- two at once -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_tag", [False, True])
@pytest.mark.parametrize("pace", ["", "sleep 0.05; "], ids=["free", "in step"])
def test_of_three_runs_of_one_tag_two_are_refused(
    project: paths.Project, tmp_path: Path, pace: str, has_tag: bool
) -> None:
    """In step, each looks before any has acted."""
    write(project, main="import time; time.sleep(0.5)")
    if has_tag:
        git(project.root, "tag", "base")
    env = os.environ | {"PATH": manager.git_that(tmp_path / "bin", f'{pace}exec "$@"')}
    all_ = [manager.start(project, "run", "base", env=env) for _ in range(3)]
    said = [one.communicate(timeout=30)[0] for one in all_]
    assert sorted(one.returncode for one in all_) == [0, 2, 2], said
    assert [run.id for run in project.tag("base").runs()] == [0]
    assert manager.finished(project) == ["base/0"]
    assert manager.left(project) == ["base"]


def test_who_is_refused_does_not_take_the_tag_from_who_uses_it(project: paths.Project, tmp_path: Path) -> None:
    """One makes the tag, is slow, and is interrupted; meanwhile another takes the tag for its run."""
    slow = manager.git_that(tmp_path / "bin", '"$@"; code=$?; case "$*" in *update-ref*) sleep 1;; esac; exit $code')
    first = manager.start(project, "run", "base", env=os.environ | {"PATH": slow})
    manager.wait_for(lambda: tags(project) == ["base"])
    first.terminate()
    exper(project, "run", "base")
    first.communicate(timeout=30)
    assert (first.returncode, tags(project), state(project, "base/0")) == (143, ["base"], "finished")


def test_ten_runs_of_different_tags_at_once_all_finish(project: paths.Project) -> None:
    names = [f"t{number}" for number in range(10)]
    (project.code / "main.py").write_text("print('changed')\n")
    with untouched(project.root):
        all_ = [manager.start(project, "run", name, "-m", "why") for name in names]
        said = [one.communicate(timeout=60)[0] for one in all_]
    assert [one.returncode for one in all_] == [0] * 10, said
    assert sorted(manager.finished(project)) == [f"{name}/0" for name in names]
    assert tags(project) == names
    assert {tuple(log(project, f"{name}/0")) for name in names} == {("changed",)}


# -- the manager's own needs -------------------------------------------------------------------------------------------


def test_a_missing_git_is_named(project: paths.Project) -> None:
    assert "git is not installed" in refused(project, "run", "base", env=os.environ | {"PATH": "/nowhere"})


def test_nothing_committed_yet_is_refused_with_what_to_type(project: paths.Project) -> None:
    shutil.rmtree(project.root / ".git")
    git(project.root, "init", "--quiet")
    for words in (["base"], ["base", "-m", "why"]):
        assert "git commit" in refused(project, "run", *words)


def test_outside_a_repository_is_refused_with_what_to_type(project: paths.Project) -> None:
    shutil.rmtree(project.root / ".git")
    assert "git init" in refused(project, "run", "base")


def test_a_commit_without_main_is_refused(project: paths.Project) -> None:
    (project.code / "main.py").unlink()
    manager.commit(project)
    with nothing_left(project):
        assert "code/main.py" in refused(project, "run", "base")


def test_a_tagged_format_of_the_future_is_refused(project: paths.Project) -> None:
    (project.code / "exper" / "FORMAT").write_text("99\n")
    manager.commit(project)
    git(project.root, "tag", "future")
    git(project.root, "checkout", "--quiet", "HEAD~", "--", "code/exper/FORMAT")
    manager.commit(project)
    error = refused(project, "rerun", "future")
    assert "format 99" in error


@pytest.mark.parametrize("mask", [0o002, 0o077])
def test_what_is_written_takes_the_umask(project: paths.Project, mask: int) -> None:
    exper(project, "run", "base", umask=mask)
    for folder in (project.result, project.statistic):
        for path in (path for path in folder.rglob("*") if "snapshot" not in path.parts and not path.is_symlink()):
            assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~mask, path


@pytest.mark.parametrize("bad", ["finished.txt", ".lock", ".."])
def test_a_list_that_takes_no_more_is_said_before_training(project: paths.Project, bad: str) -> None:
    project.lists.mkdir(parents=True)
    if bad == "..":
        project.lists.rmdir()
        project.lists.write_text("a file\n")
    else:
        (project.lists / bad).mkdir()
    with nothing_left(project):
        assert "nothing can be added to" in refused(project, "run", "base")


def test_a_run_whose_line_cannot_be_written_has_finished_all_the_same(project: paths.Project) -> None:
    write(project, main="import pathlib; pathlib.Path('../../../__statistic__/exper-list/finished.txt').mkdir()\n")
    error = exper(project, "run", "base").stderr
    assert "base/0 can't be added to" in error
    assert "base/0 finished" in error
    assert not project.tag("base").snapshot.exists()
    project.list_file("finished").rmdir()
    exper(project, "continue", "base")
    assert manager.finished(project) == ["base/0"]
