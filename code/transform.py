"""Transforms by name, of whole batches on the device; random ones draw once for each image."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from exper import parts
from exper.parts import Count, Share


def normalize(image_BCHW: Tensor, random: Generator | None, mean: list[float], std: list[float]) -> Tensor:  # noqa: ARG001
    """Subtract `mean` and divide by `std`, one number for each channel, of pixels in 0..1."""
    both_2C11 = torch.tensor([mean, std])[:, :, None, None].to(image_BCHW.device, non_blocking=True)
    return (image_BCHW - both_2C11[0]).div_(both_2C11[1])  # in place: fresh memory costs 70 us a batch


def crop(image_BCHW: Tensor, random: Generator, padding: Count) -> Tensor:
    """Add `padding` zeros on all sides and cut each image back to its size at a random place."""
    batch, channels, height, width = image_BCHW.shape
    device = image_BCHW.device
    corner_2B1 = torch.randint(2 * padding + 1, (2, batch, 1), generator=random).to(device, non_blocking=True)
    row_BH = corner_2B1[0] + torch.arange(height, device=device)
    column_BW = corner_2B1[1] + torch.arange(width, device=device)
    pixel_BHW = row_BH[:, :, None] * (width + 2 * padding) + column_BW[:, None, :]
    padded = functional.pad(image_BCHW, [padding] * 4).flatten(2)
    return padded.gather(2, pixel_BHW.flatten(1)[:, None].expand(-1, channels, -1)).view_as(image_BCHW)


def flip(image_BCHW: Tensor, random: Generator, p: Share = 0.5) -> Tensor:
    """Mirror each image left to right with probability `p`."""
    is_flipped_B111 = torch.rand(len(image_BCHW), 1, 1, 1, generator=random) < p
    return torch.where(is_flipped_B111.to(image_BCHW.device, non_blocking=True), image_BCHW.flip(3), image_BCHW)


RANDOM: dict[str, Callable[..., Tensor]] = {"crop": crop, "flip": flip}  # for training only
TRANSFORM = {"normalize": normalize} | RANDOM


class Transform:
    """The list `transform` of config.py, one after the other."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self._steps = [parts.check("transform", part, TRANSFORM, ahead=2) for part in listed]

    def __call__(self, image_BCHW: Tensor, random: Generator | None) -> Tensor:
        """Return the batch as the model gets it; without `random`, random transforms are left out."""
        if image_BCHW.dtype == torch.uint8:
            image_BCHW = image_BCHW / 255
        for function, arguments in self._steps:
            if random is not None or function not in RANDOM.values():
                image_BCHW = function(image_BCHW, random, **arguments)
        return image_BCHW
