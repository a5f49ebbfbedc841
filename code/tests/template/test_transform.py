from typing import Any

import pytest
import torch

from exper.core.errors import Refused
from exper.training import random_state
from transform import Transform, crop, flip

IMAGES = torch.arange(1.0, 1 + 64 * 3 * 8 * 6).view(64, 3, 8, 6)


def test_normalize_is_by_channel() -> None:
    transform = Transform([{"name": "normalize", "mean": [0.1, 0.2, 0.3], "std": [1.0, 2.0, 3.0]}])
    out, _ = transform(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8), torch.zeros(2), None)
    assert out[1, :, 2, 2].tolist() == pytest.approx([0.9, 0.4, 0.7 / 3])


@pytest.mark.parametrize("listed", [[], [{"name": "normalize", "mean": [0.0], "std": [1.0]}]])
def test_floats_of_64_bits_end_as_those_of_32(listed: list[dict[str, Any]]) -> None:
    images = torch.rand(2, 1, 3, 3)
    transform = Transform(listed)
    out = transform(images.double(), torch.zeros(2), None)[0]
    assert out.dtype == torch.float32
    assert torch.equal(out, transform(images, torch.zeros(2), None)[0])


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.uint16])
def test_pixels_that_are_neither_bytes_nor_floats_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(Refused, match=rf"data: images are {dtype}. Make them torch.uint8, of 0 to 255, or floats"):
        Transform([]).check(torch.ones(2, 1, 3, 3).to(dtype), torch.zeros(2))
    Transform([]).check(torch.ones(2, 3).long(), torch.zeros(2))  # words of a text are no pixels


def test_crop_shifts_each_image_by_itself_and_fills_with_zeros() -> None:
    out = crop(IMAGES, random_state.generator(1), padding=2)
    shifts = set()
    for image, cropped in zip(IMAGES, out, strict=True):
        padded = torch.nn.functional.pad(image, [2] * 4)
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(padded[:, y : y + 8, x : x + 6], cropped)]
        assert len(places) == 1
        shifts.add(places[0])
    assert len(shifts) > 15


def test_flip_mirrors_each_image_by_itself() -> None:
    out = flip(IMAGES, random_state.generator(1))
    flipped = [torch.equal(one, image.flip(2)) for one, image in zip(out, IMAGES, strict=True)]
    kept = [torch.equal(one, image) for one, image in zip(out, IMAGES, strict=True)]
    assert [a != b for a, b in zip(flipped, kept, strict=True)] == [True] * 64
    assert 20 < sum(flipped) < 44


def test_p_0_and_1_of_flip() -> None:
    assert torch.equal(flip(IMAGES, random_state.generator(1), p=0), IMAGES)
    assert torch.equal(flip(IMAGES, random_state.generator(1), p=1), IMAGES.flip(3))


def test_augmented_batches_are_contiguous() -> None:
    assert crop(IMAGES[:, :1], random_state.generator(1), padding=2).is_contiguous()


GEOMETRY: list[dict[str, Any]] = [
    {"name": "crop", "padding": 3},
    {"name": "flip"},
    {"name": "vertical_flip"},
    {"name": "rotate", "degrees": 40},
    {"name": "affine", "degrees": 10, "shift": 0.2, "scale": 0.3},
    {"name": "v2.RandomRotation", "degrees": 40},
    {"name": "v2.RandomResizedCrop", "size": [8, 6]},
]
OTHERS: list[dict[str, Any]] = [
    {"name": "brightness", "by": 0.5},
    {"name": "contrast", "by": 0.5},
    {"name": "erase", "share": 0.5},
    {"name": "v2.ColorJitter", "hue": 0.3},
    {"name": "v2.GaussianNoise"},
]
NAMES = [component["name"] for component in GEOMETRY + OTHERS]


def colours(count: int = 16) -> torch.Tensor:
    """Return bytes of equal images that have nothing in common with their mirror images."""
    one = torch.randint(1, 256, (1, 3, 8, 6), generator=random_state.generator("colours"), dtype=torch.uint8)
    return one.expand(count, -1, -1, -1).contiguous()


def masks(count: int = 16) -> torch.Tensor:
    return torch.randint(0, 3, (1, 8, 6), generator=random_state.generator("masks")).expand(count, -1, -1).contiguous()


def distinct(images: torch.Tensor) -> int:
    return len({tuple(one.flatten().tolist()) for one in images})


