"""Pictures of runs, and their panels."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from exper.core import paths
from exper.views import plotting

METRICS = st.lists(st.lists(st.sampled_from(["train", "val", "loss", "ce", "step"]), min_size=1).map("/".join))


def test_training_shares_a_panel_and_the_order_is_loss_metrics_learning_rate_steps_hardware() -> None:
    metrics = ["step/loss", "lr", "train/acc", "hardware, % CPU", "val/acc", "train/loss", "val/loss", "test/loss"]
    assert [(panel.title, panel.metrics, panel.against) for panel in plotting.panels(metrics)] == [
        ("loss", ["train/loss", "val/loss"], "epoch"),
        ("acc", ["train/acc", "val/acc"], "epoch"),
        ("test/loss", ["test/loss"], "epoch"),
        ("lr", ["lr"], "epoch"),
        ("step/loss", ["step/loss"], "step"),
        ("hardware, %", ["hardware, % CPU"], "minute"),
    ]


@given(METRICS)
def test_every_metric_has_a_panel_which_one_of_training_may_share(metrics: list[str]) -> None:
    panels = plotting.panels(metrics)
    assert sorted(name for panel in panels for name in panel.metrics) == sorted(set(metrics))
    for panel in panels:
        is_train = [plotting.split(name) == "train" for name in panel.metrics]
        assert len(set(is_train)) == len(is_train)


def test_the_picture_of_a_run_has_a_panel_more_unless_that_file_is_damaged(tmp_path: Path) -> None:
    run = paths.Run(tmp_path / "base" / "0")
    run.folder.mkdir(parents=True)
    run.history.write_text('{"epoch": 1, "val/loss": 1.0}\n{"epoch": 2, "val/loss": 0.5}\n')
    without = plotting.of_run(run)
    run.hardware.write_text("x\n")
    assert plotting.of_run(run) == without
    lines = [{"time": seconds, "step": 1, "machine/cpu_percent": 50.0} for seconds in (0.0, 60.0)]
    run.hardware.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert plotting.of_run(run) != without
