"""Models by name, built from the shape (C, H, W) of an image, the number of classes K, and config.py's arguments.

A model maps images (B, C, H, W), floats as `transform` returns them, to logits: (B, K), or (B, K, H, W) for masks. It
may have a static method `check`, which refuses arguments that are wrong for other reasons than their types.
"""

from torch import nn

from exper.core import components
from exper.core.components import Component
from model.lenet import LeNet
from model.mlp import MLP
from model.resnet import ResNet18
from model.unet import UNet
from model.unetpp import UNetPlusPlus
from model.vision import Torchvision

MODEL = {
    "lenet": LeNet,
    "mlp": MLP,
    "resnet18": ResNet18,
    "torchvision": Torchvision,
    "unet": UNet,
    "unet++": UNetPlusPlus,
}


def check(component: Component) -> None:
    """Refuse a wrong `model` of config.py, without building it."""
    model, arguments = components.check("model", component, MODEL, leading=2)
    if hasattr(model, "check"):
        model.check(**arguments)


def build(component: Component, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build the model for images of `shape` (C, H, W) and `classes` outputs, K."""
    return components.build("model", component, MODEL, shape, classes)  # type: ignore[no-any-return]
