"""A run and its repetition, compared from their files while one grows."""

import json
from pathlib import Path
from typing import Any

import pytest

from exper.core import paths
from exper.core.errors import Refused
from exper.verify.comparison import NOTHING, THE_END, Comparison

STATISTIC = {"hparam": {"lr": 0.1}, "data": {"fingerprint": "ab"}, "metric": {"best": {"acc": 0.5}, "test": {}}}


def lines(count: int) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "step": 10 * epoch, "val/loss": 1 / epoch, "seconds": 0.1} for epoch in range(1, count + 1)
    ]


def write(folder: Path, history: list[dict[str, Any]], statistic: dict[str, Any] = STATISTIC) -> paths.Run:
    folder.mkdir(parents=True, exist_ok=True)
    run = paths.Run(folder)
    run.history.write_text("".join(json.dumps(line) + "\n" for line in history))
    run.statistic.write_text(json.dumps(statistic))
    return run


@pytest.fixture
def recorded(tmp_path: Path) -> paths.Run:
    """Return a run of three epochs."""
    return write(tmp_path / "base" / "0", lines(3))


def test_lines_are_compared_as_they_are_written_and_a_torn_one_waits(recorded: paths.Run, tmp_path: Path) -> None:
    compared = Comparison(recorded, is_finished=True)
    compared.place = write(tmp_path / "new", lines(1))
    with open(compared.place.history, "a") as file:
        file.write('{"epoch": 2, ')
        file.flush()
        assert not compared.is_over()
        assert (compared.epoch, compared.step) == (1, 10)
        file.write('"step": 20, "val/loss": 0.5, "seconds": 9}\n')
        file.flush()
        assert not compared.is_over()
    assert (compared.epoch, compared.difference) == (2, None)


def test_the_first_number_that_differs_ends_it(recorded: paths.Run, tmp_path: Path) -> None:
    changed = lines(3)
    changed[1] |= {"val/loss": 0.25, "val/acc": 1.0}
    compared = Comparison(recorded, is_finished=True)
    compared.place = write(tmp_path / "new", changed)
    assert compared.is_over()
    difference = compared.difference
    assert difference is not None
    assert (difference.where, difference.quantity, difference.also) == ("at epoch 2, step 20", "val/loss", ["val/acc"])
    assert (difference.recorded, difference.now, difference.line) == (0.5, 0.25, 1)


def test_inputs_are_compared_before_the_first_line(recorded: paths.Run, tmp_path: Path) -> None:
    compared = Comparison(recorded, is_finished=True)
    compared.place = write(tmp_path / "new", [], STATISTIC | {"data": {"fingerprint": "cd"}})
    assert compared.is_over()
    assert compared.difference is not None
    assert (compared.difference.where, compared.difference.quantity) == ("before the first step", "data fingerprint")


def test_results_are_compared_once_training_has_finished(recorded: paths.Run, tmp_path: Path) -> None:
    compared = Comparison(recorded, is_finished=True)
    compared.place = write(tmp_path / "new", lines(3), STATISTIC | {"metric": {"best": {"acc": 0.75}, "test": {}}})
    assert not compared.is_over()
    compared.end("finished")
    assert compared.difference is not None
    assert (compared.difference.where, compared.difference.quantity) == ("after training", "best.acc")


def test_a_repetition_that_ends_early_differs(recorded: paths.Run, tmp_path: Path) -> None:
    for ended, quantity, now in (("failed (exit code 1)", THE_END, "failed (exit code 1)"),
                                 ("finished", "the line of history", NOTHING)):  # fmt: skip
        compared = Comparison(recorded, is_finished=True)
        compared.place = write(tmp_path / "new", lines(2))
        compared.end(ended)
        assert compared.difference is not None
        assert (compared.difference.quantity, compared.difference.now) == (quantity, now)


def test_some_epochs_and_an_unfinished_run_are_enough(recorded: paths.Run, tmp_path: Path) -> None:
    new = write(tmp_path / "new", lines(3))
    for compared, epoch in (
        (Comparison(recorded, is_finished=True, epochs=2), 2),
        (Comparison(recorded, is_finished=False), 3),
    ):
        compared.place = new
        assert compared.is_over()
        assert (compared.epoch, compared.wanted, compared.difference) == (epoch, epoch, None)


def test_a_run_without_anything_to_compare_is_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "base" / "0", [])
    with pytest.raises(Refused, match="so there is nothing to compare"):
        Comparison(run, is_finished=False)
    assert Comparison(run, is_finished=True).epochs == 0
