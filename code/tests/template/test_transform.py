import pytest
import torch

from exper.training import streams
from transform import Transform, crop, flip

IMAGES = torch.arange(1.0, 1 + 64 * 3 * 8 * 6).view(64, 3, 8, 6)


def test_normalize_is_by_channel() -> None:
    transform = Transform([{"name": "normalize", "mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}])
    out, _ = transform(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8), torch.zeros(2), None)
    assert out[1, :, 2, 2].tolist() == pytest.approx([0.9, 0.4, 0.7 / 3])


def test_crop_shifts_each_image_by_itself_and_fills_with_zeros() -> None:
    out = crop(IMAGES, streams.generator(1), padding=2)
    shifts = set()
    for image, cropped in zip(IMAGES, out, strict=True):
        padded = torch.nn.functional.pad(image, [2] * 4)
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(padded[:, y : y + 8, x : x + 6], cropped)]
        assert len(places) == 1
        shifts.add(places[0])
    assert len(shifts) > 15


def test_flip_mirrors_each_image_by_itself() -> None:
    out = flip(IMAGES, streams.generator(1))
    flipped = [torch.equal(one, image.flip(2)) for one, image in zip(out, IMAGES, strict=True)]
    kept = [torch.equal(one, image) for one, image in zip(out, IMAGES, strict=True)]
    assert [a != b for a, b in zip(flipped, kept, strict=True)] == [True] * 64
    assert 20 < sum(flipped) < 44


def test_p_0_and_1_of_flip() -> None:
    assert torch.equal(flip(IMAGES, streams.generator(1), p=0), IMAGES)
    assert torch.equal(flip(IMAGES, streams.generator(1), p=1), IMAGES.flip(3))


def test_augmented_batches_are_contiguous() -> None:
    assert crop(IMAGES[:, :1], streams.generator(1), padding=2).is_contiguous()
