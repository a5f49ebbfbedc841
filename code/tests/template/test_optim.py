import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

import optim
from exper.core.errors import Refused
from loss import Loss
from model.mlp import MLP
from optim import Optimizers, Schedules

OFF = GradScaler("cpu", enabled=False)
ADAM = {"name": "adam", "lr": 0.1}
SGD = {"name": "sgd", "lr": 0.5}


class Net(nn.Module):
    """A body of two layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential()
        self.body.first = nn.Linear(4, 3)
        self.body.second = nn.Linear(3, 3)
        self.head = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)) * self.scale  # type: ignore[no-any-return]


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def optimizers(model: nn.Module, optimizer: dict[str, Any]) -> Optimizers:
    optim.check(optimizer, None, monitor="max val/acc")
    return Optimizers(model, optimizer)


def held(model: nn.Module, of: Optimizers) -> dict[str, list[tuple[list[str], float]]]:
    """Return, by optimizer, the names of the weights in each group and its rate."""
    names = {weight: name for name, weight in model.named_parameters()}
    return {
        prefix: [([names[one] for one in group["params"]], group["lr"]) for group in one.param_groups]
        for prefix, one in of.each.items()
    }


def learned(model: nn.Module, of: Optimizers) -> None:
    """Take a step."""
    of.zero_grad()
    generator = torch.Generator().manual_seed(1)
    model(torch.randn(5, 4, generator=generator)).square().sum().backward()
    of.step(OFF)


def test_one_optimizer_has_all_weights() -> None:
    model = net()
    of = optimizers(model, ADAM)
    assert held(model, of) == {"": [([name for name, _ in model.named_parameters()], 0.1)]}
    assert isinstance(of.each[""], torch.optim.Adam)
    assert of.lr == 0.1


def test_each_optimizer_has_the_weights_whose_names_begin_so() -> None:
    model = net()
    of = optimizers(model, {"body": ADAM, "head": SGD, "scale": {"name": "rmsprop", "lr": 0.2}})
    body = ["body.first.weight", "body.first.bias", "body.second.weight", "body.second.bias"]
    assert held(model, of) == {
        "body": [(body, 0.1)],
        "head": [(["head.weight", "head.bias"], 0.5)],
        "scale": [(["scale"], 0.2)],
    }


def test_a_step_is_that_of_torchs_optimizers() -> None:
    model = net()
    other = net()
    learned(model, optimizers(model, {"body": ADAM, "head": SGD | {"momentum": 0.9}, "scale": SGD}))
    steps = [
        torch.optim.Adam(other.body.parameters(), lr=0.1),
        torch.optim.SGD(other.head.parameters(), lr=0.5, momentum=0.9),
        torch.optim.SGD([other.scale], lr=0.5),
    ]
    other(torch.randn(5, 4, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    for one in steps:
        one.step()
    assert all(map(torch.equal, model.parameters(), other.parameters()))


def test_groups_have_arguments_of_their_own_and_inherit_the_rest() -> None:
    model = net()
    groups = {"body": {"lr": 0.01, "groups": {"first": {"lr": 0.001}}}, "head": {"weight_decay": 0.5}}
    of = optimizers(model, ADAM | {"groups": groups})
    assert held(model, of) == {
        "": [
            (["scale"], 0.1),
            (["body.second.weight", "body.second.bias"], 0.01),
            (["body.first.weight", "body.first.bias"], 0.001),
            (["head.weight", "head.bias"], 0.1),
        ]
    }
    assert [group["weight_decay"] for group in of.each[""].param_groups] == [0, 0, 0, 0.5]


def test_groups_of_one_of_several_optimizers_are_named_from_there() -> None:
    model = net()
    of = optimizers(model, {"body": ADAM | {"groups": {"second": {"lr": 1.0}}}, "head": SGD, "scale": SGD})
    assert held(model, of)["body"] == [
        (["body.first.weight", "body.first.bias"], 0.1),
        (["body.second.weight", "body.second.bias"], 1.0),
    ]


def test_the_schedule_scales_all_of_them() -> None:
    model = net()
    of = optimizers(model, {"body": ADAM | {"groups": {"first": {"lr": 0.01}}}, "head": SGD, "scale": SGD})
    schedules = Schedules(of, {"name": "linear"}, epoch_steps=5, epochs=2)
    for _ in range(5):
        learned(model, of)
        schedules.step()
    rates = [rate for groups in held(model, of).values() for _, rate in groups]
    assert rates == pytest.approx([0.05, 0.005, 0.25, 0.25])


def test_frozen_weights_belong_to_none_and_stay() -> None:
    model = net()
    model.body.requires_grad_(False)
    before = copy.deepcopy(model.body.state_dict())
    of = optimizers(model, {"head": ADAM, "scale": SGD})
    learned(model, of)
    assert all(torch.equal(one, before[name]) for name, one in model.body.state_dict().items())
    of = optimizers(model, ADAM | {"weight_decay": 0.1})
    learned(model, of)
    assert all(torch.equal(one, before[name]) for name, one in model.body.state_dict().items())


@pytest.mark.parametrize(
    ("optimizer", "says"),
    [
        ({"bodi": ADAM, "head": SGD}, "optimizer: 'bodi' is unknown. Did you mean 'body'? Known: body, head, scale."),
        ({"body": ADAM, "head": SGD}, "optimizer: no optimizer covers scale. Add one for: scale."),
        ({"head": SGD}, "optimizer: no optimizer covers scale. Add one for: scale, body."),
        (ADAM | {"groups": {"tail": {"lr": 0.1}}}, "optimizer.groups: 'tail' is unknown. Known: body, head, scale."),
        (
            ADAM | {"groups": {"body": {"groups": {"frist": {"lr": 0.1}}}}},
            "optimizer.groups.body.groups: 'frist' is unknown. Did you mean 'first'? Known: first, second.",
        ),
        (
            {"body": ADAM | {"groups": {"third": {}}}, "head": SGD, "scale": SGD},
            "optimizer.body.groups: 'third' is unknown. Known: first, second.",
        ),
        ({"body": ADAM, "body ": ADAM}, "optimizer: 'body ' is unknown."),
    ],
)
def test_names_that_do_not_cover_the_weights_are_refused(optimizer: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused) as error:
        optimizers(net(), optimizer)
    assert says in str(error.value)


def test_a_frozen_name_is_refused_with_the_reason() -> None:
    model = net()
    model.body.requires_grad_(False)
    with pytest.raises(Refused, match=r"'body' is unknown. Known: head, scale. Weights that are frozen don't count"):
        optimizers(model, {"body": ADAM, "head": SGD, "scale": SGD})
    with pytest.raises(Refused, match="the model has no weight that is not frozen"):
        optimizers(model.requires_grad_(False), ADAM)


@pytest.mark.parametrize(
    ("optimizer", "scheduler", "monitor", "says"),
    [
        ({}, None, None, 'optimizer = {}: write a component, such as {"name": "sgd"}.'),
        ({"body": 3}, None, None, "optimizer.body = 3: write a component"),
        ({"lr": 0.1}, None, None, "optimizer.lr = 0.1: write a component"),
        ({"body": {"lr": 0.1}}, None, None, "optimizer.body = {'lr': 0.1}: write a component"),
        ({"body": {"name": "adm"}}, None, None, "optimizer.body.name: 'adm' is unknown. Did you mean 'adam'?"),
        ({"body": ADAM | {"momentum": 0.9}}, None, None, "optimizer.body: 'momentum' is unknown. Known: amsgrad,"),
        (ADAM | {"betas": [0.9, 1.5]}, None, None, "Invalid beta parameter at index 1: 1.5"),
        (ADAM | {"groups": {"body": 0.1}}, None, None, "optimizer.groups = {'body': 0.1}: write such as"),
        (ADAM | {"groups": [1]}, None, None, "optimizer.groups = [1]: write such as"),
        (ADAM | {"groups": {"body": {"rl": 1}}}, None, None, "optimizer.groups.body: 'rl' is unknown. Known: amsgrad,"),
        (ADAM | {"groups": {"body": {"lr": -1.0}}}, None, None, "Invalid learning rate: -1.0"),
        (
            {"body": ADAM | {"groups": {"a": {"groups": {"b": {"lr": "x"}}}}}},
            None,
            None,
            "optimizer.body.groups.a.groups.b.lr = 'x'",
        ),
        (ADAM, {"name": "plateau"}, None, 'scheduler.name = "plateau": it follows the monitored metric. Set monitor.'),
        (ADAM | {"lr": 0.0}, {"name": "constant", "rates": [0.1]}, None, "rates need an lr above 0"),
        (ADAM | {"foreach": True, "fused": True}, None, None, "cannot be `True` together"),
        (ADAM | {"groups": {"body": {"foreach": True, "fused": True}}}, None, None, "optimizer.groups.body = {"),
        (ADAM, {}, None, 'scheduler = {}: write a component, such as {"name": "constant"}.'),
    ],
)
def test_wrong_arguments_are_refused_without_a_model(
    optimizer: dict[str, Any], scheduler: dict[str, Any] | None, monitor: str | None, says: str
) -> None:
    with pytest.raises(Refused) as error:
        optim.check(optimizer, scheduler, monitor)
    assert says in str(error.value)


@pytest.mark.parametrize("scaler", [OFF, GradScaler("cpu", init_scale=1024.0)], ids=["off", "on"])
def test_clipping_is_of_the_gradients_of_all_optimizers_together(scaler: GradScaler) -> None:
    model = net()
    of = optimizers(model, {"body": ADAM, "head": SGD, "scale": SGD})
    scaler.scale(model(torch.ones(5, 4)).square().sum()).backward()
    factor = 1024 if scaler.is_enabled() else 1
    before = [weight.grad / factor for weight in model.parameters() if weight.grad is not None]
    norm = torch.cat([one.flatten() for one in before]).norm()
    of.clip(0.1, scaler)
    for weight, one in zip(model.parameters(), before, strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, one * (0.1 / norm))
    of.clip(10.0, OFF)
    assert sum(float(weight.grad.square().sum()) for weight in model.parameters() if weight.grad is not None) == (
        pytest.approx(0.01)
    )


def test_a_scaled_loss_gives_the_steps_of_one_that_is_not() -> None:
    model = net()
    other = net()
    scaler = GradScaler("cpu", init_scale=2.0**10)
    parted = {"body": ADAM, "head": SGD, "scale": SGD}
    for one, scale in ((model, scaler), (other, OFF)):
        of = optimizers(one, parted)
        for _ in range(3):
            of.zero_grad()
            scale.scale(one(torch.ones(5, 4)).square().mean()).backward()
            of.clip(1.0, scale)
            of.step(scale)
    assert all(map(torch.equal, model.parameters(), other.parameters()))  # a power of 2 costs no digit


@pytest.mark.parametrize("clip", [None, 1.0])
def test_where_the_gradient_of_one_optimizer_overflows_none_takes_the_step(clip: float | None) -> None:
    model = net()
    scaler = GradScaler("cpu", init_scale=1024.0)
    of = optimizers(model, {"body": ADAM, "head": SGD, "scale": SGD})
    for scale, moves in ((1.0, True), (float("inf"), False), (float("nan"), False), (1.0, True)):
        before = [weight.detach().clone() for weight in model.parameters()]
        of.zero_grad()
        scaler.scale(model(torch.ones(5, 4)).square().mean()).backward()
        assert model.head.bias.grad is not None
        model.head.bias.grad.mul_(scale)
        if clip is not None:
            of.clip(clip, scaler)
        of.step(scaler)
        for weight, was in zip(model.parameters(), before, strict=True):
            assert weight.isfinite().all()
            assert torch.equal(weight, was) != moves


@pytest.mark.parametrize("parts", [1, 2, 3, 16, 100])
def test_parts_of_a_batch_give_its_gradient(parts: int) -> None:
    """As in epoch.py, in 64 bits, where rounding can't hide a wrong weight of the smaller last part."""
    torch.manual_seed(0)
    model = MLP((1, 4, 4), 3, hidden=(8,)).double()
    loss_of = Loss({"name": "cross_entropy"})
    image = torch.randn(16, 1, 4, 4).double()
    target = torch.randint(3, (16,))
    gradients = []
    for count in (1, parts):
        model.zero_grad()
        for image_P, target_P in zip(image.chunk(count), target.chunk(count), strict=True):
            (loss_of(model(image_P), target_P) * (len(image_P) / len(image))).backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-15)


def test_a_state_goes_on_exactly() -> None:
    component = {"body": ADAM | {"groups": {"first": {"lr": 0.01}}}, "head": SGD | {"momentum": 0.9}, "scale": SGD}
    scheduler = {"name": "cosine", "warmup": 0.2}

    def built(model: nn.Module) -> tuple[Optimizers, Schedules]:
        of = optimizers(model, component)
        return of, Schedules(of, scheduler, epoch_steps=5, epochs=2)

    def step(model: nn.Module, of: Optimizers, schedules: Schedules) -> None:
        learned(model, of)
        schedules.step()

    unbroken = net()
    broken = net()
    reference = built(unbroken)
    before = built(broken)
    for _ in range(3):
        step(unbroken, *reference)
        step(broken, *before)
    after = built(broken)
    after[0].load_state_dict(copy.deepcopy(before[0].state_dict()))
    after[1].load_state_dict(copy.deepcopy(before[1].state_dict()))
    for _ in range(4):
        step(unbroken, *reference)
        step(broken, *after)
    assert all(map(torch.equal, unbroken.parameters(), broken.parameters()))
    assert reference[0].lr == after[0].lr
