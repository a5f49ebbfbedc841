import pytest

from exper.core.errors import Refused
from exper.training.monitor import Monitor

KNOWN = ["val/acc", "val/loss"]


def see(monitor: Monitor, *values: float) -> Monitor:
    for epoch, value in enumerate(values, 1):
        monitor.see({"epoch": epoch, "val/acc": value, "val/loss": value})
    return monitor


def test_max_and_min_find_the_first_best_epoch() -> None:
    assert see(Monitor("max val/acc", KNOWN), 0.1, 0.9, 0.5, 0.9).best["epoch"] == 2
    assert see(Monitor("min val/loss", KNOWN), 0.9, 0.1, 0.5, 0.1).best["epoch"] == 2


def test_without_a_rule_no_epoch_is_best() -> None:
    assert see(Monitor(None, KNOWN), 0.1, 0.2).best == {}


def test_nan_is_never_best() -> None:
    assert see(Monitor("max val/acc", KNOWN), float("nan"), 0.1, float("nan")).best["epoch"] == 2


def test_it_is_over_after_patience_epochs_without_progress() -> None:
    monitor = see(Monitor("max val/acc", KNOWN, patience=2), 0.5, 0.4)
    assert not monitor.is_over
    assert see(monitor, 0.5).is_over


def test_less_than_min_delta_is_no_progress_and_can_still_be_best() -> None:
    monitor = see(Monitor("max val/acc", KNOWN, patience=2, min_delta=0.1), 0.5, 0.55, 0.59)
    assert monitor.is_over
    assert monitor.best["epoch"] == 3


def test_a_restored_monitor_continues_to_count() -> None:
    monitor = Monitor("max val/acc", KNOWN, patience=2)
    monitor.load_state_dict(see(Monitor("max val/acc", KNOWN, patience=2), 0.5, 0.4).state_dict())
    assert see(monitor, 0.3).is_over


@pytest.mark.parametrize("rule", ["val/acc", "most val/acc", "max", "max val/acd", ""])
def test_a_wrong_rule_is_refused(rule: str) -> None:
    with pytest.raises(Refused, match="monitor"):
        Monitor(rule, KNOWN)


def test_early_stop_without_a_rule_is_refused() -> None:
    with pytest.raises(Refused, match="early_stop"):
        Monitor(None, KNOWN, patience=1)
