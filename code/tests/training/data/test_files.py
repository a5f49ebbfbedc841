import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import data
from data.carvana import Carvana
from data.image_folder import ImageFolder
from exper.core.errors import Refused
from exper.training.data.batches import Batches, Tensors
from tests.support import play
from tests.support.pictures import cars, classes, mask, picture
from transform import Transform

CPU = torch.device("cpu")
FOLDER: dict[str, Any] = {"name": "image_folder", "path": "set", "size": [16, 16]}
CARVANA: dict[str, Any] = {"name": "carvana", "path": "set", "size": [16, 24]}


def loaded(folder: Path, component: dict[str, Any], transform: Any = (), **changes: Any) -> dict[str, Batches]:
    split = {"val": 3, "test": 3, "stratify": component is FOLDER}
    settings = component | {"batch_size": 4, "eval_batch_size": 2, "split": split} | changes
    return data.load(folder, settings, Transform(list(transform)), CPU, 1).batches


def read(batches: Batches) -> tuple[torch.Tensor, torch.Tensor]:
    images, targets = zip(*batches.of_epoch(), strict=True)
    return torch.cat(images), torch.cat(targets)


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    classes(tmp_path / "set")
    (tmp_path / "set" / "cat" / "._0.jpg").write_text("rubbish of another system")
    (tmp_path / "set" / "cat" / "notes.txt").write_text("no image")
    folder = ImageFolder(tmp_path, "set", (16, 16))
    assert folder.names == ["cat", "dog", "emu"]
    assert folder.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert (folder.classes, folder.shape, len(folder)) == (3, (3, 16, 16), 18)
    image, label = folder.__getitems__(torch.tensor([0, 11, 17]))
    assert image.shape == (3, 3, 16, 16)
    assert image.dtype == torch.uint8
    assert label.tolist() == [0, 1, 2]
    assert (image[:, 0, 2, 2] - torch.tensor([20, 55, 95])).abs().max() < 15  # JPEG is not exact
    assert ImageFolder(tmp_path, "set", (16, 16), channels=1).__getitems__(torch.tensor([3]))[0].shape == (1, 1, 16, 16)


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    classes(tmp_path / "elsewhere", 1)
    (tmp_path / "set").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "dog" / "old" / "up").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "cat" / "self").symlink_to(".")
    assert ImageFolder(tmp_path, "set", (8, 8)).files == ["cat/0.jpg", "dog/old/0.PNG"]
    (tmp_path / "elsewhere" / "dog" / "old" / "up").unlink()
    (tmp_path / "elsewhere" / "cat" / "more").symlink_to("../dog")
    (tmp_path / "elsewhere" / "dog" / "more").symlink_to("../cat")
    assert ImageFolder(tmp_path, "set", (8, 8)).files == [
        "cat/0.jpg",
        "cat/more/old/0.PNG",
        "dog/more/0.jpg",
        "dog/old/0.PNG",
    ]


def test_a_link_to_what_is_not_there_is_refused(tmp_path: Path) -> None:
    classes(tmp_path / "set", 1)
    (tmp_path / "set" / "cat" / "1.png").symlink_to("gone.png")
    with pytest.raises(Refused, match=r"cat/1\.png is a link, and its target is missing"):
        ImageFolder(tmp_path, "set", (8, 8))


def test_images_are_scaled_to_cover_the_size_and_their_middle_is_cut_out(tmp_path: Path) -> None:
    wide = np.zeros((10, 40), np.uint8)
    wide[:, 15:25] = 200  # the middle square
    (tmp_path / "set" / "a").mkdir(parents=True)
    Image.fromarray(wide).save(tmp_path / "set" / "a" / "wide.png")
    Image.fromarray(wide.T).save(tmp_path / "set" / "a" / "tall.png")
    picture(tmp_path / "set" / "b" / "0.png")
    image, _ = ImageFolder(tmp_path, "set", (20, 20), channels=1).__getitems__(torch.tensor([0, 1]))
    assert (image[:, :, 3:17, 3:17] == 200).all()


def test_large_jpegs_keep_their_place(tmp_path: Path) -> None:
    """They are decoded at a fraction of their size."""
    for ending in ("jpg", "png"):
        picture(tmp_path / "set" / ending / f"0.{ending}", size=(1918, 1280))
    image, _ = ImageFolder(tmp_path, "set", (64, 96)).__getitems__(torch.tensor([0, 1]))
    assert (image[0].float() - image[1].float()).abs().mean() < 2


