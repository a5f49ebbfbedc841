"""Transforms by name, of whole batches on the device; random ones draw once for each image."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from exper import parts
from exper.parts import Count, Share


def normalize(image_BCHW: Tensor, random: Generator | None, mean: list[float], std: list[float]) -> Tensor:  # noqa: ARG001
    """Subtract `mean` and divide by `std`, one number for each channel, of pixels in 0..1; bytes are 255 times that."""
    largest = 255 if image_BCHW.dtype == torch.uint8 else 1
    shift_C11, scale_C11 = _shift_and_scale(tuple(mean), tuple(std), largest, image_BCHW.device)
    return torch.addcmul(shift_C11, image_BCHW, scale_C11)  # one pass over memory: half the time of - and /


@functools.cache
def _shift_and_scale(mean: tuple[float, ...], std: tuple[float, ...], largest: int, device: torch.device) -> Tensor:
    mean_C11, std_C11 = torch.tensor([mean, std], dtype=torch.float64)[:, :, None, None]
    return torch.stack([-mean_C11 / std_C11, 1 / (largest * std_C11)]).float().to(device)


def crop(image_BCHW: Tensor, random: Generator, padding: Count) -> Tensor:
    """Add `padding` zeros on all sides and cut each image back to its size at a random place."""
    batch, _, height, width = image_BCHW.shape
    corner_2B = torch.randint(2 * padding + 1, (2, batch), generator=random)
    each_B = torch.arange(batch, device=image_BCHW.device)
    row_B, column_B = corner_2B.to(image_BCHW.device, non_blocking=True)
    cuts_BCRXHW = functional.pad(image_BCHW, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)  # a view
    return cuts_BCRXHW[each_B, :, row_B, column_B]


def flip(image_BCHW: Tensor, random: Generator, p: Share = 0.5) -> Tensor:
    """Mirror each image left to right with probability `p`."""
    batch, _, _, width = image_BCHW.shape
    column_W = torch.arange(width)
    is_flipped_B1 = torch.rand(batch, 1, generator=random) < p
    column_BW = torch.where(is_flipped_B1, width - 1 - column_W, column_W).to(image_BCHW.device, non_blocking=True)
    return image_BCHW.gather(3, column_BW[:, None, None].expand_as(image_BCHW))


RANDOM: dict[str, Callable[..., Tensor]] = {"crop": crop, "flip": flip}  # for training only
TRANSFORM = {"normalize": normalize} | RANDOM


class Transform:
    """The list `transform` of config.py, one after the other."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self._steps = [parts.check("transform", part, TRANSFORM, ahead=2) for part in listed]

    def __call__(self, image_BCHW: Tensor, random: Generator | None) -> Tensor:
        """Return the batch as the model gets it; without `random`, random transforms are left out."""
        for function, arguments in self._steps:
            if random is not None or function not in RANDOM.values():
                image_BCHW = function(image_BCHW, random, **arguments)
        return image_BCHW / 255 if image_BCHW.dtype == torch.uint8 else image_BCHW
