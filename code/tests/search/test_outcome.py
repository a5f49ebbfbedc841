"""The outcome of a trial and its curve, from the files of runs."""

import json
from pathlib import Path

import pytest

from exper.core import paths
from exper.runs import run_record
from exper.search import outcome
from exper.search.outcome import Curve, Outcome


@pytest.fixture
def runs(tmp_path: Path) -> list[paths.Run]:
    """Return two runs of a trial, which do not exist yet."""
    tag = paths.Project(tmp_path).tag("wide+lr=0.1")
    return [tag.run(0), tag.run(1)]


def end(run: paths.Run, status: str, value: float | None = None) -> None:
    """Write a run that has ended with a best value."""
    run.folder.mkdir(parents=True, exist_ok=True)
    record = run_record.begin(run_record.new(run.tag, "0" * 40, 0, 1), ["search", "wide"])
    run_record.write(run, run_record.end(record | {"id": run.id}, status, 1 if status == "failed" else 0))
    best = {} if value is None else {"val/acc": value}
    run.statistic.write_text(json.dumps({"hparam": {}, "metric": {"best": best}}))


def test_the_value_is_the_mean_of_all_seeds_once_all_have_finished(runs: list[paths.Run]) -> None:
    assert outcome.of(runs, "val/acc") is None
    end(runs[0], "finished", 0.5)
    assert outcome.of(runs, "val/acc") is None
    end(runs[1], "finished", 0.75)
    assert outcome.of(runs, "val/acc") == Outcome(0.625)


def test_one_failed_run_fails_the_trial(runs: list[paths.Run]) -> None:
    end(runs[0], "finished", 0.5)
    end(runs[1], "failed")
    result = outcome.of(runs, "val/acc")
    assert result is not None
    assert result.why == "wide+lr=0.1/1: failed (exit code 1)"


def test_a_pruned_first_run_ends_the_trial_without_a_value(runs: list[paths.Run]) -> None:
    end(runs[0], "pruned", 0.5)
    assert outcome.of(runs, "val/acc") == Outcome()


@pytest.mark.parametrize(("value", "why"), [(None, "it has no val/acc"), (float("nan"), "its best val/acc is nan")])
def test_without_a_finite_value_a_finished_trial_has_failed(
    runs: list[paths.Run], value: float | None, why: str
) -> None:
    end(runs[0], "finished", value)
    assert outcome.of(runs[:1], "val/acc") == Outcome(why=f"wide+lr=0.1/0: {why}")


def test_a_damaged_run_fails_the_trial(runs: list[paths.Run]) -> None:
    end(runs[0], "finished", 0.5)
    runs[0].record.write_text("{")
    assert outcome.of(runs[:1], "val/acc") == Outcome(why="wide+lr=0.1/0: damaged")


def test_a_curve_has_each_whole_epoch_once_also_after_a_run_was_resumed(runs: list[paths.Run]) -> None:
    curve = Curve(runs[0], "val/acc")
    assert list(curve.more()) == []
    runs[0].folder.mkdir(parents=True)
    lines = [json.dumps({"epoch": epoch, "val/acc": epoch / 8}) + "\n" for epoch in (1, 2, 3)]
    runs[0].history.write_text(lines[0] + lines[1] + lines[2][:9])
    assert list(curve.more()) == [(1, 0.125), (2, 0.25)]
    runs[0].history.write_text(lines[0])  # it goes on from an older checkpoint
    assert list(curve.more()) == []
    runs[0].history.write_text("".join(lines))
    assert list(curve.more()) == [(3, 0.375)]


def test_epochs_without_the_metric_are_left_out_of_its_curve(runs: list[paths.Run]) -> None:
    runs[0].folder.mkdir(parents=True)
    runs[0].history.write_text('{"epoch": 1}\n{"epoch": 2, "val/acc": "high"}\n{"epoch": 3, "val/acc": 0.5}\n')
    assert list(Curve(runs[0], "val/acc").more()) == [(3, 0.5)]
