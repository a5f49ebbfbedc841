"""Transforms by name, of whole batches on the device; random ones draw once for each image.

Pixels are bytes, or 0..1, until `normalize`. Beside those at the end of this file, config.py can name any class of
torchvision.transforms.v2: {"name": "v2.ColorJitter", "hue": 0.1}. Of these, random ones go image by image: slower.
"""

import functools
import math
from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from exper.core import components
from exper.core.components import Count, Share
from exper.core.errors import Refused
from exper.training import random_state
from exper.training.data.types import Samples, as_target

Degrees = Annotated[float, "from 0 to 180", 0, 180]
Scale = Annotated[float, "from 0 to 0.9", 0, 0.9]


def normalize(image_BCHW: Tensor, random: Generator | None, mean: list[float], std: list[float]) -> Tensor:  # noqa: ARG001
    """Subtract `mean` and divide by `std`, one number for each channel, of pixels in 0..1; bytes are 255 times that."""
    largest = 255 if image_BCHW.dtype == torch.uint8 else 1
    shift_C11, scale_C11 = _shift_and_scale(tuple(mean), tuple(std), largest, image_BCHW.device)
    if not len(mean) == len(std) == image_BCHW.shape[1]:
        channels = image_BCHW.shape[1]
        raise ValueError(f"normalize has {len(mean)} means and {len(std)} stds for {channels} channels")
    return torch.addcmul(shift_C11, image_BCHW, scale_C11)  # one pass over memory: half the time of - and /


@functools.cache
def _shift_and_scale(mean: tuple[float, ...], std: tuple[float, ...], largest: int, device: torch.device) -> Tensor:
    mean_C11, std_C11 = torch.tensor([mean, std], dtype=torch.float64)[:, :, None, None]
    return torch.stack([-mean_C11 / std_C11, 1 / (largest * std_C11)]).float().to(device)


# -- geometry: of masks, too ---------------------------------------------------------------------------------------


def crop(image_BCHW: Tensor, random: Generator, padding: Count) -> Tensor:
    """Add `padding` zeros on all sides and cut each image back to its size at a random place."""
    batch, *sides = image_BCHW.shape
    row_B, column_B = torch.randint(2 * padding + 1, (2, batch), generator=random)
    padded_BCHW = functional.pad(image_BCHW, [padding] * 4)
    of_image, of_channel, of_row, of_column = padded_BCHW.stride()
    first_B = torch.arange(0, batch * of_image, of_image)  # where in memory each image begins; then, what is cut of it
    first_B.add_(row_B, alpha=of_row).add_(column_B, alpha=of_column)
    places = (batch - 1) * of_image + 2 * padding * (of_row + of_column) + 1
    cut_NCHW = padded_BCHW.as_strided([places, *sides], [1, of_channel, of_row, of_column])  # at each place: a view
    return cut_NCHW.index_select(0, first_B.to(image_BCHW.device, non_blocking=True))


def flip(image_BCHW: Tensor, random: Generator, p: Share = 0.5) -> Tensor:
    """Mirror each image left to right with probability `p`."""
    batch, _, _, width = image_BCHW.shape
    column_W = torch.arange(width)
    is_flipped_B1 = torch.rand(batch, 1, generator=random) < p
    column_BW = torch.where(is_flipped_B1, column_W.flip(0), column_W).to(image_BCHW.device, non_blocking=True)
    return image_BCHW.gather(3, column_BW[:, None, None].expand_as(image_BCHW))


def vertical_flip(image_BCHW: Tensor, random: Generator, p: Share = 0.5) -> Tensor:
    """Mirror each image top to bottom with probability `p`."""
    return flip(image_BCHW.mT, random, p).mT.contiguous()


