"""Models by name: built from the shape (C, H, W) of an image, the number of classes K, and config.py's arguments.

A model may have a static method `check`, which refuses arguments that their types alone do not show to be wrong.
"""

from typing import Any

from torch import nn

from exper.core import components
from model.lenet import LeNet
from model.mlp import MLP
from model.resnet import ResNet18
from model.unet import UNet
from model.unetpp import UNetPlusPlus
from model.vision import Torchvision

MODEL = {
    "lenet": LeNet, "mlp": MLP, "resnet18": ResNet18, "torchvision": Torchvision,
    "unet": UNet, "unet++": UNetPlusPlus,
}  # fmt: skip


def check(part: dict[str, Any]) -> None:
    """Refuse what is wrong in config.py's `model`, without building it."""
    function, arguments = components.check("model", part, MODEL, leading=2)
    if hasattr(function, "check"):
        function.check(**arguments)


def build(part: dict[str, Any], shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build the model for images of `shape` (C, H, W) and `classes` outputs."""
    return components.build("model", part, MODEL, shape, classes)  # type: ignore[no-any-return]
