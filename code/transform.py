"""Transforms by name: functions of whole batches on the device; random ones draw anew for each image.

Pixels are bytes in 0..255 or floats in 0..1 until `normalize`. Besides the functions at the end of this file, config.py
can name any class of torchvision.transforms.v2, such as {"name": "v2.ColorJitter", "hue": 0.1}. The random ones among
those are slower, because they are applied image by image.

Legend: B images, C channels, H height, W width, 1 a dimension to broadcast.
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
    """Subtract `mean` and divide by `std`: one number a channel, for pixels in 0..1. Return floats.

    Bytes give the same result as the floats in 0..1 that they stand for.

    Raises:
        ValueError: the images have another number of channels.
    """
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


# -- geometry: a mask or a target image moves with its image --------------------------------------------------------


def crop(image_BCHW: Tensor, random: Generator, padding: Count) -> Tensor:
    """Pad each side with `padding` zeros and cut each image back to its size at a random place.

    With `flip` the usual augmentation of CIFAR (He et al., Deep Residual Learning, 2015, section 4.2: padding = 4).
    """
    batch, _, height, width = image_BCHW.shape
    place_2B = torch.randint(2 * padding + 1, (2, batch), generator=random)
    row_B, column_B = place_2B.to(image_BCHW.device, non_blocking=True)
    padded_BCHW = functional.pad(image_BCHW, [padding] * 4)
    # a view, not a copy: of each image every window of H x W, by its first row and column
    window_BCRSHW = padded_BCHW.unfold(2, height, 1).unfold(3, width, 1)
    return window_BCRSHW[torch.arange(batch, device=image_BCHW.device), :, row_B, column_B]


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
    """Rotate, shift and scale each image about its centre and fill with zeros; return the image's own dtype.

    The sampling grid is that of Jaderberg et al., Spatial Transformer Networks, 2015, equation 1.

    Args:
        image_BCHW: bytes or floats, which are interpolated, or class numbers (int64), which stay whole.
        random: draws each amount uniformly between its limits.
        degrees: the largest rotation in either direction.
        shift: the largest shift in either direction, as a share of height and width.
        scale: sizes are multiplied by 1 - scale to 1 + scale.
    """
    batch, _, height, width = image_BCHW.shape
    turn_B, down_B, right_B, larger_B = 2 * torch.rand(4, batch, generator=random) - 1
    size_B = 1 + scale * larger_B
    angle_B = turn_B * math.radians(degrees)
    cos_B = angle_B.cos() / size_B
    sin_B = angle_B.sin() / size_B
    row_1 = [cos_B, sin_B * (height / width), 2 * shift * right_B]  # coordinates go from -1 to 1 across an image
    row_2 = [-sin_B * (width / height), cos_B, 2 * shift * down_B]
    matrix_B23 = torch.stack([torch.stack(row, 1) for row in (row_1, row_2)], 1)
    matrix_B23 = matrix_B23.to(image_BCHW.device, non_blocking=True)
    grid_BHW2 = functional.affine_grid(matrix_B23, [batch, 1, height, width], align_corners=False)
    mode = "nearest" if image_BCHW.dtype == torch.int64 else "bilinear"
    return _as_dtype_of(image_BCHW, functional.grid_sample(image_BCHW.float(), grid_BHW2, mode, align_corners=False))


def rotate(image_BCHW: Tensor, random: Generator, degrees: Degrees) -> Tensor:
    """Rotate each image by up to `degrees` in either direction and fill with zeros."""
    return affine(image_BCHW, random, degrees)


# -- images only: targets stay as they are --------------------------------------------------------------------------


def brightness(image_BCHW: Tensor, random: Generator, by: Share) -> Tensor:
    """Multiply the pixels of each image by 1 - `by` to 1 + `by`, as torchvision's ColorJitter does."""
    return _blend(torch.zeros(1), image_BCHW, random, by)


def contrast(image_BCHW: Tensor, random: Generator, by: Share) -> Tensor:
    """Multiply each pixel's distance from the image's mean by 1 - `by` to 1 + `by`.

    The mean is over all channels; torchvision's ColorJitter takes the mean of the grey image.
    """
    return _blend(image_BCHW.float().mean((1, 2, 3), keepdim=True), image_BCHW, random, by)


def _blend(base_B111: Tensor, image_BCHW: Tensor, random: Generator, by: float) -> Tensor:
    """Return base + factor * (image - base), with a factor drawn for each image, within the range of pixels."""
    largest = 255 if image_BCHW.dtype == torch.uint8 else 1
    factor_B111 = 1 + by * (2 * torch.rand(len(image_BCHW), 1, 1, 1, generator=random) - 1)
    factor_B111 = factor_B111.to(image_BCHW.device, non_blocking=True)
    blended_BCHW = torch.lerp(base_B111.to(image_BCHW.device), image_BCHW.float(), factor_B111)
    return _as_dtype_of(image_BCHW, blended_BCHW.clamp(0, largest))


def _as_dtype_of(image_BCHW: Tensor, float_BCHW: Tensor) -> Tensor:
    return float_BCHW if image_BCHW.is_floating_point() else float_BCHW.round().to(image_BCHW.dtype)


def erase(image_BCHW: Tensor, random: Generator, share: Share) -> Tensor:
    """Set a box of `share` of the height and width to zero; its centre may be anywhere in the image.

    DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017, section 3.2.
    """
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
    """A function of this file with its arguments."""

    def __init__(self, component: dict[str, Any]) -> None:
        self.function, self.arguments = components.check("transform", component, TRANSFORM, leading=2)
        self.is_random = self.function in RANDOM.values()
        self.is_geometry = self.function in GEOMETRY.values()

    def __call__(self, image_BCHW: Tensor, target: Tensor, random: Any) -> Samples:
        if target.ndim < 3 or not self.is_geometry:
            return self.function(image_BCHW, random, **self.arguments), target
        before = random.get_state()
        image_BCHW = self.function(image_BCHW, random, **self.arguments)
        random.set_state(before)  # the target gets the same draws
        if target.ndim == 3:
            return image_BCHW, self.function(target[:, None], random, **self.arguments)[:, 0]
        return image_BCHW, self.function(target, random, **self.arguments)


