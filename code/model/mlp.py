"""A multi-layer perceptron: linear layers with ReLU and dropout between them (the "vanilla" network)."""

from itertools import pairwise

from torch import Tensor, nn

from exper.core.components import Count, Share


class MLP(nn.Module):
    """Map images (B, C, H, W), as vectors of all their pixels, to logits (B, K)."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        hidden: tuple[Count, ...] = (128, 64),
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        sizes = [channels * height * width, *hidden]
        layers = [layer for ahead, size in pairwise(sizes) for layer in _layer(ahead, size, dropout)]
        self.body = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


def _layer(ahead: int, size: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(ahead, size), nn.ReLU(), nn.Dropout(dropout)]
