"""U-Net (Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015, figure 1).

Unlike the paper's, and as is usual now, convolutions are padded, so that they keep height and width, and have batch
normalization.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from exper.core.components import Count

LEVELS = 4  # each halves height and width, so that 16 x 16 pixels become one


class UNet(nn.Module):
    """Map images (B, C, H, W) of any size to logits (B, K, H, W).

    `width` is the number of channels of the first level, which doubles with each level; the paper's is 64.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, width: Count = 32) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(map(double, [shape[0], *widths], widths))
        self.up = nn.ModuleList(map(enlarge, widths[1:], widths))
        self.merge = nn.ModuleList(double(2 * channels, channels) for channels in widths[:-1])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        skips = [self.down[0](padded(x))]
        for block in self.down[1:]:
            skips.append(block(self.pool(skips[-1])))  # level i: (B, width * 2^i, H/2^i, W/2^i)
        x = skips.pop()
        for level in reversed(range(LEVELS)):
            x = self.merge[level](torch.cat([skips[level], self.up[level](x)], dim=1))
        return self.head(x)[:, :, :height, :width]  # type: ignore[no-any-return]


def double(inputs: int, channels: int) -> nn.Sequential:
    """Return two 3 x 3 convolutions, each with batch normalization and ReLU."""
    layers: list[nn.Module] = []
    for channels_in in (inputs, channels):
        layers += [nn.Conv2d(channels_in, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers)


def enlarge(inputs: int, channels: int) -> nn.Module:
    """Return the paper's up-convolution: it doubles height and width. Unlike upsampling it is deterministic on GPUs."""
    return nn.ConvTranspose2d(inputs, channels, 2, stride=2)


def padded(image_BCHW: Tensor) -> Tensor:
    """Repeat the last row and column until height and width are divisible by 2^LEVELS."""
    height, width = image_BCHW.shape[2:]
    return functional.pad(image_BCHW, (0, -width % 2**LEVELS, 0, -height % 2**LEVELS), mode="replicate")
