"""Images with a mask each, in the folders of Kaggle's Carvana competition: `images/x.jpg`, `masks/x_mask.gif`."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from exper.core.errors import Refused
from exper.training.data.files import Files, Size, opened
from exper.training.data.types import Samples


class Carvana(Files):
    """`<path>/images/` and `<path>/masks/`: names are the same up to the ending, and to `_mask` before a mask's.

    With `classes` = 1 a mask's pixels are 1 where they are not black; else they are class numbers below `classes`.
    """

    def __init__(
        self,
        folder: Path,
        path: str,
        size: Size,
        channels: Literal[1, 3] = 3,
        classes: Annotated[int, "from 1 to 256", 1, 256] = 1,
    ) -> None:
        super().__init__(folder, path, size, channels)
        self.classes = classes
        self.pairs = self._pairs(self._named("images", ""), self._named("masks", "_mask"))
        with ThreadPoolExecutor(8) as threads:  # on a file server, most of it is waiting
            list(threads.map(self._check_sizes, self.pairs))

    def _pairs(self, images: dict[str, str], masks: dict[str, str]) -> list[tuple[str, str]]:
        for kind, alone in (("images", sorted(set(masks) - set(images))), ("masks", sorted(set(images) - set(masks)))):
            if alone:
                raise Refused(
                    f"data: in {self.root} {kind} are missing for {len(alone)}, such as {alone[0]}. Add them."
                )
        if not images:
            raise Refused(
                f"data: {self.root} has no images/x.jpg with masks/x.png or masks/x_mask.png. Put some there."
            )
        return [(images[name], masks[name]) for name in images]

    def _named(self, kind: str, suffix: str) -> dict[str, str]:
        """Return the files in the folder `kind` by what image and mask have in common."""
        found: dict[str, str] = {}
        for name in self.bytes:
            if name.startswith(f"{kind}/"):
                stem, ending = os.path.splitext(name.removeprefix(f"{kind}/"))
                stem = stem.removesuffix(suffix)
                if kind == "masks" and ending.lower() in (".jpg", ".jpeg"):
                    raise Refused(f"data: {self.root / name} is a JPEG, which blurs a mask. Save it as PNG or GIF.")
                if stem in found:
                    raise Refused(f"data: {self.root} has {found[stem]} and {name} for one sample. Keep one.")
                found[stem] = name
        return found

    def _check_sizes(self, pair: tuple[str, str]) -> None:
        sizes = []
        for name in pair:
            try:
                with opened(self.root / name) as image:
                    sizes.append(image.size)
            except RuntimeError as error:
                raise Refused(f"data: {error}. Replace it.") from error
        if sizes[0] != sizes[1]:
            text = " and ".join(f"{name} {width} x {height}" for name, (width, height) in zip(pair, sizes, strict=True))
            raise Refused(f"data: in {self.root} the sizes differ of {text}. Make them equal.")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, index_B: Tensor) -> Samples:
        """Return images, and masks as bytes (B, H, W)."""
        images, masks = zip(*(self.pairs[index] for index in index_B.tolist()), strict=True)
        return self.read_images([*images]), torch.stack([self._read_mask(name) for name in masks])

    def _read_mask(self, name: str) -> Tensor:
        """Return class numbers, uint8 (H, W), scaled and cut as the image is, but each the nearest pixel's."""
        height, width = self.shape[1:]
        with opened(self.root / name) as mask:
            fitting = ImageOps.fit(mask, (width, height), Image.Resampling.NEAREST)
            pixels_HW = _is_not_black(fitting) if self.classes == 1 else np.asarray(fitting)
            _check_classes(pixels_HW, self.classes)
        return torch.tensor(pixels_HW).byte()


def _is_not_black(mask: Image.Image) -> "np.ndarray[Any, Any]":
    """Tell of each pixel (H, W) whether one of its channels is above 0; as grey, dark colours would be black."""
    has_colours = mask.mode == "P" or len(mask.getbands()) > 1
    pixels = np.asarray(mask.convert("RGB") if has_colours else mask)
    return pixels.reshape(mask.height, mask.width, -1).max(2) != 0  # type: ignore[no-any-return]


def _check_classes(pixels_HW: "np.ndarray[Any, Any]", classes: int) -> None:
    if pixels_HW.ndim > 2:
        raise ValueError(f"it has colours; with data.classes = {classes}, a pixel of a mask is the number of a class")
    if pixels_HW.max() >= max(classes, 2):
        raise ValueError(f"it has the class {pixels_HW.max()}; data.classes = {classes}")
