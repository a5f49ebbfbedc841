"""Transforms of torchvision, by the name of the class: {"name": "v2.ColorJitter", "hue": 0.1}."""

from typing import Any

import torch
from torch import Generator, Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from exper.core import components
from exper.core.errors import Refused

KINDS = {
    f"v2.{name}": kind for name, kind in vars(v2).items() if isinstance(kind, type) and issubclass(kind, v2.Transform)
}


class Step:
    """One transform: of whole batches if it draws nothing; else image by image, as it would draw once for a batch."""

    def __init__(self, part: dict[str, Any]) -> None:
        self.name = part["name"]
        try:
            self.transform = components.build("transform", part, KINDS)
        except TypeError as error:
            raise Refused(f"transform = {part!r}: {error}") from error
        draws = {"make_params", "forward"} & vars(KINDS[self.name]).keys()
        self.is_random = bool(draws) or "Random" in self.name or self.name == "v2.GaussianNoise"

    def __call__(self, image_BCHW: Tensor, target: Tensor, random: Generator | None) -> tuple[Tensor, Tensor]:
        try:
            return self._each(image_BCHW, target, random) if self.is_random else self._once(image_BCHW, target)
        except Exception as error:  # torchvision raises many kinds
            raise ValueError(f"{self.name}: {error}") from error

    def _once(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Transform an image or a batch of them; a target that has pixels is moved alike, without being mixed."""
        mask = tv_tensors.Mask(target) if target.ndim >= image.ndim - 1 else None
        image, mask = self.transform(tv_tensors.Image(image), mask)
        return image.as_subclass(Tensor), target if mask is None else mask.as_subclass(Tensor)

    def _each(self, image_BCHW: Tensor, target: Tensor, random: Generator | None) -> tuple[Tensor, Tensor]:
        seeds = torch.randint(2**62, (len(image_BCHW),), generator=random).tolist()
        gpu, samples = [image_BCHW.device.index] if image_BCHW.is_cuda else [], []
        generators = [torch.default_generator, *(torch.cuda.default_generators[number] for number in gpu)]
        with torch.random.fork_rng(gpu):
            for seed, image_CHW, one in zip(seeds, image_BCHW, target, strict=True):
                for generator in generators:  # torchvision draws from them: noise on the image's device, else the CPU's
                    generator.manual_seed(seed)
                samples.append(self._once(image_CHW, one))
        images, targets = zip(*samples, strict=True)
        return torch.stack(images), torch.stack(targets)