@pytest.mark.parametrize("component", GEOMETRY + OTHERS, ids=NAMES)
def test_random_transforms_draw_for_each_image_of_a_batch(component: dict[str, Any]) -> None:
    image, _ = Transform([component])(colours(), torch.zeros(16), random_state.generator(1))
    assert distinct(image) > (1 if "flip" in component["name"] else 8)


@pytest.mark.parametrize("component", GEOMETRY + OTHERS, ids=NAMES)
def test_what_is_drawn_depends_on_the_generator_alone(component: dict[str, Any]) -> None:
    before = torch.get_rng_state()
    first, again, other = (
        Transform([component])(colours(), masks(), random_state.generator(seed)) for seed in (1, 1, 2)
    )
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], other[0])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("component", GEOMETRY + OTHERS, ids=NAMES)
def test_random_transforms_are_left_out_of_evaluation(component: dict[str, Any]) -> None:
    image, mask = Transform([component])(colours(), masks(), None)
    assert torch.equal(image, colours() / 255)
    assert torch.equal(mask, masks())


@pytest.mark.parametrize("component", GEOMETRY, ids=[component["name"] for component in GEOMETRY])
def test_a_mask_goes_where_its_image_goes(component: dict[str, Any]) -> None:
    """The image is a smooth picture of the mask, a bright half; inside of it both must say the same."""
    mask = torch.zeros(16, 32, 24, dtype=torch.int64)
    mask[:, 4:20, 3:12] = 2
    image = (mask[:, None] > 0).byte().expand(-1, 3, -1, -1) * 255
    component = component | ({"size": [32, 24]} if "size" in component else {})
    moved, moved_mask = Transform([component])(image, mask, random_state.generator(1))
    assert set(moved_mask.unique().tolist()) == {0, 2}
    assert moved_mask.dtype == torch.int64
    assert ((moved[:, 0] > 0.5) != (moved_mask > 0)).float().mean() < 0.04
    assert distinct(moved_mask) > (1 if "flip" in component["name"] else 8)


@pytest.mark.parametrize("component", GEOMETRY, ids=[component["name"] for component in GEOMETRY])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_target_that_is_an_image_goes_where_its_image_goes(channels: int, component: dict[str, Any]) -> None:
    y, x = torch.meshgrid(torch.linspace(0.2, 0.8, 32), torch.linspace(0.2, 0.8, 24), indexing="ij")
    image = (x * y + x / 3).expand(16, channels, -1, -1).contiguous()
    component = component | ({"size": [32, 24]} if "size" in component else {})
    moved, target = Transform([component])(image, image / 2, random_state.generator(1))
    assert target.shape == moved.shape
    assert (moved / 2 - target).abs().mean() < 0.01
    assert distinct(target) > (1 if "flip" in component["name"] else 8)


@pytest.mark.parametrize("component", OTHERS, ids=[component["name"] for component in OTHERS])
def test_a_target_that_is_an_image_stays_where_only_colours_change(component: dict[str, Any]) -> None:
    image = colours()
    target = colours() / 255
    moved, stays = Transform([component])(image, target, random_state.generator(1))
    assert not torch.equal(moved, target)
    assert torch.equal(stays, target)


@pytest.mark.parametrize(
    "component", [{"name": "v2.Resize", "size": [4, 3]}, {"name": "v2.RandomRotation", "degrees": 40}]
)
def test_targets_without_pixels_stay_as_they_are(component: dict[str, Any]) -> None:
    for target in (torch.rand(16), torch.rand(16, 5)):
        assert torch.equal(Transform([component])(colours(), target, random_state.generator(1))[1], target)


@pytest.mark.parametrize("component", OTHERS, ids=[component["name"] for component in OTHERS])
def test_a_mask_stays_where_only_colours_change(component: dict[str, Any]) -> None:
    image, mask = Transform([component])(colours(), masks(), random_state.generator(1))
    assert torch.equal(mask, masks())
    assert image.dtype == torch.float32
    assert image.min() >= 0
    assert image.max() <= 1


def test_fixed_transforms_of_torchvision_are_for_all_splits_and_masks() -> None:
    transform = Transform(
        [{"name": "v2.Resize", "size": [4, 3]}, {"name": "v2.Grayscale"}, {"name": "v2.Pad", "padding": 1}]
    )
    for random in (None, random_state.generator(1)):
        image, mask = transform(colours(), masks(), random)
        assert image.shape == (16, 1, 6, 5)
        assert mask.shape == (16, 6, 5)
        assert mask[0, 1:5, 1:4].unique().tolist() == [0, 1, 2]
    assert transform.check(colours(), masks()) == (1, 6, 5)


