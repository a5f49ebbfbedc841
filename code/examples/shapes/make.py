"""python code/examples/shapes/make.py [folder] [--images 600]

Make the images and masks of the segmentation example, in the folders of Kaggle's Carvana challenge: filled circles,
squares, triangles and stars in colours on a dull, textured background, and outlines, which are not in the masks. It
takes a second or two and makes the same images each time. The default folder is __data__/shapes.
"""  # noqa: D415  the first line is to be typed

import argparse
import math
import os
import shutil
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

DATA = Path(__file__).resolve().parents[3] / "__data__"
SIDE = 64  # pixels of an image
OVERSAMPLING = 4  # shapes are drawn so many times larger and scaled down, for smooth edges

Pixels = NDArray[np.float64]  # (H, W) or (H, W, 3), from 0 to 1
Points = list[tuple[float, float]]


def make(folder: Path, images: int) -> None:
    """Write `images` images and masks into `folder`, which appears when it is complete."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for kind in ("images", "masks"):
        (partial / kind).mkdir(parents=True)
    for number in range(images):
        image_HW3, mask_HW = sample(np.random.default_rng(number))
        colours = Image.fromarray((image_HW3.clip(0, 1) * 255).astype(np.uint8))
        colours.save(partial / "images" / f"shape_{number:04}.jpg", quality=95, subsampling=0)
        Image.fromarray(mask_HW).save(partial / "masks" / f"shape_{number:04}_mask.gif")
    os.rename(partial, folder)


def sample(random: Generator) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return an image (H, W, 3) with one to three filled shapes, and their mask (H, W)."""
    dull_3 = random.uniform(0.25, 0.75) + random.uniform(-0.08, 0.08, 3)
    image_HW3 = dull_3 + 0.15 * texture(random, 4) + 0.1 * texture(random, 16)
    outline_HW1 = shape(random, filled=False)
    image_HW3 = (1 - outline_HW1) * image_HW3 + outline_HW1 * colour(random)
    mask_HW = np.zeros((SIDE, SIDE), dtype=np.bool_)
    for _ in range(random.integers(1, 4)):
        inside_HW1 = shape(random, filled=True)
        inner_HW3 = colour(random) + 0.1 * texture(random, 32)
        image_HW3 = (1 - inside_HW1) * image_HW3 + inside_HW1 * inner_HW3
        mask_HW |= inside_HW1[:, :, 0] > 0.5
    return image_HW3 + random.normal(0, 0.03, image_HW3.shape), mask_HW


def texture(random: Generator, grains: int) -> Pixels:
    """Return smooth noise (H, W, 1) from -1 to 1, with `grains` x `grains` spots."""
    noise = Image.fromarray(random.uniform(-1, 1, (grains, grains)).astype(np.float32))
    return np.asarray(noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64)[:, :, None]


def colour(random: Generator) -> Pixels:
    """Return a colour, red, green and blue, that is far from grey."""
    while np.ptp(colour_3 := random.uniform(0, 1, 3)) < 0.5:
        pass
    return colour_3


def shape(random: Generator, filled: bool) -> Pixels:
    """Return the share of each pixel (H, W, 1) that a random shape covers."""
    canvas = Image.new("L", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING))
    points = [(OVERSAMPLING * x, OVERSAMPLING * y) for x, y in corners(random)]
    if filled:
        ImageDraw.Draw(canvas).polygon(points, fill=255)
    else:
        ImageDraw.Draw(canvas).line([*points, *points[:2]], fill=255, width=2 * OVERSAMPLING)
    return np.asarray(canvas.reduce(OVERSAMPLING), np.float64)[:, :, None] / 255


def corners(random: Generator) -> Points:
    """Return the corners of a circle (48 of them), square, triangle or star, of random size, place and rotation."""
    number, inner = ((48, 1.0), (4, 1.0), (3, 1.0), (10, 0.5))[random.integers(4)]  # inner: of a star's inner corners
    radius = random.uniform(0.15, 0.35) * SIDE
    turn = random.uniform(0, 2 * math.pi)
    x, y = random.uniform(0.15, 0.85, 2) * SIDE
    lengths = [radius * (inner if corner % 2 else 1) for corner in range(number)]
    angles = [turn + 2 * math.pi * corner / number for corner in range(number)]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(lengths, angles, strict=True)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA / "shapes")
    parser.add_argument("--images", type=int, default=600)
    options = parser.parse_args()
    if options.images < 1:
        parser.error(f"--images {options.images}: must be at least 1")
    if options.folder.exists():
        parser.error(f"{options.folder} already exists. Remove it to make it again.")
    make(options.folder, options.images)
    print(f"{options.images} images with masks: {options.folder}")
