"""Sidecars as real programs: what they print reaches training, and none can hold up its end."""

import os
import signal
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from exper.sidecars.process import Sidecar
from tests.support.manager import wait_for
from tests.support.play import CODE

BEGIN = f"""\
import os, sys, time
sys.path.append({str(CODE)!r})
from pathlib import Path
from exper.sidecars import process
run = Path(sys.argv[1])
training = process.become_sidecar(7)
(run / "pid").write_text(str(os.getpid()))
(run / "pid").rename(run / "ready")
"""


def started(folder: Path, body: str) -> Sidecar:
    program = folder / "program.py"
    program.write_text(BEGIN + textwrap.dedent(body))
    sidecar = Sidecar(str(program), folder, "a product")
    wait_for((folder / "ready").exists)
    return sidecar


def test_training_prints_what_a_sidecar_writes_to_it_at_the_end(tmp_path: Path) -> None:
    sidecar = started(
        tmp_path,
        """
        print("to nobody")
        while not process.is_training_over(60):
            pass
        os.write(training, b"two records wait\\n")
        """,
    )
    assert sidecar.close(30) == "two records wait"


def test_a_sidecar_may_work_on_when_training_has_ended(tmp_path: Path) -> None:
    sidecar = started(
        tmp_path,
        """
        os.close(training)
        while not process.is_training_over(60):
            pass
        (run / "after").touch()
        """,
    )
    assert sidecar.close(30) == ""
    wait_for((tmp_path / "after").exists)


def test_one_that_hangs_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    sidecar = started(tmp_path, "time.sleep(60)")
    began = time.monotonic()
    assert sidecar.close(0.2) == ""
    assert time.monotonic() - began < 10
    os.kill(int((tmp_path / "ready").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_for_training_are_ignored_at_low_priority(number: int, tmp_path: Path) -> None:
    sidecar = started(tmp_path, "process.is_training_over(60)\nos.write(training, b'alive')")
    process = psutil.Process(int((tmp_path / "ready").read_text()))
    assert process.nice() >= 7
    process.send_signal(number)
    assert sidecar.close(30) == "alive"


def test_a_line_is_appended_to_the_log_of_a_run_that_still_exists(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("first\n")
    sidecar = started(tmp_path, "process.append_to_log(run, 'second')\nprocess.append_to_log(run / 'gone', 'x')")
    sidecar.close(30)
    assert (tmp_path / "log").read_text() == "first\nsecond\n"
    assert not (tmp_path / "gone").exists()
