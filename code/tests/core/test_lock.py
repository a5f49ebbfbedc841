"""Locks: of one holder, shared by inheritance, free when the last holder dies, and asked without being taken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exper.core import lock
from exper.core.errors import Refused

CODE = Path(__file__).parents[2]
_HOLD = "import sys, time; print('holds', flush=True); time.sleep(60)"


def test_a_second_taker_gets_nothing_until_the_first_closes(tmp_path: Path) -> None:
    first = lock.take(tmp_path / "lock")
    assert first is not None
    assert lock.take(tmp_path / "lock") is None
    assert lock.is_held(tmp_path / "lock")
    os.close(first)
    assert not lock.is_held(tmp_path / "lock")
    again = lock.take(tmp_path / "lock")
    assert again is not None
    os.close(again)


def test_a_child_that_was_handed_it_holds_it_after_us_and_frees_it_when_killed(tmp_path: Path) -> None:
    held = lock.take(tmp_path / "lock")
    assert held is not None
    with subprocess.Popen([sys.executable, "-c", _HOLD], pass_fds=[held], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        os.close(held)
        assert lock.is_held(tmp_path / "lock")
        child.kill()
        child.wait()
        assert not lock.is_held(tmp_path / "lock")


def test_asking_never_takes_it(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\nfrom pathlib import Path\nfrom exper.core import lock\n"
        "print('asks', flush=True)\nwhile True: lock.is_held(Path(sys.argv[2]))\n"
    )
    words = [sys.executable, "-c", script, str(CODE), str(tmp_path / "lock")]
    (tmp_path / "lock").touch()
    with subprocess.Popen(words, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == b"asks\n"
        for _ in range(2000):
            held = lock.take(tmp_path / "lock")
            assert held is not None
            os.close(held)
        asking.kill()


def test_what_is_not_there_is_held_by_nobody(tmp_path: Path) -> None:
    assert not lock.is_held(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_descriptor_is_told_from_one_that_was_not_handed(tmp_path: Path) -> None:
    held = lock.take(tmp_path / "lock")
    other = lock.take(tmp_path / "other")
    assert held is not None
    assert other is not None
    assert lock.is_handed(held, tmp_path / "lock")
    assert not lock.is_handed(other, tmp_path / "lock")
    assert not lock.is_handed(-1, tmp_path / "lock")
    assert not lock.is_handed(9999, tmp_path / "lock")
    with open(tmp_path / "lock") as mine:
        assert not lock.is_handed(mine.fileno(), tmp_path / "lock")
    os.close(held)
    os.close(other)


def test_waiting_ends_after_the_time_given(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.held(path), pytest.raises(Refused, match="another process"), lock.held(path, wait_seconds=0.05):
        pass
