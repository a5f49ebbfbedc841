"""A multilayer perceptron: linear layers and ReLU over the pixels."""

from math import prod

from torch import nn


class MLP(nn.Sequential):
    """Map images (B, C, H, W) to logits (B, K) through layers of the widths in `hidden`."""

    def __init__(
        self, shape: tuple[int, int, int], classes: int, hidden: tuple[int, ...] = (128,), dropout: float = 0.0
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape)
        for wanted in hidden:
            layers += [nn.Linear(width, wanted), nn.ReLU(), nn.Dropout(dropout)]
            width = wanted
        super().__init__(*layers, nn.Linear(width, classes))
