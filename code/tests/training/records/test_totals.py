"""Numbers of a user's own, in history's lines of epochs and steps."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import loss
from exper.training.data.batches import Batch
from exper.training.records.totals import Means, Totals
from exper.training.state import State
from metric import METRIC, build
from tests.support import play
from tests.support.drawn import batches, fed


def test_the_epochs_line_has_means_and_the_steps_the_latest() -> None:
    means = Means()
    for value in (1.0, torch.tensor(2.0, requires_grad=True), 6):
        means.add({"gap": value, "body/norm": 1.0}, taken=())
    assert means.values() == {"train/gap": 3.0, "body/norm": 1.0}
    assert means.last() == {"step/gap": 6.0}


def test_names_that_history_has_are_refused() -> None:
    for name in ("loss", "acc", "train/acc", "val/loss"):
        with pytest.raises(ValueError, match="already: log it under another name"):
            Means().add({name: 1.0}, taken=("loss", "acc"))
    Means().add({"body/loss": 1.0}, taken=("loss", "acc"))


@pytest.mark.parametrize(
    "value", [torch.ones(3), torch.ones(3).numpy(), torch.ones(0, 2)], ids=["tensor", "numpy", "0"]
)
def test_what_is_not_one_number_is_refused_at_once(value: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"'norms' has the shape {re.escape(str(tuple(value.shape)))}: log one number"
    ):
        Means().add({"norms": value}, taken=())
    Means().add({"norm": torch.ones(1)}, taken=())


def test_a_state_goes_on_where_it_was_in_types_that_a_checkpoint_may_hold(tmp_path: Path) -> None:
    means = Means()
    again = Means()
    means.add({"gap": torch.tensor(1.0), "n": 2}, taken=())
    torch.save(means.state_dict(), tmp_path / "x")
    again.load_state_dict(torch.load(tmp_path / "x", weights_only=True))
    for one in (means, again):
        one.add({"gap": 4.0}, taken=())
    assert again.values() == means.values() == {"train/gap": 2.5, "train/n": 2.0}


class Telling(nn.Module):
    """A loss that logs a number of its own in training."""

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            assert STATE
            STATE[0].log(largest=output_BK.detach().max(), one=1)
        return nn.functional.cross_entropy(output_BK, target_B)


STATE: list[State] = []


def test_one_call_reaches_history_and_survives_a_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss.LOSS, "telling", Telling)
    made = State.__init__

    def init(self: State, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        STATE[:] = [self]

    monkeypatch.setattr(State, "__init__", init)
    settings = play.small(loss={"name": "telling"}, log_every_steps=2)
    run = play.born(tmp_path / "0")
    play.train(run, settings)
    lines = play.history(run)
    assert [line["step"] for line in lines if "step/largest" in line] == [2, 4, 6, 8, 10, 12]
    assert all(line["train/one"] == 1 for line in lines if "weights" in line)
    assert play.statistic(run)["metric"]["last"]["train/one"] == 1

    whole = run.history.read_bytes()
    (run.checkpoint / "epoch_3.path").unlink()
    assert (run.checkpoint / "epoch_2_step_12.path").exists()
    play.train(run, settings)
    numbers = [
        [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in text.splitlines()]
        for text in (whole, run.history.read_bytes())
    ]
    assert numbers[0] == numbers[1]


ALL: list[dict[str, Any]] = [
    {"name": name, **({"k": 3} if name == "top_k" else {})} for name in METRIC if name not in ("psnr", "ssim")
]


def test_sums_go_on_from_a_saved_state() -> None:
    some = batches()
    unbroken = fed(Totals(build(ALL)), some)
    again = Totals(build(ALL))
    again.load_state_dict(fed(Totals(build(ALL)), some[:2]).state_dict())
    fed(again, some[2:])
    assert again.values("val") == unbroken.values("val")
    assert again.tables("val") == unbroken.tables("val")


def test_a_state_is_sums_that_several_processes_may_add() -> None:
    some = batches()
    first, second, both = (fed(Totals(build(ALL)), one).state_dict()["metrics"] for one in (some[:2], some[2:], some))
    for name, sums in both.items():
        for key, sum_ in sums.items():
            assert torch.equal(torch.as_tensor(first[name][key] + second[name][key]), torch.as_tensor(sum_)), name


def test_the_last_of_several_outputs_counts() -> None:
    output, label = batches()[0]
    totals = Totals(build([{"name": "acc"}]))
    totals.add(torch.tensor(0.0), [-output, output], Batch(output, label, 1.0))
    assert (
        totals.values("train")["train/acc"]
        == fed(Totals(build([{"name": "acc"}])), [(output, label)]).values("train")["train/acc"]
    )


def test_the_first_batch_that_is_not_finite_is_known() -> None:
    totals = Totals(build([]))
    for batch_loss in (1.0, 2.0, float("inf"), 1.0, float("nan"), 1.0):
        totals.add(torch.tensor(batch_loss), torch.zeros(1, 2), Batch(torch.zeros(1), torch.zeros(1), 1.0))
        totals.end_batch()
    assert int(totals.finite) == 2
