"""Fewer samples, by overfit and debug."""

from pathlib import Path

import pytest

from tests.support import play


def test_a_right_model_learns_a_few_samples_to_100_percent(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.config(overfit=30, epochs=40))
    statistic = play.statistic(run)
    assert statistic["data"]["size"] == {"train": 30, "val": 30, "test": 30}
    assert statistic["metric"]["best"]["val/acc"] == statistic["metric"]["test"]["test/acc"] == 1


def test_more_samples_than_there_are_is_refused(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    with pytest.raises(SystemExit):
        play.train(run, play.small(overfit=58))
    assert "overfit = 58: the training split has 57 samples." in run.refused.read_text()


def test_debug_takes_2_epochs_of_4_batches_and_says_so(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    play.train(run, play.config(debug=True))
    statistic = play.statistic(run)
    assert [line["step"] for line in play.history(run)] == [4, 8]
    assert statistic["data"]["size"] == {"train": 64, "val": 270, "test": 270}
    named = {"debug": True, "epochs": 2, "anomaly": True}
    assert {name: statistic["hparam"][name] for name in named} == named
