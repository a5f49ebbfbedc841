"""The table of layers, and the smallest batch that a model trains on, for the template's models and odd ones."""

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import model as models
from exper.core import components
from exper.training.inspect import model_summary

MODELS: list[tuple[str, dict[str, Any]]] = [
    ("lenet", {"dropout": 0.4}),
    ("mlp", {"hidden": [20, 30], "dropout": 0.1}),
    ("mlp", {"hidden": []}),
    ("resnet18", {"width": 4}),
    ("resnet18", {"width": 4, "stem": "large"}),
    ("torchvision", {"net": "resnet18", "dropout": 0.2}),
    ("unet", {"width": 2}),
    ("unet++", {"width": 2}),
    ("unet++", {"width": 2, "deep_supervision": True}),
]


def built(name: str, shape: tuple[int, int, int], classes: int, **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    return components.build("model", {"name": name, **arguments}, models.MODEL, shape, classes)  # type: ignore[no-any-return]


def test_the_table_of_layers() -> None:
    model = built("lenet", (1, 8, 8), 10)
    assert model_summary.parameters(model) == "84,146 parameters"
    assert model_summary.summary(model, (1, 8, 8)).splitlines() == [
        "  conv1    Conv2d     32 x 8 x 8     832",
        "  conv2    Conv2d     64 x 4 x 4  51,264",
        "  pool     MaxPool2d  64 x 2 x 2       0",
        "  linear1  Linear     120         30,840",
        "  linear2  Linear     10           1,210",
        "  dropout  Dropout    120              0",
    ]


@pytest.mark.parametrize(("name", "arguments"), MODELS)
def test_the_table_is_short_whole_and_changes_nothing(name: str, arguments: dict[str, Any]) -> None:
    model = built(name, (3, 32, 32), 5, **arguments)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    random = torch.get_rng_state()
    rows = model_summary.summary(model, (3, 32, 32)).splitlines()
    assert len(rows) <= model_summary.MAX_LINES
    total = sum(int(row.rpartition(" ")[2].replace(",", "")) for row in rows)
    assert model_summary.parameters(model) == f"{total:,} parameters"
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_frozen_weights_are_counted_apart() -> None:
    model = built("torchvision", (3, 32, 32), 5, net="resnet18", freeze=True)
    assert model_summary.parameters(model) == "11,179,077 parameters, 2,565 of them trained"
    model_summary.summary(model, (3, 32, 32))
    assert not model.get_submodule("body").training


class Caching(nn.Module):
    """A model that keeps, from its first pass, what only depends on the size of images."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        self.places: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.places is None:
            self.places = torch.rand(4, device=x.device) + random.random()
        return self.linear(x.flatten(1) + self.places)  # type: ignore[no-any-return]


def test_a_model_keeps_nothing_of_the_pass_for_the_table() -> None:
    model = Caching()
    before = random.getstate()
    assert model_summary.summary(model, (1, 2, 2)).split() == ["linear", "Linear", "2", "10"]
    assert random.getstate() == before
    assert model(torch.ones(3, 1, 2, 2)).isfinite().all()


class Odd(nn.Module):
    """A model that looks at numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)) * float(x.sum())  # type: ignore[no-any-return]


def test_a_model_that_looks_at_numbers_has_a_table_without_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    model = Odd()
    assert model_summary.summary(model, (1, 2, 2)).split() == ["linear", "Linear", "2", "10"]
    assert "shapes of layers are not known" in capsys.readouterr().out
    model.forward = lambda x: x.sum().item()  # type: ignore[assignment,method-assign,return-value]
    assert model_summary.summary(model, (1, 2, 2)).split() == ["linear", "Linear", "10"]


@pytest.mark.parametrize(
    ("name", "arguments", "side", "needs"),
    [
        ("resnet18", {"width": 4}, 8, True),
        ("resnet18", {"width": 4}, 9, False),
        ("resnet18", {"width": 4, "stem": "large"}, 32, True),
        ("torchvision", {"net": "resnet18", "dropout": 0.2}, 32, True),
        ("torchvision", {"net": "resnet18", "freeze": True}, 32, False),
        ("torchvision", {"net": "convnext_tiny"}, 32, False),  # draws which layers to leave out
        ("unet", {"width": 2}, 16, True),
        ("unet", {"width": 2}, 32, False),
        ("lenet", {"dropout": 0.4}, 8, False),
    ],
)
def test_batch_normalization_of_one_pixel_needs_two_images(
    name: str, arguments: dict[str, Any], side: int, needs: bool
) -> None:
    model = built(name, (3, side, side), 5, **arguments)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    random = torch.get_rng_state()
    assert model_summary.needs_two(model, (3, side, side)) == needs
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    if needs:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            model(torch.rand(1, 3, side, side))
    else:
        model(torch.rand(1, 3, side, side))


def test_of_a_model_that_looks_at_numbers_nothing_is_said() -> None:
    assert not model_summary.needs_two(Odd(), (1, 2, 2))


def test_a_model_without_layers_has_an_empty_table() -> None:
    assert model_summary.summary(nn.Flatten(), (1, 2, 2)) == ""