@pytest.mark.parametrize("valid", ["valid", "val"])
def test_folders_of_splits_are_taken_as_they_are(valid: str, tmp_path: Path) -> None:
    classes(tmp_path / "set", 2, ("train", valid, "test"))
    batches = loaded(tmp_path, FOLDER, split={})
    dataset: Any = batches["train"].dataset
    for name, folder in (("train", "train"), ("val", valid), ("test", "test")):
        assert {dataset.files[index].split("/")[0] for index in batches[name].index_N} == {folder}
        assert len(batches[name].index_N) == 6


def test_splits_that_are_missing_come_from_train(tmp_path: Path) -> None:
    classes(tmp_path / "set", 4, ("train", "test"))
    batches = loaded(tmp_path, FOLDER, split={"val": 3})
    sets = {name: {*one.index_N.tolist()} for name, one in batches.items()}
    dataset: Any = batches["train"].dataset
    assert all(dataset.files[index].startswith("test/") == (name == "test") for name in sets for index in sets[name])
    assert {name: len(one) for name, one in sets.items()} == {"train": 9, "val": 3, "test": 12}
    assert len(sets["train"] | sets["val"] | sets["test"]) == 24
    assert sorted(dataset.labels[batches["val"].index_N].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("component", [FOLDER, CARVANA], ids=["image_folder", "carvana"])
def test_numbers_are_the_same_however_files_are_read(component: dict[str, Any], tmp_path: Path) -> None:
    make: Any = classes if component is FOLDER else cars
    make(tmp_path / "set", 6)
    transform = [
        {"name": "crop", "padding": 2},
        {"name": "rotate", "degrees": 30},
        {"name": "v2.ColorJitter", "hue": 0.2},
    ]
    split: dict[str, Any] = {"val": 1, "test": 1, "stratify": False}
    alone, ahead, cached, cached_ahead = (
        loaded(tmp_path, component, transform, split=split, workers=workers, cache=cache)["train"]
        for workers, cache in ((0, False), (2, False), (0, True), (2, True))
    )
    assert isinstance(cached.dataset, Tensors)
    assert (cached_ahead.workers, ahead.workers) == (0, 2)
    for other in (ahead, cached, cached_ahead):
        assert all(map(torch.equal, read(alone), read(other)))


@pytest.mark.parametrize(("ending", "values"), [(".gif", (0, 255)), (".png", (0, 255)), (".png", (0, 1))])
def test_a_mask_is_0_and_1(ending: str, values: tuple[int, int], tmp_path: Path) -> None:
    picture(tmp_path / "set" / "images" / "car.jpg")
    mask(tmp_path / "set" / "masks" / f"car_mask{ending}", values)
    cars = Carvana(tmp_path, "set", (8, 12))
    image, target = cars.__getitems__(torch.tensor([0]))
    assert (cars.classes, cars.labels, len(cars)) == (1, None, 1)
    assert target.unique().tolist() == [0, 1]
    assert target[0, 2:6, 3:9].all()
    assert target.sum() == 24
    assert torch.equal(image[0, 0] > 170, target[0].bool())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16"])
def test_a_pixel_of_a_mask_is_1_wherever_it_is_not_black(mode: str, tmp_path: Path) -> None:
    drawn = Image.new("I;16" if mode == "I;16" else "RGB", (24, 16))
    drawn.paste(1 if mode == "I;16" else (0, 0, 1), (6, 4, 18, 12))
    (tmp_path / "set" / "masks").mkdir(parents=True)
    drawn.convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / "set" / "masks" / "a.png")
    picture(tmp_path / "set" / "images" / "a.png")
    target = Carvana(tmp_path, "set", (16, 24)).__getitems__(torch.tensor([0]))[1]
    assert target.sum() == target[0, 4:12, 6:18].sum() == 96


def test_masks_of_class_numbers(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "images" / "a.png")
    mask(tmp_path / "set" / "masks" / "a.png", (2, 3))
    assert Carvana(tmp_path, "set", (16, 24), classes=4).__getitems__(torch.tensor([0]))[1].unique().tolist() == [2, 3]
    with pytest.raises(RuntimeError, match=r"masks/a.png: it has the class 3; data.classes = 3"):
        Carvana(tmp_path, "set", (16, 24), classes=3).__getitems__(torch.tensor([0]))
    picture(tmp_path / "set" / "masks" / "a.png")
    with pytest.raises(RuntimeError, match=r"masks/a.png: it has colours"):
        Carvana(tmp_path, "set", (16, 24), classes=3).__getitems__(torch.tensor([0]))


