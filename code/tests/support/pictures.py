"""Make small image files as cameras, exports and competitions do."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, colour: int = 100, size: tuple[int, int] = (24, 16), mode: str = "RGB") -> Path:
    """Write an image of width x height, evenly coloured but for a bright middle, in the format of the ending."""
    width, height = size
    pixels = np.full((height, width), colour, np.uint8)
    pixels[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path, quality=100, subsampling=0)
    return path


def classes(root: Path, count: int = 6, splits: tuple[str, ...] = ("",)) -> Path:
    """Write `count` images of each of three classes, of three formats and sizes."""
    for split in splits:
        for number in range(count):
            picture(root / split / "cat" / f"{number}.jpg", 20 + number)
            picture(root / split / "dog" / "old" / f"{number}.PNG", 50 + number, (17, 40), "L")
            picture(root / split / "emu" / f"{number}.gif", 90 + number, (9, 9), "P")
    return root


def mask(path: Path, values: tuple[int, int] = (0, 255), size: tuple[int, int] = (24, 16)) -> Path:
    """Write a mask with the second value in the middle, where `picture` is bright."""
    width, height = size
    pixels = np.full((height, width), values[0], np.uint8)
    pixels[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = values[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert("1") if path.suffix == ".gif" else image).save(path)
    return path


def cars(root: Path, count: int = 6, ending: str = ".jpg") -> Path:
    """Write a folder as of Kaggle's Carvana competition."""
    for number in range(count):
        picture(root / "images" / f"car_{number:02}{ending}", 20 + number)
        mask(root / "masks" / f"car_{number:02}_mask.gif")
    return root
