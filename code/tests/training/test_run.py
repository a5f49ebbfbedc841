"""The run that the manager hands to training."""

import os
from pathlib import Path

import pytest

from tests.support import play


def test_a_run_whose_lock_was_not_handed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from exper.training.run import handed_run

    run = play.born(tmp_path / "0")
    run.lock.touch()
    with open(os.devnull) as other, pytest.raises(SystemExit) as error:  # noqa: SIM117
        with handed_run(play.environment(run, other.fileno())):
            pass
    assert error.value.code == 2
    assert "unset EXPER_RUN" in capsys.readouterr().err
    assert not run.refused.exists()
