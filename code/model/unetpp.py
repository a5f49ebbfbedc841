"""UNet++ (Zhou et al., UNet++: A Nested U-Net Architecture for Medical Image Segmentation, 2018, figure 1)."""

import torch
from torch import Tensor, nn

from exper.core.components import Count
from model.unet import LEVELS, double, enlarge, padded


class UNetPlusPlus(nn.Module):
    """Map images (B, C, H, W) of any size to logits (B, K, H, W).

    With `deep_supervision` (section 3.2), in training only, return a list of LEVELS such tensors, one for each depth of
    the net. The deepest one comes last; it is the only output otherwise.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, width: Count = 32, deep_supervision: bool = False
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS + 1)]
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(map(double, [shape[0], *widths], widths))
        # The paper's nodes x(i, j) at level i: x(i, 0) is the encoder's, each other gets all before it (equation 1).
        nodes = [(level, place) for place in range(1, LEVELS + 1) for level in range(LEVELS + 1 - place)]
        self.up = nn.ModuleDict({f"{i}_{j}": enlarge(widths[i + 1], widths[i]) for i, j in nodes})
        self.nodes = nn.ModuleDict({f"{i}_{j}": double((j + 1) * widths[i], widths[i]) for i, j in nodes})
        self.heads = nn.ModuleList(nn.Conv2d(width, classes, 1) for _ in range(LEVELS if deep_supervision else 1))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        height, width = x.shape[2:]
        rows = [[self.down[0](padded(x))]]  # rows[i][j] is x(i, j): (B, width * 2^i, H/2^i, W/2^i)
        for block in self.down[1:]:
            rows.append([block(self.pool(rows[-1][0]))])
        for name, node in self.nodes.items():
            level = int(name[0])
            below = self.up[name](rows[level + 1][-1])
            rows[level].append(node(torch.cat([*rows[level], below], dim=1)))
        count = len(self.heads) if self.training else 1
        outputs = zip(self.heads[-count:], rows[0][-count:], strict=True)
        logits = [head(x)[:, :, :height, :width] for head, x in outputs]
        return logits if count > 1 else logits[0]
