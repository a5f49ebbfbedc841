from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from exper.core import paths
from exper.sidecars import outbox
from exper.training.records.recorder import Recorder


def shown(run: paths.Run, *items: tuple[int, str, Any]) -> EventAccumulator:
    """Show items as a run does, and return what TensorBoard has read."""
    statistic = Recorder(run, ["tensorboard"])
    statistic.start({}, None, 0)
    try:
        for item in items:
            statistic.show(*item)
    finally:
        statistic.close()
    return EventAccumulator(str(run.tensorboard)).Reload()


def test_texts_images_and_figures_are_files_and_in_tensorboard(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    image_CHW = torch.rand(3, 5, 7)
    board = shown(run, (10, "note", "a text"), (10, "first.image", image_CHW), (9, "curve", figure))
    assert outbox.shown(run) == ["9_curve.png", "10_first.image.png", "10_note.txt"]
    assert (run.shown / "10_note.txt").read_text() == "a text"
    pixels_HWC = np.asarray(Image.open(run.shown / "10_first.image.png"))
    assert np.abs(pixels_HWC / 255 - image_CHW.movedim(0, -1).numpy()).max() < 0.5 / 255 + 1e-6
    [event] = board.Images("first.image")
    assert (event.step, event.width, event.height) == (10, 7, 5)
    assert board.Images("curve")[0].step == 9
    assert board.Tensors("note/text_summary")[0].tensor_proto.string_val == [b"a text"]


def test_bytes_of_one_channel_are_a_grey_image_unchanged(tmp_path: Path) -> None:
    run = paths.Run(tmp_path)
    shown(run, (1, "grey", np.arange(6, dtype=np.uint8).reshape(1, 2, 3)))
    assert np.asarray(Image.open(run.shown / "1_grey.png")).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("../x", "a"),
        ("", "a"),
        ("a", torch.zeros(2, 3)),
        ("a", torch.zeros(4, 2, 2)),
        ("a", Image.new("L", (2, 2))),
        ("a", None),
    ],
)
def test_a_value_that_cannot_be_shown_is_an_error(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"state\.show"):
        shown(paths.Run(tmp_path), (1, name, value))
    assert not list(tmp_path.glob("shown/*"))
