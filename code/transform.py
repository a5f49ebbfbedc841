"""Transforms by name, of whole batches on the device; random ones draw once for each image."""

from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from exper.training import parts


class Normalize:
    """Subtract `mean` and divide by `std`, a number for each channel, of pixels in 0..1."""

    is_random = False

    def __init__(self, mean: list[float], std: list[float]) -> None:
        self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

    def __call__(self, image_BCHW: Tensor, random: Generator | None) -> Tensor:  # noqa: ARG002
        self.mean, self.std = self.mean.to(image_BCHW.device), self.std.to(image_BCHW.device)
        return (image_BCHW - self.mean) / self.std


class Crop:
    """Add `padding` zeros on all sides and cut each image back to its size at a random place."""

    is_random = True

    def __init__(self, padding: int) -> None:
        if padding < 1:
            raise ValueError("padding must be at least 1")
        self.padding = padding

    def __call__(self, image_BCHW: Tensor, random: Generator | None) -> Tensor:
        batch, channels, height, width = image_BCHW.shape
        device, wide = image_BCHW.device, width + 2 * self.padding
        corner_2B = torch.randint(2 * self.padding + 1, (2, batch), generator=random).to(device, non_blocking=True)
        row_BH = corner_2B[0, :, None] + torch.arange(height, device=device)
        column_BW = corner_2B[1, :, None] + torch.arange(width, device=device)
        pixel_BHW = row_BH[:, :, None] * wide + column_BW[:, None, :]
        padded = functional.pad(image_BCHW, [self.padding] * 4).flatten(2)
        return padded.gather(2, pixel_BHW.flatten(1)[:, None].expand(-1, channels, -1)).view_as(image_BCHW)


class Flip:
    """Mirror each image left to right with probability `p`."""

    is_random = True

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise ValueError("p must be from 0 to 1")
        self.p = p

    def __call__(self, image_BCHW: Tensor, random: Generator | None) -> Tensor:
        is_flipped_B = (torch.rand(len(image_BCHW), generator=random) < self.p).to(
            image_BCHW.device, non_blocking=True
        )
        return torch.where(is_flipped_B[:, None, None, None], image_BCHW.flip(3), image_BCHW)


TRANSFORM = {"normalize": Normalize, "crop": Crop, "flip": Flip}


class Transform:
    """The list `transform` of config.py, one after the other."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self.steps = [parts.build("transform", part, TRANSFORM) for part in listed]

    def __call__(self, image_BCHW: Tensor, random: Generator | None) -> Tensor:
        """Return the batch as the model gets it; without `random`, random transforms are left out."""
        if image_BCHW.dtype == torch.uint8:
            image_BCHW = image_BCHW.float() / 255
        for step in self.steps:
            if random is not None or not step.is_random:
                image_BCHW = step(image_BCHW, random)
        return image_BCHW
