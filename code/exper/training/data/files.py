"""Data sets of image files, read batch by batch: by the training loop, or ahead of it by `data.workers` processes."""

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
    """The common base of data sets of image files; each adds `classes`, `__len__` and `__getitems__`.

    Raises:
        Refused: `path` leads out of `folder`, is no folder, or has a broken link.
    """

    shape: tuple[int, ...]
    classes: int
    labels: Tensor | None = None
    own: Mapping[str, Tensor] = {}

    def __init__(self, folder: Path, path: str, size: Size, channels: int) -> None:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise Refused(f"data.path = {path!r}: must be inside {folder}. Put the images there, or a link to them.")
        self.root = folder / path
        self.shape = (channels, *size)
        if not self.root.is_dir():
            raise Refused(f"data.path = {path!r}: there is no folder {self.root}. Put the images there.")
        self.bytes = listed(self.root)  # sizes of the files, by their path relative to root

    def to(self, device: torch.device) -> None:
        """Stay on disk."""

    def fingerprint(self) -> str:
        """Return a digest of the names and sizes of all images, and of the content of 100 of them, evenly spread.

        In the other images an edit in place that keeps the file's size goes unnoticed.
        """
        sha256 = hashlib.sha256()
        names = list(self.bytes)
        for name, size in self.bytes.items():
            sha256.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
        for number in range(min(100, len(names))):
            content = (self.root / names[number * len(names) // min(100, len(names))]).read_bytes()
            sha256.update(hashlib.sha256(content).digest())
        return sha256.hexdigest()

    def read_images(self, names: list[str]) -> Tensor:
        """Read images, uint8 (B, C, H, W): each is scaled until it covers H x W, and its centre is cut out.

        Raises:
            RuntimeError: a file is damaged, or has pixels of more than 8 bits.
        """
        image_BCHW = torch.empty(len(names), *self.shape, dtype=torch.uint8)
        mode = "RGB" if self.shape[0] == 3 else "L"
        height, width = self.shape[1:]
        for image_CHW, name in zip(image_BCHW, names, strict=True):
            with opened(self.root / name) as image:
                _check_bytes(image)
                image.draft(mode, (width, height))  # a large JPEG is decoded at 1/2, 1/4 or 1/8, if that covers H x W
                fitting = ImageOps.fit(image.convert(mode), (width, height), Image.Resampling.BILINEAR)
                image_CHW.numpy()[:] = np.asarray(fitting).reshape(height, width, -1).transpose(2, 0, 1)
        return image_BCHW


def listed(root: Path) -> dict[str, int]:
    """Return all images under `root`, as sorted paths relative to it, with their sizes in bytes.

    Raises:
        Refused: a link's target is missing.
    """
    sizes = {}
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and not _is_loop(Path(folder, name), root)]
        inside = "" if folder == str(root) else os.path.relpath(folder, root) + "/"
        for name in names:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                sizes[inside + name] = _size(os.path.join(folder, name))
    return dict(sorted(sizes.items()))


def _is_loop(path: Path, root: Path) -> bool:
    """Tell whether a folder is a link to itself or to a folder above it, up to `root`."""
    if not path.is_symlink():
        return False
    target = path.resolve()
    above = (folder for folder in path.parents if folder.is_relative_to(root))
    return any(folder.resolve().is_relative_to(target) for folder in above)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        raise Refused(f"data: {path} is a link, and its target is missing. Restore it, or remove the link.") from None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image.

    Raises:
        RuntimeError: anything fails while it is open; the message begins with its path.
    """
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # PIL raises many kinds
        raise RuntimeError(f"{path}: {error}") from error


def _check_bytes(image: Image.Image) -> None:
    if image.mode[0] in "IF":  # PIL would clip them
        raise ValueError(f"its pixels have 16 or 32 bits (mode {image.mode}); save it with 8")