def affine(image_BCHW: Tensor, random: Generator, degrees: Degrees = 0, shift: Share = 0, scale: Scale = 0) -> Tensor:
    """Turn, shift and scale each image about its centre, and fill with zeros.

    Args:
        image_BCHW: bytes or floats, of which neighbours are mixed, or class numbers (int64), which are kept.
        random: draws each amount evenly between its limits.
        degrees: the largest turn, either way.
        shift: the largest shift, either way, as a share of height and width.
        scale: sizes are multiplied by 1 - scale to 1 + scale.
    """
    batch, _, height, width = image_BCHW.shape
    turn_B, down_B, right_B, larger_B = 2 * torch.rand(4, batch, generator=random) - 1
    size_B, turn_B = 1 + scale * larger_B, turn_B * math.radians(degrees)
    cos_B, sin_B = turn_B.cos() / size_B, turn_B.sin() / size_B
    row_1 = [cos_B, sin_B * (height / width), 2 * shift * right_B]  # coordinates go from -1 to 1 across an image
    row_2 = [-sin_B * (width / height), cos_B, 2 * shift * down_B]
    matrix_B23 = torch.stack([torch.stack(row, 1) for row in (row_1, row_2)], 1)
    matrix_B23 = matrix_B23.to(image_BCHW.device, non_blocking=True)
    place_BHW2 = functional.affine_grid(matrix_B23, [batch, 1, height, width], align_corners=False)
    mode = "nearest" if image_BCHW.dtype == torch.int64 else "bilinear"
    return _as_before(functional.grid_sample(image_BCHW.float(), place_BHW2, mode, align_corners=False), image_BCHW)


def rotate(image_BCHW: Tensor, random: Generator, degrees: Degrees) -> Tensor:
    """Turn each image by up to `degrees`, either way, and fill with zeros."""
    return affine(image_BCHW, random, degrees)


# -- of images alone -----------------------------------------------------------------------------------------------


def brightness(image_BCHW: Tensor, random: Generator, by: Share) -> Tensor:
    """Multiply the pixels of each image by 1 - `by` to 1 + `by`."""
    return _contrast(image_BCHW, torch.zeros(1), random, by)


def contrast(image_BCHW: Tensor, random: Generator, by: Share) -> Tensor:
    """Multiply the distances of pixels from the mean of their image by 1 - `by` to 1 + `by`."""
    return _contrast(image_BCHW, image_BCHW.float().mean((1, 2, 3), keepdim=True), random, by)


def _contrast(image_BCHW: Tensor, from_B111: Tensor, random: Generator, by: float) -> Tensor:
    largest = 255 if image_BCHW.dtype == torch.uint8 else 1
    factor_B111 = 1 + by * (2 * torch.rand(len(image_BCHW), 1, 1, 1, generator=random) - 1)
    factor_B111 = factor_B111.to(image_BCHW.device, non_blocking=True)
    changed_BCHW = torch.lerp(from_B111.to(image_BCHW.device), image_BCHW.float(), factor_B111)
    return _as_before(changed_BCHW.clamp(0, largest), image_BCHW)


def _as_before(float_BCHW: Tensor, image_BCHW: Tensor) -> Tensor:
    """Return `float_BCHW` in the type that the image came in."""
    return float_BCHW if image_BCHW.is_floating_point() else float_BCHW.round().to(image_BCHW.dtype)


def erase(image_BCHW: Tensor, random: Generator, share: Share) -> Tensor:
    """Put zeros into a box of `share` of the height and width, anywhere, partly outside too (DeVries, Taylor 2017)."""
    batch, _, *sides = image_BCHW.shape
    centre_2B1 = torch.rand(2, batch, 1, generator=random)
    is_in_BH, is_in_BW = (
        (((torch.arange(side) + 0.5) / side - centre_B1).abs() < share / 2).to(image_BCHW.device, non_blocking=True)
        for side, centre_B1 in zip(sides, centre_2B1, strict=True)
    )
    return image_BCHW.masked_fill(is_in_BH[:, None, :, None] & is_in_BW[:, None, None], 0)