class TorchvisionStep:
    """A class of torchvision.transforms.v2, named "v2.<class>".

    It gets whole batches if it draws nothing; else single images, because it would draw only once for a batch.
    """

    def __init__(self, component: dict[str, Any]) -> None:
        from torchvision.transforms import v2  # takes 1.5 s, which other transforms don't wait for

        classes = {f"v2.{name}": item for name, item in vars(v2).items() if _is_subclass(item, v2.Transform)}
        self.name = component["name"]
        try:
            self.transform = components.build("transform", component, classes)
        except TypeError as error:
            raise Refused(f"transform = {component!r}: {error}") from error
        draws = {"make_params", "forward"} & vars(classes[self.name]).keys()
        self.is_random = bool(draws) or "Random" in self.name or self.name == "v2.GaussianNoise"

    def __call__(self, image_BCHW: Tensor, target: Tensor, random: Generator | None) -> Samples:
        try:
            if self.is_random:
                return self._apply_to_each(image_BCHW, target, random)
            return self._apply(image_BCHW, target)
        except Exception as error:  # torchvision raises many kinds
            raise ValueError(f"{self.name}: {error}") from error

    def _apply(self, image: Tensor, target: Tensor) -> Samples:
        """Transform an image or a batch; a target with pixels moves along, without interpolation."""
        from torchvision import tv_tensors

        mask = tv_tensors.Mask(target) if target.ndim >= image.ndim - 1 else None
        image, mask = self.transform(tv_tensors.Image(image), mask)
        return image.as_subclass(Tensor), target if mask is None else mask.as_subclass(Tensor)

    def _apply_to_each(self, image_BCHW: Tensor, target: Tensor, random: Generator | None) -> Samples:
        seeds = torch.randint(2**62, (len(image_BCHW),), generator=random).tolist()
        gpu = [image_BCHW.device.index] if image_BCHW.is_cuda else []
        # torchvision draws from torch's own generators: the CPU's, and for noise that of the image's device
        generators = [torch.default_generator, *(torch.cuda.default_generators[number] for number in gpu)]
        samples = []
        with torch.random.fork_rng(gpu):
            for seed, image_CHW, target_of_image in zip(seeds, image_BCHW, target, strict=True):
                for generator in generators:
                    generator.manual_seed(seed)
                samples.append(self._apply(image_CHW, target_of_image))
        images, targets = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(targets)


def _is_subclass(item: Any, parent: type) -> bool:
    return isinstance(item, type) and issubclass(item, parent)


def _step(component: dict[str, Any]) -> Step | TorchvisionStep:
    return TorchvisionStep(component) if str(component.get("name")).startswith("v2.") else Step(component)


class Transform:
    """The list `transform` of config.py: steps applied one after the other.

    Raises:
        Refused: an unknown name or a wrong argument; or brightness or contrast after normalize.
    """

    def __init__(self, listed: list[dict[str, Any]]) -> None:
        self._listed = listed
        self.steps = [_step(component) for component in listed]
        names = [component["name"] for component in listed]
        for name in {"brightness", "contrast"} & {*names}:
            if "normalize" in names[: names.index(name)]:
                raise Refused(f"transform: {name} needs pixels in 0..1. Put it before normalize.")

    def __call__(self, image_BCHW: Tensor, target: Tensor, random: Generator | None) -> Samples:
        """Return the batch as the model gets it: images are floats, targets as they came.

        Args:
            image_BCHW: bytes in 0..255, or floats in 0..1.
            target: as `as_target` returns it. A target with pixels, (B, H, W) or (B, C, H, W), moves with its image.
            random: the only source of randomness; None leaves out random steps, as for validation and test.
        """
        for step in self.steps:
            if random is not None or not step.is_random:
                image_BCHW, target = step(image_BCHW, target, random)
        if image_BCHW.dtype == torch.float64:  # numpy's default
            image_BCHW = image_BCHW.to(torch.get_default_dtype())
        return image_BCHW / 255 if image_BCHW.dtype == torch.uint8 else image_BCHW, target

    def split_normalize(self) -> tuple["Transform | None", "Transform"]:
        """Return the leading `normalize`, which can be applied once to the whole data set, and the other steps."""
        if not self._listed or self._listed[0]["name"] != "normalize":
            return None, self
        return Transform(self._listed[:1]), Transform(self._listed[1:])

    def check(self, image_BCHW: Tensor, target: Tensor) -> tuple[int, ...]:
        """Try all steps on a few samples; return the shape of an image (C, H, W) as the model gets it in evaluation.

        Raises:
            Refused: the images are integers other than bytes, or a step fails on them.
        """
        dtype = str(image_BCHW.dtype)
        if image_BCHW.ndim == 4 and "int" in dtype and image_BCHW.dtype != torch.uint8:
            raise Refused(f"data: images are {dtype}. Make them torch.uint8, of 0 to 255, or floats of 0 to 1.")
        shapes = []
        for random in (random_state.generator("check"), None):
            try:
                shapes.append(tuple(self(image_BCHW, as_target(target), random)[0].shape[1:]))
            except ValueError as error:
                raise Refused(f"transform: {error}") from error
        if shapes[0] != shapes[1]:
            print(f"images are {shapes[0]} in training, but {shapes[1]} in val and test: see transform in config.py")
        return shapes[1]
