"""Data sets of image files, read batch by batch: by the loop, or by `data.workers` processes ahead of it."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from exper.core.components import Count
from exper.core.errors import Refused

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
Size = tuple[Count, Count]  # height, width


class Files:
    """What data sets of files share: each adds `classes`, its length, and `__getitems__`."""

    shape: tuple[int, ...]
    classes: int
    labels: Tensor | None = None
    own: Mapping[str, Tensor] = {}

    def __init__(self, folder: Path, path: str, size: Size, channels: int) -> None:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise Refused(f"data.path = {path!r}: must be inside {folder}. Put the images there, or a link to them.")
        self.root, self.shape = folder / path, (channels, *size)
        if not self.root.is_dir():
            raise Refused(f"data.path = {path!r}: there is no folder {self.root}. Put the images there.")
        self.bytes = listed(self.root)

    def to(self, device: torch.device) -> None:
        """Stay on disk."""

    def fingerprint(self) -> str:
        """Return a digest of names and sizes of all images, and of the content of 100, evenly spread over the names.

        So where there are more, an edit in place that keeps the file's size goes unnoticed in the others.
        """
        sha256, names = hashlib.sha256(), list(self.bytes)
        for name, size in self.bytes.items():
            sha256.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
        for number in range(min(100, len(names))):
            content = (self.root / names[number * len(names) // min(100, len(names))]).read_bytes()
            sha256.update(hashlib.sha256(content).digest())
        return sha256.hexdigest()

    def read_images(self, names: list[str]) -> Tensor:
        """Return uint8 (B, C, H, W): each image scaled until it covers H x W, and the middle cut out."""
        image_BCHW = torch.empty(len(names), *self.shape, dtype=torch.uint8)
        mode, (height, width) = "RGB" if self.shape[0] == 3 else "L", self.shape[1:]
        for image_CHW, name in zip(image_BCHW, names, strict=True):
            with opened(self.root / name) as image:
                _check_bytes(image)
                image.draft(mode, (width, height))  # a large JPEG is decoded at 1/2, 1/4 or 1/8, if that covers H x W
                fitting = ImageOps.fit(image.convert(mode), (width, height), Image.Resampling.BILINEAR)
                image_CHW.numpy()[:] = np.asarray(fitting).reshape(height, width, -1).transpose(2, 0, 1)
        return image_BCHW


def listed(root: Path) -> dict[str, int]:
    """Return all images under `root`, as sorted paths relative to it, with their sizes in bytes."""
    found = {}
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [
            name for name in folders if not name.startswith(".") and not _leads_round(Path(folder, name), root)
        ]
        inside = "" if folder == str(root) else os.path.relpath(folder, root) + "/"
        for name in names:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                found[inside + name] = _size(os.path.join(folder, name))
    return dict(sorted(found.items()))


def _leads_round(path: Path, root: Path) -> bool:
    """Tell whether a folder is a link to one that a walk from `root` is in already."""
    if not path.is_symlink():
        return False
    to, walked = path.resolve(), (folder for folder in path.parents if folder.is_relative_to(root))
    return any(folder.resolve().is_relative_to(to) for folder in walked)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        raise Refused(f"{path} is a link, and what it names is not there. Bring that, or remove the link.") from None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; what is wrong with the file is an error that begins with its path."""
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # PIL raises many kinds
        raise RuntimeError(f"{path}: {error}") from error


def _check_bytes(image: Image.Image) -> None:
    if image.mode[0] in "IF":  # PIL would clip them
        raise ValueError(f"its pixels have 16 or 32 bits (mode {image.mode}); save it with 8")