Function = Callable[..., Tensor]
GEOMETRY: dict[str, Function] = {
    "affine": affine,
    "crop": crop,
    "flip": flip,
    "rotate": rotate,
    "vertical_flip": vertical_flip,
}
RANDOM = GEOMETRY | {"brightness": brightness, "contrast": contrast, "erase": erase}  # for training only
TRANSFORM = RANDOM | {"normalize": normalize}


class Step:
    """One of the functions above, with its arguments."""

    def __init__(self, part: dict[str, Any]) -> None:
        self.function, self.arguments = components.check("transform", part, TRANSFORM, leading=2)
        self.is_random, self.is_geometry = self.function in RANDOM.values(), self.function in GEOMETRY.values()

    def __call__(self, image_BCHW: Tensor, target: Tensor, random: Any) -> Samples:
        if target.ndim < 3 or not self.is_geometry:
            return self.function(image_BCHW, random, **self.arguments), target
        before = random.get_state()
        image_BCHW = self.function(image_BCHW, random, **self.arguments)
        random.set_state(before)  # the target gets the same draws
        if target.ndim == 3:
            return image_BCHW, self.function(target[:, None], random, **self.arguments)[:, 0]
        return image_BCHW, self.function(target, random, **self.arguments)


def _step(part: dict[str, Any]) -> Any:
    if not str(part.get("name")).startswith("v2."):
        return Step(part)
    import transform_v2  # and with it torchvision: 1.5 s, which others need not wait for

    return transform_v2.Step(part)


class Transform:
    """The list `transform` of config.py, one after the other."""

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self._listed, self.steps = listed, [_step(part) for part in listed]
        names = [part["name"] for part in listed]
        for name in {"brightness", "contrast"} & {*names}:
            if "normalize" in names[: names.index(name)]:
                raise Refused(f"transform: {name} needs pixels in 0..1. Put it before normalize.")

    def __call__(self, image_BCHW: Tensor, target: Tensor, random: Generator | None) -> Samples:
        """Return the batch as the model gets it; without `random`, random transforms are left out.

        Args:
            image_BCHW: bytes, or 0..1.
            target: as `as_target` returns it. What has pixels, (B, H, W) or (B, C, H, W), goes where the image's go.
            random: what is drawn depends on it alone.
        """
        for step in self.steps:
            if random is not None or not step.is_random:
                image_BCHW, target = step(image_BCHW, target, random)
        if image_BCHW.dtype == torch.float64:  # numpy's default
            image_BCHW = image_BCHW.to(torch.get_default_dtype())
        return image_BCHW / 255 if image_BCHW.dtype == torch.uint8 else image_BCHW, target

    def divided(self) -> tuple["Transform | None", "Transform"]:
        """Return `normalize`, if it comes first and so can be done ahead, and what is left to do to batches."""
        if not self._listed or self._listed[0]["name"] != "normalize":
            return None, self
        return Transform(self._listed[:1]), Transform(self._listed[1:])

    def check(self, image_BCHW: Tensor, target: Tensor) -> tuple[int, ...]:
        """Return the shape of an image (C, H, W) as the model gets it.

        Raises:
            Refused: a step can't be done, with its arguments or with such images.
        """
        if image_BCHW.ndim == 4 and "int" in (kind := str(image_BCHW.dtype)) and image_BCHW.dtype != torch.uint8:
            raise Refused(f"data: images are {kind}. Make them torch.uint8, of 0 to 255, or floats of 0 to 1.")
        shapes = []
        for random in (random_state.generator("check"), None):
            try:
                shapes.append(tuple(self(image_BCHW, as_target(target), random)[0].shape[1:]))
            except ValueError as error:
                raise Refused(f"transform: {error}") from error
        if shapes[0] != shapes[1]:
            print(f"images are {shapes[0]} in training, but {shapes[1]} in val and test: see transform in config.py")
        return shapes[1]
