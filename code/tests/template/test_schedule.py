import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler

from exper.core.errors import Refused
from schedule import SCHEDULER, Rate, rate


def optimizer(*rates: float) -> Optimizer:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": one} for one in rates or (1.0,)]
    return torch.optim.SGD(groups, lr=rates[0] if rates else 1.0)


def curve(scheduler: dict[str, Any] | None, steps: int, epochs: int = 1, *rates: float) -> list[list[float]]:
    """Return the rates of each group at each step."""
    of = optimizer(*rates)
    schedule = rate(of, scheduler, steps, epochs)
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in of.param_groups])
        schedule.step()
    return found


def first(scheduler: dict[str, Any] | None, steps: int, epochs: int = 1) -> list[float]:
    return [one for (one,) in curve(scheduler, steps, epochs)]


@pytest.mark.parametrize(
    ("scheduler", "wanted"),
    [
        (None, [1, 1, 1, 1]),
        ({"name": "constant"}, [1, 1, 1, 1]),
        ({"name": "linear"}, [1, 0.75, 0.5, 0.25]),
        ({"name": "linear", "floor": 0.2}, [1, 0.8, 0.6, 0.4]),
        ({"name": "cosine"}, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ({"name": "cosine", "floor": 0.5}, [1, 0.75 + math.sqrt(0.5) / 4, 0.75, 0.75 - math.sqrt(0.5) / 4]),
        ({"name": "stairs", "at": [0.25, 0.75]}, [1, 0.1, 0.1, 0.01]),
        ({"name": "stairs", "at": [0.5], "factor": 0.5}, [1, 1, 0.5, 0.5]),
        ({"name": "cosine_warmup_decay", "peak": 0.5}, [0.04, 0.52, 1, 0.5]),
        ({"name": "cosine_warmup_decay", "peak": 0.0}, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        (
            {"name": "cosine_warmup_decay", "peak": 1.0},
            [0.04, 0.52 - 0.48 * math.sqrt(0.5), 0.52, 0.52 + 0.48 * math.sqrt(0.5)],
        ),
        ({"name": "constant", "warmup": 0.75}, [0.25, 0.5, 0.75, 1]),
        ({"name": "linear", "warmup": 0.5}, [1 / 3, 2 / 3, 1, 0.5]),
        ({"name": "constant", "warmup": 1.0}, [0.2, 0.4, 0.6, 0.8]),
        ({"name": "plateau"}, [1, 1, 1, 1]),
    ],
)
def test_curves_by_hand(scheduler: dict[str, Any] | None, wanted: list[float]) -> None:
    assert first(scheduler, steps=4) == pytest.approx(wanted, abs=1e-12)


def of_torch(scheduler: type[Any], steps: int, **arguments: Any) -> list[float]:
    of = optimizer()
    schedule = scheduler(of, **arguments)
    found = []
    for _ in range(steps):
        found.append(of.param_groups[0]["lr"])
        of.step()
        schedule.step()
    return found


def test_curves_are_those_of_torch() -> None:
    n = 40
    assert first({"name": "cosine", "floor": 0.1}, n) == pytest.approx(
        of_torch(lr_scheduler.CosineAnnealingLR, n, T_max=n, eta_min=0.1), abs=1e-9
    )
    assert first({"name": "linear", "floor": 0.2}, n) == pytest.approx(
        of_torch(lr_scheduler.LinearLR, n, start_factor=1.0, end_factor=0.2, total_iters=n), abs=1e-9
    )
    assert first({"name": "stairs", "at": [0.5, 0.75], "factor": 0.3}, n) == pytest.approx(
        of_torch(lr_scheduler.MultiStepLR, n, milestones=[20, 30], gamma=0.3), abs=1e-9
    )
    # torch's last step is at the floor; ours is the step before that, as at the floor nothing is learned
    whole = {"total_steps": n + 1, "pct_start": (0.3 * n + 1) / (n + 1), "max_lr": 1.0, "final_div_factor": 1e12}
    assert first({"name": "cosine_warmup_decay", "peak": 0.3}, n) == pytest.approx(
        of_torch(lr_scheduler.OneCycleLR, n, cycle_momentum=False, **whole), abs=1e-9
    )


def two_groups(kind: str) -> Optimizer:
    """Return an optimizer of two groups whose weights change with each step."""
    groups = [{"params": [torch.ones(2, requires_grad=True)], "lr": lr} for lr in (0.1, 0.02)]
    kinds: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}
    built: Optimizer = kinds[kind](groups, lr=0.1)
    return built


def learn(of: Optimizer, schedule: Any, steps: int) -> list[list[Any]]:
    """Take steps; return the learning rate, momentum and weights of each group after each."""
    lines = []
    for _ in range(steps):
        values = [(group["lr"], group.get("momentum"), group.get("betas")) for group in of.param_groups]
        for group in of.param_groups:
            (weight,) = group["params"]
            weight.grad = weight.detach().clone()
        of.step()
        schedule.step()
        lines.append([values, [group["params"][0].tolist() for group in of.param_groups]])
    return lines


ONE_CYCLES: list[dict[str, Any]] = [
    {},
    {"pct_start": 0.5, "anneal_strategy": "linear", "div_factor": 10, "final_div_factor": 100},
    {"three_phase": True, "base_momentum": 0.8, "max_momentum": 0.9},
    {"cycle_momentum": False},
    {"pct_start": 1},
]


@pytest.mark.parametrize("kind", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("arguments", ONE_CYCLES, ids=lambda arguments: ", ".join(arguments) or "defaults")
def test_one_cycle_is_that_of_torch_to_the_bit(kind: str, arguments: dict[str, Any]) -> None:
    ours = two_groups(kind)
    theirs = two_groups(kind)
    with_floats = arguments | {"pct_start": float(arguments.get("pct_start", 0.3))}
    torchs = lr_scheduler.OneCycleLR(theirs, [0.1, 0.02], total_steps=40, **with_floats)
    own = rate(ours, {"name": "one_cycle", **arguments}, 40, 4)
    assert learn(ours, own, 39) == learn(theirs, torchs, 39)
    assert learn(ours, own, 1)[0][0] == [
        (group["lr"], group.get("momentum"), group.get("betas")) for group in theirs.param_groups
    ]


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_one_cycle_moves_the_momentum_against_the_learning_rate(kind: str) -> None:
    of = two_groups(kind)
    lines = learn(of, rate(of, {"name": "one_cycle"}, 100, 4), 100)
    momentum = [values[0][1] if kind == "sgd" else values[0][2][0] for values, _ in lines]
    assert (momentum[0], momentum[99]) == pytest.approx((0.95, 0.95))
    assert momentum[29] == pytest.approx(0.85)
    for group, peak in enumerate([0.1, 0.02]):
        rates = [values[group][0] for values, _ in lines]
        assert (rates[0], rates[29], rates[99]) == pytest.approx((peak / 25, peak, peak / 25e4))


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize("cut", [0, 1, 7, 12, 19, 20])
def test_one_cycle_resumes_to_the_bit(kind: str, cut: int, tmp_path: Path) -> None:
    scheduler = {"name": "one_cycle", "three_phase": True}
    unbroken = two_groups(kind)
    before = two_groups(kind)
    after = two_groups(kind)
    whole = learn(unbroken, rate(unbroken, scheduler, 20, 4), 20)
    schedule = rate(before, scheduler, 20, 4)
    learn(before, schedule, cut)
    weights = [group["params"][0].detach() for group in before.param_groups]
    torch.save([weights, before.state_dict(), schedule.state_dict()], tmp_path / "saved")
    weights, of_optimizer, of_schedule = torch.load(tmp_path / "saved", weights_only=True)
    resumed = rate(after, scheduler, 20, 4)
    with torch.no_grad():
        for group, weight in zip(after.param_groups, weights, strict=True):
            group["params"][0].copy_(weight)
    after.load_state_dict(of_optimizer)
    resumed.load_state_dict(of_schedule)
    assert learn(after, resumed, 20 - cut) == whole[cut:]


@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("share", [0, 0.125, 0.5, 1])
def test_one_cycle_takes_any_number_of_steps(steps: int, share: float) -> None:
    of = two_groups("sgd")
    lines = learn(of, rate(of, {"name": "one_cycle", "pct_start": share}, steps, 1), steps)
    assert all(0 < values[0][0] <= 0.1 for values, _ in lines)


def test_one_cycle_warns_of_no_missing_step_where_fp16_has_skipped_the_first() -> None:
    own = rate(two_groups("sgd"), {"name": "one_cycle"}, 10, 1)
    own.step()  # warnings are errors


def test_rates_of_the_first_epochs_hand_over_to_warmup_and_schedule() -> None:
    scheduler = {"name": "linear", "rates": [0.1, 0.05], "warmup": 0.5}
    found = curve(scheduler, 12, 6, 0.2, 0.02)  # 2 steps an epoch; then 8 steps: 4 to rise, 4 to fall
    wanted = [0.1, 0.1, 0.05, 0.05, *(0.2 * one for one in (0.2, 0.4, 0.6, 0.8, 1, 0.75, 0.5, 0.25))]
    assert [one for one, _ in found] == pytest.approx(wanted)
    assert [other for _, other in found] == pytest.approx([one / 10 for one in wanted])  # groups keep their proportions


def test_rates_for_more_epochs_than_there_are() -> None:
    assert first({"name": "cosine", "rates": [0.3, 0.2, 0.1]}, 4, epochs=2) == pytest.approx([0.3, 0.3, 0.2, 0.2])


@pytest.mark.parametrize("name", [name for name in SCHEDULER if name != "one_cycle"])
def test_a_schedule_goes_on_from_its_state(name: str) -> None:
    scheduler = {"name": name, "rates": [0.5], "warmup": 0.3} | ({"at": [0.5]} if name == "stairs" else {})
    whole = first(scheduler, 20, 4)
    of = optimizer()
    before = rate(optimizer(), scheduler, 20, 4)
    for _ in range(9):
        before.step()
    after = rate(of, scheduler, 20, 4)
    after.load_state_dict(before.state_dict())
    for step in range(9, 20):
        assert of.param_groups[0]["lr"] == whole[step]
        after.step()


VALUES = [1.0, 2.0, 1.5, 2.0, 2.05, 3.0, 2.9, 2.9, 2.9, 2.9, float("nan"), 2.9, 4.0]


@pytest.mark.parametrize("patience", [1, 2, 3])
@pytest.mark.parametrize("min_delta", [0.0, 0.1])
def test_a_plateau_is_that_of_torch(patience: int, min_delta: float) -> None:
    """But that ours waits for `patience` epochs without progress, and theirs for one more."""
    ours = optimizer()
    theirs = optimizer()
    own = rate(ours, {"name": "plateau", "factor": 0.5, "patience": patience, "min_delta": min_delta}, 100, 100)
    other = lr_scheduler.ReduceLROnPlateau(
        theirs, "max", factor=0.5, patience=patience - 1, threshold=min_delta, threshold_mode="abs", eps=0
    )
    for value in VALUES:
        own.step()
        own.end_epoch(value)
        other.step(value)
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])


