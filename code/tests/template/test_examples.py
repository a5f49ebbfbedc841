"""The worked examples: configs to copy, and the data that a script makes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import data
import main
import metric
import model
import optim
from exper.config import config_file
from exper.core import components
from loss import Loss
from setting import Settings
from tests.support import play
from transform import Transform

EXAMPLES = sorted((main.CODE / "examples").glob("*/config.py"))
SHAPES = main.CODE / "examples" / "shapes"


def make(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SHAPES / "make.py"), str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("config", EXAMPLES, ids=lambda config: config.parent.name)
def test_the_config_of_an_example_is_taken_whole(config: Path) -> None:
    found = config_file.read(config.read_bytes())
    given: Settings = components.call("", found, Settings)
    data.check(given.data)
    Transform(given.transform)
    model.check(given.model)
    Loss(given.loss)
    metric.build(given.metric)
    optim.check(given.optimizer, given.scheduler, given.monitor)
    assert list(found) == list(config_file.read((main.CODE / "config.py").read_bytes()))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 160 images and masks."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    assert make(folder, "--images", "160").returncode == 0
    return folder


def test_shapes_are_the_same_each_time_and_never_replaced(shapes: Path, tmp_path: Path) -> None:
    assert make(tmp_path / "fewer", "--images", "3").returncode == 0
    made = [path for path in (tmp_path / "fewer").rglob("*") if path.is_file()]
    assert len(made) == 6
    assert all(path.read_bytes() == (shapes / path.relative_to(tmp_path / "fewer")).read_bytes() for path in made)
    refused = make(tmp_path / "fewer")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "fewer already exists. Remove it" in refused.stderr
    assert make(tmp_path / "none", "--images", "0").returncode == 2
    assert not (tmp_path / "none").exists()
    assert len([path for path in (tmp_path / "fewer").rglob("*") if path.is_file()]) == 6


def test_a_mask_has_some_of_its_image_and_not_all(shapes: Path) -> None:
    for path in sorted((shapes / "masks").iterdir()):
        with Image.open(path) as mask:
            share = (np.asarray(mask.convert("L")) != 0).mean()
        assert 0 < share < 0.9


def test_the_example_of_segmentation_learns(shapes: Path, tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    (run.folder / "data").symlink_to(shapes.parent)
    config: dict[str, Any] = config_file.read((SHAPES / "config.py").read_bytes())
    config |= {"epochs": 8, "logger": [], "verbose": "quiet"}
    play.train(run, config)
    assert play.statistic(run)["metric"]["test"]["test/dice"] > 0.8
    play.evaluate(run, config, pictures=10)
    best = play.statistic(run)["metric"]["best"]["epoch"]
    assert len([*run.evaluated(best).glob("picture_*.png")]) == 3