def test_batches_of_masks_are_class_numbers_of_the_same_geometry(tmp_path: Path) -> None:
    cars(tmp_path / "set", 12)
    geometry = [
        {"name": "crop", "padding": 4},
        {"name": "flip"},
        {"name": "vertical_flip"},
        {"name": "affine", "degrees": 45, "shift": 0.2, "scale": 0.3},
        {"name": "v2.RandomRotation", "degrees": 20},
    ]
    image, target = read(loaded(tmp_path, CARVANA, geometry)["train"])
    assert target.dtype == torch.int64
    assert target.shape == (6, 16, 24)
    assert target.unique().tolist() == [0, 1]
    differ = (image[:, 0] > 170 / 255) != target.bool()
    assert differ.float().mean() < 0.04  # edges, where neighbours are mixed
    assert len({tuple(one.flatten().tolist()) for one in target}) == 6


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("what", ["text", "cut off"])
def test_a_corrupt_image_fails_the_run_with_its_path(what: str, workers: int, tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    classes(run.folder / "data" / "set")
    broken = run.folder / "data" / "set" / "dog" / "old"
    for path in broken.iterdir():
        path.write_bytes(b"no image" if what == "text" else path.read_bytes()[:-40])
    split = {"val": 3, "test": 3, "seed": 1}
    settings = FOLDER | {"batch_size": 4, "eval_batch_size": 4, "split": split, "workers": workers}
    transform = [{"name": "normalize", "mean": [0.5] * 3, "std": [0.5] * 3}]
    with pytest.raises(RuntimeError) as error:
        play.train(run, play.config(data=settings, transform=transform, epochs=1))
    last = str(error.value).strip().splitlines()[-1]
    assert str(broken) in last
    assert ("DataLoader worker" in str(error.value)) == bool(workers)
    assert ("cannot identify" if what == "text" else "truncated") in last


@pytest.mark.parametrize("what", ["image", "loss"])
def test_a_process_with_workers_ends_when_training_fails(what: str, tmp_path: Path) -> None:
    code = Path(shutil.copytree(play.CODE, tmp_path / "code", ignore=shutil.ignore_patterns("tests", "__pycache__")))
    settings = FOLDER | {"batch_size": 4, "eval_batch_size": 4, "split": {"val": 3, "test": 3}, "workers": 2}
    transform = [{"name": "normalize", "mean": [0.5] * 3, "std": [0.5] * 3}]
    optimizer = {"name": "sgd", "lr": 1e30 if what == "loss" else 0.1}
    config = play.config(data=settings, transform=transform, optimizer=optimizer, scheduler=None, threads=1)
    config["checkpoint"] = {"every_steps": 1}
    (code / "config.py").write_text("".join(f"{name} = {value!r}\n" for name, value in config.items()))
    run = play.born(tmp_path / "0")
    classes(run.folder / "data" / "set", 20)
    if what == "image":
        for path in (run.folder / "data" / "set" / "emu").iterdir():
            path.write_bytes(b"no image")
    assert play.start(run, code).wait(timeout=60) == 1
    last = run.log.read_text().strip().splitlines()[-1]
    assert (str(run.folder / "data" / "set" / "emu") if what == "image" else "the loss is NaN or infinite at") in last


def test_more_than_8_bits_are_an_error_and_not_clipped(tmp_path: Path) -> None:
    classes(tmp_path / "set", 1)
    Image.fromarray(np.full((8, 8), 3000, np.uint16)).save(tmp_path / "set" / "cat" / "0.png")
    (tmp_path / "set" / "cat" / "0.jpg").unlink()
    with pytest.raises(RuntimeError, match=r"cat/0.png: its pixels have 16 or 32 bits"):
        ImageFolder(tmp_path, "set", (16, 16)).__getitems__(torch.tensor([0]))


def corrupt(root: Path) -> None:
    (root / "masks" / "car_03_mask.gif").write_bytes(b"GIF89a")


def remove(root: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(root / name)


CHANGES: list[tuple[Any, str]] = [
    (lambda root: (root / "masks" / "car_03_mask.gif").unlink(), "masks are missing for 1, such as car_03"),
    (lambda root: (root / "images" / "car_03.jpg").unlink(), "images are missing for 1, such as car_03"),
    (lambda root: shutil.rmtree(root / "images"), "images are missing for 6, such as car_00"),
    (lambda root: remove(root, "images", "masks"), "has no images/x.jpg with"),
    (
        lambda root: picture(root / "images" / "car_03.png"),
        "has images/car_03.jpg and images/car_03.png for one sample",
    ),
    (lambda root: picture(root / "masks" / "car_03_mask.jpg"), "car_03_mask.jpg is a JPEG, which blurs a mask"),
    (
        lambda root: mask(root / "masks" / "car_03_mask.gif", size=(24, 17)),
        "the sizes of images/car_03.jpg 24 x 16 and masks/car_03_mask.gif 24 x 17 differ",
    ),
    (corrupt, "masks/car_03_mask.gif: "),
]


@pytest.mark.parametrize(("change", "says"), CHANGES, ids=range(len(CHANGES)))
def test_pairs_are_checked_before_training(change: Any, says: str, tmp_path: Path) -> None:
    change(cars(tmp_path / "set"))
    with pytest.raises(Refused) as error:
        Carvana(tmp_path, "set", (16, 24))
    assert says in str(error.value)


def split(root: Path) -> Path:
    """Put what is there into the folder train."""
    root.rename(root.with_name("whole"))
    root.mkdir()
    return root.with_name("whole").rename(root / "train").parent


FOLDERS: list[tuple[Any, str]] = [
    (shutil.rmtree, "there is no folder"),
    (lambda root: picture(root / "a.png"), "set/a.png is not in the folder of a class"),
    (lambda root: remove(root, "cat", "dog"), "needs a folder for each of two classes or more"),
    (lambda root: (root / "cat").rename(root / "test"), "or train with them in it"),
    (lambda root: (root / "gnu").mkdir(), "the class 'gnu' has no images"),
    (lambda root: classes(root, 1, ("train",)), "cat/0.jpg is not in train, valid or test"),
    (lambda root: picture(split(root) / "a.png"), "set/a.png is not in train, valid or test"),
    (lambda root: picture(split(root) / "train" / "a.png"), "train/a.png is not in the folder of a class"),
]


@pytest.mark.parametrize(("change", "says"), FOLDERS, ids=range(len(FOLDERS)))
def test_folders_without_sense_are_refused(change: Any, says: str, tmp_path: Path) -> None:
    change(classes(tmp_path / "set"))
    with pytest.raises(Refused) as error:
        ImageFolder(tmp_path, "set", (16, 16))
    assert says in str(error.value)


def test_a_class_that_training_never_sees_is_refused(tmp_path: Path) -> None:
    classes(tmp_path / "set", 2, ("train", "val", "test"))
    picture(tmp_path / "set" / "test" / "yak" / "0.png")
    with pytest.raises(Refused, match=r"the class 'yak' has no images in .*train"):
        ImageFolder(tmp_path, "set", (16, 16))


@pytest.mark.parametrize("path", ["/etc", "../outside", "a/../../b"])
def test_data_is_inside_the_data_folder(path: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="must be inside"):
        ImageFolder(tmp_path, path, (16, 16))


def test_the_fingerprint_is_of_names_sizes_and_some_content(tmp_path: Path) -> None:
    def fingerprint(name: str = "set") -> str:
        return ImageFolder(tmp_path, name, (16, 16)).fingerprint()

    classes(tmp_path / "set", 2)
    first = fingerprint()
    shutil.copytree(tmp_path / "set", tmp_path / "copy", copy_function=shutil.copyfile)  # other times
    assert fingerprint("copy") == first
    assert ImageFolder(tmp_path, "set", (8, 8), channels=1).fingerprint() == first  # of the files, not of the settings

    path = tmp_path / "set" / "cat" / "0.jpg"
    content = path.read_bytes()
    path.write_bytes(content[:-3] + b"x" + content[-2:])
    assert fingerprint() != first
    path.write_bytes(content)
    assert fingerprint() == first
    path.rename(path.with_name("00.jpg"))
    assert fingerprint() != first


def test_of_many_files_every_name_and_size_counts(tmp_path: Path) -> None:
    classes(tmp_path / "set", 60)
    path = tmp_path / "set" / "cat" / "1.jpg"
    folder = ImageFolder(tmp_path, "set", (16, 16))
    path.write_bytes(path.read_bytes() + b" ")
    assert ImageFolder(tmp_path, "set", (16, 16)).fingerprint() != folder.fingerprint()


def test_a_run_on_folders_is_exact_and_recorded(tmp_path: Path) -> None:
    runs = []
    ways: tuple[dict[str, Any], ...] = ({}, {"workers": 2}, {"cache": True})
    for number, changes in enumerate(ways):
        run = play.born(tmp_path / str(number))
        classes(run.folder / "data" / "set", 8)
        settings = FOLDER | {"batch_size": 4, "eval_batch_size": 4, "split": {"val": 3, "test": 3}, **changes}
        transform = [{"name": "flip"}, {"name": "normalize", "mean": [0.5] * 3, "std": [0.5] * 3}]
        play.train(run, play.config(data=settings, transform=transform, epochs=2))
        runs.append(run)
    assert play.history(runs[0]) == play.history(runs[1]) == play.history(runs[2])
    about = play.statistic(runs[0])["data"]
    assert about["size"] == {"train": 18, "val": 3, "test": 3}
    assert all(play.statistic(run)["data"] == about for run in runs)