def test_a_plateau_goes_on_from_its_state() -> None:
    scheduler = {"name": "plateau", "factor": 0.5, "patience": 2}
    for cut in range(len(VALUES)):
        unbroken = optimizer()
        of = optimizer()
        whole, before, after = (rate(one, scheduler, 100, 100) for one in (unbroken, optimizer(), of))
        for value in VALUES[:cut]:
            before.end_epoch(value)
        after.load_state_dict(before.state_dict())
        for value in VALUES[cut:]:
            after.end_epoch(value)
        for value in VALUES:
            whole.end_epoch(value)
        assert of.param_groups[0]["lr"] == unbroken.param_groups[0]["lr"]


def test_a_plateau_does_not_look_while_rates_and_warmup_last() -> None:
    of = optimizer()
    own = rate(of, {"name": "plateau", "patience": 1, "rates": [0.5], "warmup": 0.5}, 10, 5)  # 2, then 4 to rise
    for epoch in range(5):
        own.step()
        own.step()
        own.end_epoch(-epoch)
    assert isinstance(own, Rate)
    assert own.factor(10) == pytest.approx(0.01)  # the third epoch is the first that counts, and progress


@pytest.mark.parametrize(
    ("scheduler", "says"),
    [
        ({"name": "cosin"}, "scheduler.name: 'cosin' is unknown. Did you mean 'cosine'?"),
        ({"name": "stairs"}, "scheduler lacks 'at'"),
        ({"name": "stairs", "at": 0.5}, "scheduler.at = 0.5: must be a list, each a number from 0 to 1."),
        ({"name": "cosine", "warm": 0.1}, "scheduler: 'warm' is unknown. Did you mean 'warmup'? Known: floor, rates, "),
        ({"name": "constant", "rates": [0]}, "scheduler.rates = [0]: must be a list, each a number above 0 or None."),
        ({"name": "plateau", "patience": 0}, "scheduler.patience = 0: must be a whole number at least 1."),
        ({"name": "one_cycle", "peak": 0.3}, "scheduler: 'peak' is unknown. Known: anneal_strategy, base_momentum, "),
        ({"name": "one_cycle", "warmup": 0.1}, "scheduler: 'warmup' is unknown."),
        ({"name": "one_cycle", "max_momentum": 1.0}, "scheduler.max_momentum = 1.0: must be a number at least 0 and"),
    ],
)
def test_what_is_wrong_is_said(scheduler: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused) as error:
        rate(optimizer(), scheduler, 10, 2)
    assert says in str(error.value)


def test_rates_need_a_rate_to_be_a_share_of() -> None:
    with pytest.raises(Refused, match="rates need an lr above 0"):
        rate(optimizer(0.0), {"name": "constant", "rates": [0.1]}, 10, 2)
