"""The progress of a search on a terminal."""

import fcntl
import os
import pty
import struct
import termios
from pathlib import Path

import pytest

from exper.core import paths
from exper.search import study as studies
from exper.search.progress import Progress


def test_a_terminal_shows_the_best_trial_and_the_epochs_of_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = studies.create(paths.Project(tmp_path).tag("wide"), "0" * 40, "max", None)
    trial = study.ask()
    trial.set_user_attr(studies.TAG, "wide+lr=0.1")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with open(slave, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        progress = Progress("wide", trials=4, ended=0, epochs=3)
        progress.start(0, paths.Project(tmp_path).tag("wide+lr=0.1").run(0))
        progress.show(0, 3, 0.5)
        progress.end(0)
        studies.tell(trial, 0.5)
        progress.count(study)
        progress.close()
        terminal.flush()
        shown = os.read(master, 65536).decode()
    os.close(master)
    assert "wide+lr=0.1/0: " in shown
    assert "search wide:  25%" in shown
    assert "1/4" in shown
    assert "best 0.5 wide+lr=0.1" in shown


def test_without_a_terminal_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("wide", trials=4, ended=0, epochs=3)
    progress.start(0, paths.Project(tmp_path).tag("wide+lr=0.1").run(0))
    progress.show(0, 3, 0.5)
    progress.end(0)
    progress.close()
    assert capsys.readouterr() == ("", "")
