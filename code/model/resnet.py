"""ResNet-18 (He et al., Deep Residual Learning for Image Recognition, 2015, table 1), initialized as torchvision's."""

from typing import Literal

from torch import Tensor, nn

from exper.core.components import Count


class ResNet18(nn.Module):
    """Map images (B, C, H, W) to logits (B, K).

    The stem "large", for 224 x 224 pixels, is the paper's: it divides height and width by 4. "small", for 32 x 32 and
    fewer pixels, keeps them (section 4.2). `width` is the number of channels of the first stage; the paper's is 64.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        stem: Literal["small", "large"] = "small",
        width: Count = 64,
    ) -> None:
        super().__init__()
        self.body = nn.Sequential()
        self.body.stem = _stem(shape[0], width, stem)
        self.body.stage1 = _stage(width, width, stride=1)
        self.body.stage2 = _stage(width, 2 * width, stride=2)
        self.body.stage3 = _stage(2 * width, 4 * width, stride=2)
        self.body.stage4 = _stage(4 * width, 8 * width, stride=2)
        self.body.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (the paper's figure 5, left): (B, C, H, W) to (B, D, H/s, W/s)."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != channels:
            projection = nn.Conv2d(inputs, channels, 1, stride, bias=False)  # the paper's option B
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        y = self.norm2(self.conv2(y))
        return (y + self.shortcut(x)).relu()  # type: ignore[no-any-return]


def _stem(inputs: int, channels: int, kind: str) -> nn.Sequential:
    if kind == "small":
        conv = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())
    conv = nn.Conv2d(inputs, channels, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))


def _stage(inputs: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, channels, stride), Block(channels, channels, stride=1))
