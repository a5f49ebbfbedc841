"""A multi-layer perceptron: linear layers with ReLU and dropout (Goodfellow et al., Deep Learning, 2016, chapter 6)."""

from itertools import pairwise

from torch import Tensor, nn

from exper.core.components import Count, Share


class MLP(nn.Module):
    """Map images (B, C, H, W), flattened to vectors of C * H * W, to logits (B, K); `hidden` are the layers' widths."""

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
        layers = [layer for inputs, outputs in pairwise(sizes) for layer in _layer(inputs, outputs, dropout)]
        self.body = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))  # type: ignore[no-any-return]


def _layer(inputs: int, outputs: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
