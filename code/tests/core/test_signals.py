"""Ctrl-C and kill at every stage of a start: nothing of the user's changes, and nothing half-made is left."""

import os
import random
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from exper.core import paths
from tests.support import manager
from tests.support.manager import exper, git, left, state, tags, untouched

_STAGES = 14  # calls of git in `run base -m why epochs=5`, at least; at each something else is half done
_SEED = int(os.environ.get("EXPER_TEST_SEED", "1"))
_KILLS = int(os.environ.get("EXPER_TEST_KILLS", "25"))


def _make_dirty(project: paths.Project) -> None:
    """Stage one change, leave another unstaged, and stash a third."""
    (project.code / "config.py").write_text("epochs = 4\n")
    git(project.root, "stash", "--quiet")
    (project.code / "main.py").write_text(manager.SAVES)
    git(project.root, "add", "code/main.py")
    (project.code / "config.py").write_text("epochs = 3\n")
    (project.code / "new.py").write_text("")


def test_there_are_as_many_stages_as_the_tests_below_say(project: paths.Project, tmp_path: Path) -> None:
    _make_dirty(project)
    (project.code / "main.py").write_text("")
    path = manager.git_that(tmp_path / "bin", 'exec "$@"')
    exper(project, "run", "base", "-m", "why", "epochs=5", env=os.environ | {"PATH": path})
    assert int((tmp_path / "bin" / "count").read_text()) >= _STAGES


@pytest.mark.parametrize("stage", range(1, _STAGES + 1))
@pytest.mark.parametrize(("number", "when"), [(signal.SIGINT, "after"), (signal.SIGTERM, "before")])
def test_a_stop_signal_at_any_stage_leaves_nothing_or_an_interrupted_run(
    project: paths.Project, tmp_path: Path, number: signal.Signals, stage: int, when: str
) -> None:
    _make_dirty(project)
    send = f"[ $count = {stage} ] && kill -{int(number)} $PPID"
    script = f'{send}; exec "$@"' if when == "before" else f'"$@"; code=$?; {send}; exit $code'
    path = manager.git_that(tmp_path / "bin", script)
    with untouched(project.root):
        stopped = manager.start(project, "run", "base", "-m", "why", "epochs=5", env=os.environ | {"PATH": path})
        said = stopped.communicate(timeout=30)[0]
    assert stopped.returncode in (128 + number, -number), said
    assert "Traceback" not in said
    if project.tag("base").runs():
        assert state(project, "base/0") == "interrupted"
        assert tags(project) == ["base"]
    else:
        assert (tags(project), left(project)) == ([], [])


def test_a_kill_at_any_stage_changes_nothing_of_the_users_and_the_next_command_works(
    project: paths.Project, tmp_path: Path
) -> None:
    _make_dirty(project)
    (project.code / "main.py").write_text("")
    for stage in range(1, _STAGES + 3):
        name = f"t{stage}"
        path = manager.git_that(tmp_path / "bin", f'"$@"; code=$?; [ $count = {stage} ] && kill -9 $PPID; exit $code')
        with untouched(project.root):
            killed = manager.start(project, "run", name, "-m", "why", env=os.environ | {"PATH": path})
            killed.communicate(timeout=30)
            if killed.returncode != 0:
                _go_on(project, name)
        _check_clean(project, name)


def test_a_kill_of_the_whole_session_at_a_random_moment_leaves_what_the_next_command_can_take_up(
    project: paths.Project,
) -> None:
    """EXPER_TEST_KILLS: how many moments (25); EXPER_TEST_SEED: which ones."""
    _make_dirty(project)
    (project.code / "main.py").write_text("import time\ntime.sleep(0.05)\n")
    began = time.monotonic()
    exper(project, "run", "first", "-m", "why")
    whole = time.monotonic() - began
    moments = random.Random(_SEED)
    for number in range(_KILLS):
        name = f"t{number}"
        with untouched(project.root):
            killed = manager.start(project, "run", name, "-m", "why")
            time.sleep(moments.uniform(0.3, 1.0) * whole)
            _kill_session(killed.pid)
            killed.communicate(timeout=30)
            _go_on(project, name)
        _check_clean(project, name)


def _kill_session(leader: int) -> None:
    """Kill a process with all that it has started, as a closed machine does."""
    try:
        first = psutil.Process(leader)
        first.suspend()  # so that it starts nobody else
        everyone = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in everyone:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue


def _go_on(project: paths.Project, name: str) -> None:
    """Type what a user types next: the same command, or where a run was born, `continue`."""
    if project.tag(name).runs():
        manager.wait_for(lambda: state(project, f"{name}/0") in ("died", "finished"))
        exper(project, "continue", name)
    else:
        exper(project, "run", name, "-m", "why")


def _check_clean(project: paths.Project, name: str) -> None:
    """Make sure that the run is whole and that what the kill left is gone."""
    assert [str(run) for run in project.tag(name).runs()] == [f"{name}/0"]
    assert state(project, f"{name}/0") == "finished"
    assert manager.finished(project).count(f"{name}/0") == 1
    there = {path.name for path in project.tag(name).folder.iterdir()}
    assert there <= {"0", "last_id"}, there
    assert not re.search("lock$", "\n".join(os.listdir(project.root / ".git" / "refs" / "tags")))


def test_a_signal_that_is_ignored_around_stays_ignored(project: paths.Project) -> None:
    """`nohup run base &` in a script has SIGINT ignored."""
    manager.write(project, main="import signal\nprint(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)\n")
    exper(project, "run", "base", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert manager.log(project, "base/0") == ["True"]


def test_a_second_stop_signal_reaches_training_too(project: paths.Project) -> None:
    main = manager.READY + (
        "count = []\n"
        "def note(number, frame):\n"
        "    count.append(number); (run / f'got{len(count)}').touch()\n"
        "    if len(count) == 2: sys.exit(130)\n"
        "signal.signal(signal.SIGINT, note)\nready()\ntime.sleep(60)\ntime.sleep(60)\n"
    )
    manager.write(project, main=main)
    with manager.training(project, "run", "base") as (supervisor, _):
        folder = manager.the_run(project, "base/0").folder
        supervisor.send_signal(signal.SIGINT)
        manager.wait_for((folder / "got1").exists)
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(20) == 130


@pytest.mark.parametrize("words", [["continue", "base"], ["rerun", "base"]])
def test_a_kill_of_continue_or_rerun_at_any_stage_loses_no_run(
    project: paths.Project, tmp_path: Path, words: list[str]
) -> None:
    manager.write(project, main="import sys; sys.exit(1)")
    exper(project, "run", "base", code=1)
    count = tmp_path / "bin" / "count"
    for stage in range(1, 30):
        path = manager.git_that(tmp_path / "bin", f'"$@"; code=$?; [ $count = {stage} ] && kill -9 $PPID; exit $code')
        with untouched(project.root):
            killed = manager.start(project, *words, env=os.environ | {"PATH": path})
            killed.communicate(timeout=30)
        if int(count.read_text()) < stage:
            break
        assert killed.returncode == -signal.SIGKILL
        assert [state(project, str(run)) for run in project.tag("base").runs()] == ["failed"]
        exper(project, "continue", "base", code=1)
        assert {path.name for path in project.tag("base").folder.iterdir()} == {"0", "last_id", "snapshot"}
    assert stage > 5
