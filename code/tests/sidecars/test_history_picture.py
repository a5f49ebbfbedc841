"""history.png: drawn while training works and when it has ended, in whatever way; it leaves nothing behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from matplotlib import image

from exper.core import lock, paths
from tests.support import manager, play
from tests.support.manager import exper, log, state, the_run, wait_for, write

# As main.py does, without torch.
TRAINS = (
    manager.READY
    + """\
from exper.core import paths
from exper.training.records.recorder import Recorder
record = Recorder(paths.Run(run), ["picture"])
record.start({"format": 1, "hparam": {}}, None, 0)
def epoch(number):
    line = {"epoch": number, "step": number, "train/loss": 1 / number, "val/loss": 2 / number, "lr": 0.1}
    record.end_epoch(line, line)
for number in (1, 2, 3):
    epoch(number)
ready()
"""
)
ENDS = TRAINS + "record.close()\n"
WAITS = TRAINS + "seconds_until('go')\nepoch(4)\nrecord.close()\n"


def drawing(run: paths.Run) -> list[psutil.Process]:
    """Return the processes that draw a run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(run.folder) in words and any(word.endswith("history_picture.py") for word in words):
            found.append(process)
    return found


def is_over(run: paths.Run) -> bool:
    return not drawing(run)


def check(run: paths.Run) -> None:
    """Make sure that the picture shows two curves, and that nothing is left beside it."""
    wait_for(lambda: is_over(run))
    pixels = image.imread(run.picture)[:, :, :3]
    assert pixels.shape[1] == 1000
    for color in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0)):
        assert (np.abs(pixels - np.array(color) / 255).max(axis=2) < 0.02).sum() > 100
    assert not list(run.folder.glob(".history.png*"))


def test_a_finished_run_has_its_picture_though_the_snapshot_is_gone(project: paths.Project) -> None:
    write(project, main=ENDS)
    exper(project, "run", "base")
    run = the_run(project, "base/0")
    check(run)
    assert state(project, "base/0") == "finished"
    assert not project.tag("base").snapshot.exists()
    assert log(project, "base/0") == []


def test_a_run_is_drawn_while_it_trains_and_again_at_its_end(project: paths.Project) -> None:
    write(project, main=WAITS)
    run = the_run(project, "base/0")
    with manager.training(project, "run", "base") as (supervisor, _):
        wait_for(run.picture.exists)
        first = run.picture.read_bytes()
        [process] = drawing(run)
        assert process.nice() == 19
        assert process.cwd() == "/"
        held = {os.path.realpath(f"/proc/{process.pid}/fd/{name}") for name in os.listdir(f"/proc/{process.pid}/fd")}
        assert not held & {os.path.realpath(run.lock), os.path.realpath(run.log)}
        assert not any(name.startswith("/dev/pt") for name in held)
        (run.folder / "go").touch()
        assert supervisor.wait(10) == 0
        assert not lock.is_held(run.lock)
    wait_for(lambda: run.picture.read_bytes() != first)
    check(run)


def test_a_killed_run_gets_its_last_picture_and_leaves_no_process(project: paths.Project) -> None:
    write(project, main=WAITS)
    run = the_run(project, "base/0")
    with manager.training(project, "run", "base") as (supervisor, pid):
        wait_for(lambda: drawing(run))
        for one in (supervisor.pid, pid):
            os.kill(one, signal.SIGKILL)
        wait_for(lambda: state(project, "base/0") == "died")
        wait_for(run.picture.exists)
        wait_for(lambda: is_over(run))
    check(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_drawing_program_ignores_signals_for_training(project: paths.Project, number: int) -> None:
    write(project, main=WAITS)
    run = the_run(project, "base/0")
    with manager.training(project, "run", "base") as (supervisor, _):
        wait_for(lambda: any(one.nice() == 19 for one in drawing(run)))  # it ignores signals from then on
        for one in drawing(run):
            one.send_signal(number)
        (run.folder / "go").touch()
        assert supervisor.wait(10) == 0
    check(run)


def test_a_run_that_is_removed_while_it_trains_is_not_made_again(project: paths.Project) -> None:
    write(project, main=WAITS)
    run = the_run(project, "base/0")
    with manager.training(project, "run", "base") as (supervisor, pid):
        wait_for(lambda: drawing(run))
        shutil.rmtree(run.folder)
        os.kill(pid, signal.SIGKILL)
        supervisor.wait(10)
        wait_for(lambda: is_over(run))
    assert not run.folder.exists()


def test_without_matplotlib_it_is_a_line_in_the_log(project: paths.Project) -> None:
    hides = "import sys\nsys.modules['matplotlib'] = None\n"
    path = project.code / "exper" / "views" / "plotting.py"
    path.write_text(re.sub(r'(""".*?"""\n)', lambda match: match[1] + hides, path.read_text(), count=1, flags=re.S))
    write(project, main=ENDS)
    exper(project, "run", "base")
    run = the_run(project, "base/0")
    wait_for(lambda: is_over(run))
    assert state(project, "base/0") == "finished"
    assert not run.picture.exists()
    [line] = log(project, "base/0")
    assert line.startswith("no history.png from here on: ModuleNotFoundError")


def test_a_continued_run_is_drawn_again(project: paths.Project) -> None:
    write(project, main=TRAINS + "if (run / 'again').exists():\n    record.close()\nelse:\n    1 / 0\n")
    exper(project, "run", "base", code=1)
    run = the_run(project, "base/0")
    check(run)
    run.picture.unlink()
    (run.folder / "again").touch()
    exper(project, "continue", "base")
    check(run)


def test_an_untagged_run_has_a_picture(project: paths.Project) -> None:
    by_hand = """\
        import os, pathlib, sys
        from exper.core import paths
        from exper.runs.untagged import untagged_run
        root = pathlib.Path(__file__).resolve().parent.parent
        with untagged_run(paths.Project(root), ["python", "code/main.py"]) as given:
            os.environ.update(given)
            exec({body!r})
        """
    write(project, main=by_hand.replace("{body!r}", repr(ENDS)))
    words = [sys.executable, str(project.code / "main.py")]
    subprocess.run(words, cwd=project.root, check=True, capture_output=True, timeout=30)
    check(the_run(project, "untagged/0"))


def test_a_program_that_writes_no_history_has_no_picture(project: paths.Project) -> None:
    exper(project, "run", "base")
    assert drawing(the_run(project, "base/0")) == []
    assert not the_run(project, "base/0").picture.exists()


def test_the_template_draws_its_run(tmp_path: Path) -> None:
    run = play.born(tmp_path / "base" / "0")
    training = play.start(run)
    assert training.wait(60) == 0
    wait_for(run.picture.exists)
    check(run)
    assert "no history.png" not in run.log.read_text()