def test_affine_turns_an_image_that_is_not_square_without_bending_it() -> None:
    """A disc stays a disc; by 90 degrees a row becomes a column."""
    y, x = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(20) - 9.5, indexing="ij")
    disc = ((y**2 + x**2) < 50).float().expand(32, 1, -1, -1)
    out, _ = Transform([{"name": "affine", "degrees": 180}])(disc, torch.zeros(32), random_state.generator(1))
    assert (out - disc).abs().mean() < 0.03
    smaller, _ = Transform([{"name": "affine", "scale": 0.5}])(disc, torch.zeros(32), random_state.generator(1))
    areas = smaller.sum((1, 2, 3)) / disc.sum((1, 2, 3))
    assert areas.min() < 0.5
    assert areas.max() > 1.5


def test_brightness_and_contrast_stay_within_their_limits() -> None:
    grey = torch.full((64, 1, 4, 4), 100, dtype=torch.uint8)
    grey[:, :, :2] = 50
    bright, _ = Transform([{"name": "brightness", "by": 0.2}])(grey, torch.zeros(64), random_state.generator(1))
    factor = bright[:, 0, 3, 3] * 255 / 100
    assert 0.8 <= factor.min() < 0.85
    assert 1.15 < factor.max() <= 1.2
    flat, _ = Transform([{"name": "contrast", "by": 1.0}])(grey, torch.zeros(64), random_state.generator(1))
    assert (flat.mean((1, 2, 3)) * 255 - 75).abs().max() <= 0.5
    assert flat.amax((1, 2, 3)).min() * 255 < 80


def test_erase_puts_zeros_into_a_box_that_may_reach_outside() -> None:
    ones = torch.ones(200, 1, 20, 10)
    out, _ = Transform([{"name": "erase", "share": 0.5}])(ones, torch.zeros(200), random_state.generator(1))
    sizes = (out == 0).sum((1, 2, 3))
    assert sizes.max() == 50
    assert 0 < sizes.min() < 25
    box = (out[int(sizes.argmax()), 0] == 0).nonzero()
    assert (box.amax(0) - box.amin(0) + 1).tolist() == [10, 5]


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ([{"name": "v2.Colorjitter"}], "'v2.Colorjitter' is unknown. Did you mean 'v2.ColorJitter'?"),
        ([{"name": "v2.ColorJitter", "colour": 1}], "transform: 'colour' is unknown."),
        ([{"name": "v2.RandomErasing", "scale": 3}], "transform"),
        ([{"name": "v2.Resize"}], "transform lacks 'size'"),
        ([{"name": "rotation"}], "transform.name: 'rotation' is unknown. Did you mean 'rotate'?"),
        ([{"name": "rotate", "degrees": 200}], "transform.degrees = 200: must be a number from 0 to 180."),
        ([{"name": "normalize", "mean": [0.5], "std": [1.0]}, {"name": "contrast", "by": 0.1}], "before normalize"),
    ],
)
def test_wrong_transforms_are_refused_without_data(listed: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(Refused) as error:
        Transform(listed)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("component", "says"),
    [
        ({"name": "normalize", "mean": [0.5], "std": [1.0]}, "normalize has 1 means and 1 stds for 3 channels"),
        ({"name": "v2.MixUp", "num_classes": 3}, "v2.MixUp: "),
        ({"name": "v2.FiveCrop", "size": 3}, "v2.FiveCrop: "),
        ({"name": "v2.RandomCrop", "size": 100}, "v2.RandomCrop: Required crop size (100, 100) is larger"),
    ],
)
def test_what_such_images_cannot_undergo_is_refused_before_training(component: dict[str, Any], says: str) -> None:
    with pytest.raises(Refused) as error:
        Transform([component]).check(colours(2), torch.zeros(2))
    assert says in str(error.value)


def test_other_sizes_in_training_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert Transform([{"name": "v2.RandomCrop", "size": 4}]).check(colours(2), torch.zeros(2)) == (3, 8, 6)
    assert "images are (3, 4, 4) in training, but (3, 8, 6) in val and test" in capsys.readouterr().out
