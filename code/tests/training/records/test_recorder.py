import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exper.core import paths
from exper.core.errors import Refused
from exper.training.records.recorder import Recorder

ABOUT = {"format": 1, "hparam": {"optimizer.lr": 0.1}, "data": {}, "device": {}}


def line(epoch: int, loss: float) -> dict[str, Any]:
    return {"epoch": epoch, "step": 10 * epoch, "val/loss": loss, "lr": 0.1, "weights": "abc", "seconds": 1.5}


OPEN: list[Recorder] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def begun(run: paths.Run, saved: Any = None) -> Recorder:
    OPEN.append(Recorder(run, ["tensorboard"]))
    OPEN[-1].start(ABOUT, saved, 0)
    return OPEN[-1]


def read(run: paths.Run) -> Any:
    return json.loads(run.statistic.read_text())


def test_statistic_json_is_there_from_the_start(tmp_path: Path) -> None:
    begun(paths.Run(tmp_path))
    assert read(paths.Run(tmp_path)) == {**ABOUT, "metric": {"last": {}, "best": {}, "test": {}}}


def test_last_best_and_test_are_results_alone(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    statistic = begun(run)
    statistic.end_epoch(line(1, 0.25), line(1, 0.25))
    statistic.end_epoch(line(2, 1 / 3), line(1, 0.25))
    statistic.end_test({"epoch": 1, "test/loss": 0.5})
    best = {"epoch": 1, "val/loss": 0.25}
    last = {"epoch": 2, "val/loss": 1 / 3}
    assert read(run)["metric"] == {"last": last, "best": best, "test": {"epoch": 1, "test/loss": 0.5}}


def test_history_has_full_precision_and_every_line_at_once(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    begun(run).add(line(1, 0.1 + 0.2))
    assert json.loads(run.history.read_text()) == line(1, 0.1 + 0.2)


def test_continuing_cuts_back_to_the_checkpoint(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    statistic = begun(run)
    statistic.end_epoch(line(1, 0.25), line(1, 0.25))
    saved = statistic.state_dict()
    before = run.history.read_bytes()
    statistic.end_epoch(line(2, 0.2), line(2, 0.2))
    with open(run.history, "ab") as file:
        file.write(b'{"epoch": 3, "st')
    begun(run, saved)
    assert run.history.read_bytes() == before
    assert read(run)["metric"]["best"]["epoch"] == 1


def test_a_history_that_lost_lines_is_named_and_not_filled_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = paths.Run(tmp_path)
    statistic = begun(run)
    statistic.add(line(1, 0.25))
    saved = statistic.state_dict()
    run.history.write_bytes(b"")
    begun(run, saved)
    assert "lost its last" in capsys.readouterr().out
    assert run.history.read_bytes() == b""


def test_an_unknown_logger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="Did you mean 'tensorboard'"):
        Recorder(paths.Run(tmp_path), ["tensorbord"])
