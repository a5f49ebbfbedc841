from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models

import model as models
from exper.core import components
from exper.core.errors import Refused
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
    own = built("resnet18", (3, 64, 64), 1000, stem="large").eval()
    other = torchvision_models.resnet18().eval()
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
