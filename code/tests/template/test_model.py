import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

import model as models
from exper.core import components
from exper.core.errors import Refused
from exper.training.inspect import model_summary
from model.resnet import ResNet18
from model.unet import UNet, padded
from model.vision import Torchvision


def built(name: str, shape: tuple[int, int, int], classes: int, **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    return components.build("model", {"name": name, **arguments}, models.MODEL, shape, classes)  # type: ignore[no-any-return]


CLASSIFIERS: list[tuple[str, dict[str, Any]]] = [
    ("lenet", {"dropout": 0.4}),
    ("mlp", {"hidden": [20, 30], "dropout": 0.1}),
    ("mlp", {"hidden": []}),
    ("resnet18", {"width": 4}),
    ("resnet18", {"width": 4, "stem": "large"}),
    ("torchvision", {"net": "resnet18", "dropout": 0.2}),
]
SEGMENTERS: list[tuple[str, dict[str, Any]]] = [
    ("unet", {"width": 2}),
    ("unet++", {"width": 2}),
    ("unet++", {"width": 2, "deep_supervision": True}),
]


@pytest.mark.parametrize(("name", "arguments"), CLASSIFIERS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 33, 20)])
def test_a_classifier_gives_logits_and_every_weight_learns(
    name: str, arguments: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    model = built(name, shape, 7, **arguments)
    output_BK = model(torch.rand(4, *shape))
    assert output_BK.shape == (4, 7)
    output_BK.sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


@pytest.mark.parametrize(("name", "arguments"), SEGMENTERS)
@pytest.mark.parametrize("size", [(16, 16), (33, 50), (1, 100)])
@pytest.mark.parametrize("classes", [1, 3])
def test_a_segmenter_gives_logits_for_every_pixel_of_any_size(
    name: str, arguments: dict[str, Any], size: tuple[int, int], classes: int
) -> None:
    model = built(name, (3, *size), classes, **arguments)
    output = model(torch.rand(2, 3, *size))
    outputs = output if isinstance(output, list) else [output]
    assert [one.shape for one in outputs] == [(2, classes, *size)] * (4 if "deep_supervision" in arguments else 1)
    torch.stack(outputs).sum().backward()
    assert all(weight.grad is not None for weight in model.parameters())


def same_weights(own: nn.Module, other: nn.Module) -> None:
    """Give `own` the weights of `other`, which has the same ones in the same order."""
    pairs = zip(own.state_dict().items(), other.state_dict().values(), strict=True)
    own.load_state_dict({name: tensor for (name, _), tensor in pairs})


def test_resnet18_with_the_large_stem_is_that_of_torchvision() -> None:
    own, other = built("resnet18", (3, 64, 64), 1000, stem="large").eval(), torchvision_models.resnet18().eval()
    same_weights(own, other)
    image_BCHW = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(own(image_BCHW), other(image_BCHW))


def test_the_small_stem_of_resnet18_keeps_all_pixels() -> None:
    model = ResNet18((3, 32, 32), 10, width=4)
    assert model.get_submodule("body.stem")(torch.rand(1, 3, 32, 32)).shape == (1, 4, 32, 32)
    assert model.body[:-1](torch.rand(1, 3, 32, 32)).shape == (1, 32, 4, 4)


def test_unet_has_the_sizes_of_the_paper() -> None:
    model = UNet((1, 572, 572), 2, width=64)
    assert [block.get_submodule("0").out_channels for block in model.down] == [64, 128, 256, 512, 1024]
    convolutions = [one for one in model.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 23  # "in total the network has 23 convolutional layers"


def test_what_does_not_divide_by_16_is_padded_with_its_edge_and_cut_off_again() -> None:
    image_BCHW = torch.rand(1, 3, 20, 35)
    larger = padded(image_BCHW)
    assert larger.shape == (1, 3, 32, 48)
    assert torch.equal(larger[:, :, 31, :35], image_BCHW[:, :, 19])
    model = built("unet", (3, 20, 35), 2, width=2).eval()
    assert torch.equal(model(image_BCHW), model(larger)[:, :, :20, :35])


def test_deep_supervision_trains_all_depths_and_gives_the_deepest() -> None:
    model = built("unet++", (3, 32, 32), 2, width=2, deep_supervision=True)
    assert len(list(model.get_submodule("nodes").children())) == 4 + 3 + 2 + 1
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
            module.train(False)
    image_BCHW = torch.rand(2, 3, 32, 32)
    before = model(image_BCHW)
    with torch.no_grad():
        model.get_parameter("down.4.0.weight").zero_()
    after = model(image_BCHW)
    assert [torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [True, True, True, False]
    assert torch.equal(after[-1], model.eval()(image_BCHW))


NETS = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "resnet50", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1",
    "swin_t", "vgg11_bn", "vit_b_32",
]  # fmt: skip


@pytest.mark.parametrize("net", NETS)
def test_every_kind_of_torchvision_net_gets_a_head_of_our_own(net: str) -> None:
    shape = (3, 299, 299) if net == "inception_v3" else (3, 224, 224)
    with torch.device("meta"):  # shapes alone
        model = Torchvision(shape, 7, net, dropout=0.5).eval()
        assert model(torch.empty(2, *shape)).shape == (2, 7)
    assert [name for name, _ in model.named_children()] == ["body", "head"]
    known = torchvision_models.get_model_weights(net)["DEFAULT"].meta["num_params"]
    original = {"googlenet": 6_624_904, "inception_v3": 27_161_264}.get(net, known)
    assert sum(one.numel() for one in model.body.parameters()) < original


def batch_norms(model: nn.Module) -> list[Tensor]:
    return [one.clone() for name, one in model.named_buffers() if "running" in name]


def test_a_frozen_body_stays_as_it_is_and_the_head_learns() -> None:
    model = built("torchvision", (3, 32, 32), 5, net="resnet18", freeze=True)
    assert [name for name, weight in model.named_parameters() if weight.requires_grad] == [
        "head.1.weight",
        "head.1.bias",
    ]
    before = batch_norms(model)
    model.train()
    assert not any(one.training for one in model.get_submodule("body").modules())
    assert all(one.training for one in model.get_submodule("head").modules())
    model(torch.rand(4, 3, 32, 32)).sum().backward()
    assert all(map(torch.equal, before, batch_norms(model)))
    assert all(weight.grad is None for weight in model.get_submodule("body").parameters())


def test_a_body_that_is_not_frozen_moves() -> None:
    model = built("torchvision", (3, 32, 32), 5, net="resnet18")
    before = batch_norms(model)
    model(torch.rand(4, 3, 32, 32)).sum().backward()
    assert not any(map(torch.equal, before, batch_norms(model)))
    assert all(weight.grad is not None for weight in model.parameters())


def test_one_channel_stands_for_all_three_and_others_are_refused() -> None:
    model = built("torchvision", (1, 32, 32), 5, net="resnet18").eval()
    image_BCHW = torch.rand(2, 1, 32, 32)
    assert torch.equal(model(image_BCHW), model(image_BCHW.expand(-1, 3, -1, -1)))
    with pytest.raises(Refused, match="images have 4 channels"):
        built("torchvision", (4, 32, 32), 5, net="resnet18")


def test_an_unknown_net_is_refused_with_the_nearest() -> None:
    with pytest.raises(Refused, match=r"model.net: 'resnet5' is unknown. Did you mean 'resnet50'\? Known: alexnet, "):
        models.check({"name": "torchvision", "net": "resnet5"})
    models.check({"name": "torchvision", "net": "resnet50"})


def saved_by_torchvision(folder: Path, net: str) -> tuple[Path, dict[str, Tensor]]:
    """Write a file where torchvision would have downloaded it to, with weights of our own."""
    weights: Any = torchvision_models.get_model_weights(net)["DEFAULT"]
    path = folder / "hub" / "checkpoints" / weights.url.rpartition("/")[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    saved = torchvision_models.get_model(net).state_dict()
    torch.save({name.replace("norm1.", "norm.1."): one for name, one in saved.items()}, path)
    return path, saved


@pytest.mark.parametrize("net", ["mobilenet_v3_small", "densenet121"])
def test_torchvisions_weights_are_found_where_it_downloads_them_to(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path, saved = saved_by_torchvision(tmp_path, net)
    model = built("torchvision", (3, 32, 32), 5, net=net)
    weights, found = model.start_weights()  # type: ignore[operator]
    assert found == path
    body = model.get_submodule("body").state_dict()
    assert {name.removeprefix("body.") for name in weights} == set(body)
    assert all(torch.equal(weights[f"body.{name}"], saved[name]) for name in body)


def test_without_a_network_it_is_said_where_the_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    model = built("torchvision", (3, 32, 32), 5, net="resnet18")
    with pytest.raises(Refused) as error:
        model.start_weights()  # type: ignore[operator]
    path = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    assert str(error.value).startswith("pretrained = 'torchvision': [Errno ")
    assert str(error.value).endswith(
        f"Put https://download.pytorch.org/models/resnet18-f37072fd.pth at {path} by hand."
    )


# -- the table of layers -------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("name", "arguments"), [*CLASSIFIERS, *SEGMENTERS])
def test_the_table_is_short_whole_and_changes_nothing(name: str, arguments: dict[str, Any]) -> None:
    model = built(name, (3, 32, 32), 5, **arguments)
    before, random = {key: one.clone() for key, one in model.state_dict().items()}, torch.get_rng_state()
    rows = model_summary.summary(model, (3, 32, 32)).splitlines()
    assert len(rows) <= model_summary.MAX_LINES
    total = sum(int(row.rpartition(" ")[2].replace(",", "")) for row in rows)
    assert model_summary.parameters(model) == f"{total:,} parameters"
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(one, before[key]) for key, one in model.state_dict().items())
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
    model, before = Caching(), random.getstate()
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
    before, random = {key: one.clone() for key, one in model.state_dict().items()}, torch.get_rng_state()
    assert model_summary.needs_two(model, (3, side, side)) == needs
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(one, before[key]) for key, one in model.state_dict().items())
    if needs:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            model(torch.rand(1, 3, side, side))
    else:
        model(torch.rand(1, 3, side, side))


def test_of_a_model_that_looks_at_numbers_nothing_is_said() -> None:
    assert not model_summary.needs_two(Odd(), (1, 2, 2))


def test_a_model_without_layers_has_an_empty_table() -> None:
    assert model_summary.summary(nn.Flatten(), (1, 2, 2)) == ""
