"""LeNet-5 (LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, figure 2), modernized.

It has ReLU, max pooling, dropout, and 32 and 64 channels where the paper has 6 and 16.
"""

from torch import Tensor, nn

from exper.core.components import Share


class LeNet(nn.Module):
    """Map images (B, C, H, W), of 4 x 4 pixels or more, to logits (B, K).

    Raises:
        ValueError: the images are smaller.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, dropout: Share = 0.0) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < 4:
            raise ValueError(f"images of {height} x {width} pixels are too small: LeNet halves them twice")
        self.conv1 = nn.Conv2d(channels, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.pool = nn.MaxPool2d(2)
        self.linear1 = nn.Linear(64 * (height // 4) * (width // 4), 120)
        self.linear2 = nn.Linear(120, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv1(x).relu())  # (B, 32, H/2, W/2)
        x = self.pool(self.conv2(x).relu())  # (B, 64, H/4, W/4)
        x = self.linear1(x.flatten(1)).relu()  # (B, 120); view would fail on a channels_last batch
        return self.linear2(self.dropout(x))  # type: ignore[no-any-return]
