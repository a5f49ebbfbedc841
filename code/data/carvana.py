"""Images with a mask each, in the folders of Kaggle's Carvana Image Masking Challenge (2017).

Legend: B images, C channels, H height, W width.
"""

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
    """`<path>/images/x.jpg` with `<path>/masks/x.png` or `x_mask.gif`: images uint8 (C, H, W), masks uint8 (H, W).

    With `classes` = 1 a mask is 1 where its pixels are not black; else its pixels are class numbers in 0..classes-1.

    Raises:
        Refused: an image or mask is missing or can't be read, their sizes differ, or a mask is a JPEG.
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
        with ThreadPoolExecutor(8) as threads:  # on a file server this is mostly waiting
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
        """Return the files in the folder `kind`, by the name that image and mask have in common."""
        files: dict[str, str] = {}
        for name in self.bytes:
            if name.startswith(f"{kind}/"):
                stem, ending = os.path.splitext(name.removeprefix(f"{kind}/"))
                stem = stem.removesuffix(suffix)
                if kind == "masks" and ending.lower() in (".jpg", ".jpeg"):
                    raise Refused(f"data: {self.root / name} is a JPEG, which blurs a mask. Save it as PNG or GIF.")
                if stem in files:
                    raise Refused(f"data: {self.root} has {files[stem]} and {name} for one sample. Keep one.")
                files[stem] = name
        return files

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
            raise Refused(f"data: in {self.root} the sizes of {text} differ. Make them equal.")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitems__(self, index_B: Tensor) -> Samples:
        """Return images (B, C, H, W) and masks (B, H, W), both uint8.

        Raises:
            RuntimeError: a file can't be read, or a mask has a wrong class.
        """
        images, masks = zip(*(self.pairs[index] for index in index_B.tolist()), strict=True)
        return self.read_images([*images]), torch.stack([self._read_mask(name) for name in masks])

    def _read_mask(self, name: str) -> Tensor:
        """Return class numbers, uint8 (H, W), scaled and cut as the image, but without interpolation."""
        height, width = self.shape[1:]
        with opened(self.root / name) as mask:
            fitting = ImageOps.fit(mask, (width, height), Image.Resampling.NEAREST)
            pixels_HW = _is_not_black(fitting) if self.classes == 1 else np.asarray(fitting)
            _check_classes(pixels_HW, self.classes)
        return torch.tensor(pixels_HW).byte()


def _is_not_black(mask: Image.Image) -> "np.ndarray[Any, Any]":
    """Return a bool for each pixel (H, W): is any channel above 0? Converted to grey, dark colours would be black."""
    has_colours = mask.mode == "P" or len(mask.getbands()) > 1
    pixels = np.asarray(mask.convert("RGB") if has_colours else mask)
    return pixels.reshape(mask.height, mask.width, -1).max(2) != 0  # type: ignore[no-any-return]


def _check_classes(pixels_HW: "np.ndarray[Any, Any]", classes: int) -> None:
    if pixels_HW.ndim > 2:
        raise ValueError(f"it has colours; with data.classes = {classes}, a mask's pixel is a class number")
    if pixels_HW.max() >= max(classes, 2):
        raise ValueError(f"it has the class {pixels_HW.max()}; data.classes = {classes}")
