"""The curves of a run, from its history.jsonl and hardware.jsonl."""

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


def written(run: paths.Run, times: list[float], **numbers: float) -> None:
    with open(run.hardware, "a") as file:
        for at in times:
            line = {"time": at, "step": 1, "machine/cpu_percent": 50.0, "machine/memory_percent": 25.0, **numbers}
            file.write(json.dumps(line) + "\n")


def test_curves_go_by_minutes_and_cut_pauses_short(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    assert history.hardware(run) == {}
    written(run, [1000.0 + 60 * minute for minute in range(4)], **{"gpu0/percent": 90.0, "gpu0/memory_percent": 10.0})
    written(run, [90_000.0 + 60 * minute for minute in range(2)], **{"gpu0/percent": 90.0})
    written(run, [5.0])  # the clock was set back
    found = history.hardware(run)
    assert list(found) == ["CPU", "memory", "GPU 0", "memory of GPU 0"]
    assert found["CPU"] == ([0.0, 1.0, 2.0, 3.0, 6.0, 7.0, 7.0], [50.0] * 7)
    assert found["memory of GPU 0"] == ([0.0, 1.0, 2.0, 3.0], [10.0] * 4)


def test_of_a_long_run_some_points_are_drawn(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    written(run, [float(10 * number) for number in range(9000)])
    assert 1000 < len(history.hardware(run)["CPU"].x) <= 2000
