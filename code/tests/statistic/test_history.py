"""The curves of a run, as its history.jsonl has them."""

import json
from pathlib import Path

from exper.core import paths
from exper.statistic import history


def test_a_later_point_of_the_same_epoch_counts_and_points_are_in_order(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    points = [(2, 5.0), (1, 6.0), (2, 7.0), (float("inf"), 8.0), (float("nan"), 9.0), (None, 1.0)]
    lines = [{"epoch": epoch, "step": 9, "lr": value, "step/loss": value} for epoch, value in points]
    run.history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert history.curves(run) == {"lr": ([1, 2], [6.0, 7.0]), "step/loss": ([9], [1.0])}


def test_without_a_place_there_is_no_curve(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    run.history.write_text('{"epoch": NaN, "val/loss": 1.0}\n')
    assert history.curves(run) == {}
