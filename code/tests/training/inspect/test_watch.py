"""TensorBoard's histograms, ratios, activations, images and graph, read back as TensorBoard reads them."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

import model
from exper.core import paths
from exper.training import checkpoints
from tests.support import play

WEIGHTS = [f"{layer}.{kind}" for layer in ("conv1", "conv2", "linear1", "linear2") for kind in ("weight", "bias")]
ALL = {"histograms": 5, "ratios": 4, "activations": 6, "images": 7, "graph": True}


def read(run: paths.Run) -> EventAccumulator:
    everything = {"histograms": 0, "images": 0, "scalars": 0}
    return EventAccumulator(str(run.tensorboard), size_guidance=everything).Reload()


def contents(run: paths.Run) -> dict[str, Any]:
    """Return every tag with its steps and values, but not times."""
    events = read(run)
    found: dict[str, Any] = {}
    for tag in events.Tags()["histograms"]:
        found[tag] = [(one.step, one.histogram_value) for one in events.Histograms(tag)]
    for tag in events.Tags()["images"]:
        found[tag] = [(one.step, one.encoded_image_string) for one in events.Images(tag)]
    for tag in events.Tags()["scalars"]:
        found[tag] = [(one.step, one.value) for one in events.Scalars(tag)]
    return found


def steps(content: list[tuple[int, Any]]) -> list[int]:
    return [step for step, _ in content]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> paths.Run:
    run = play.born(tmp_path_factory.mktemp("seen") / "0")
    play.train(run, play.small(see=ALL))
    return run


def test_each_kind_is_written_at_the_first_step_and_every_n(seen: paths.Run) -> None:
    found = contents(seen)
    for name in WEIGHTS:
        assert steps(found[f"weight/{name}"]) == steps(found[f"gradient/{name}"]) == [1, 5, 10]
    assert steps(found["ratio/conv1.weight"]) == [1, 4, 8, 12]
    for name in ("conv1", "pool", "linear2", "dropout"):
        assert steps(found[f"activation/{name}/mean"]) == [1, 6, 12]
    assert steps(found["images"]) == [1, 7]
    assert read(seen).Graph().node


def test_it_changes_no_bit_of_training(seen: paths.Run, tmp_path: Path) -> None:
    plain = play.born(tmp_path / "0")
    play.train(plain, play.small())
    ends = [play.end(run) for run in (plain, seen)]
    assert all(ends[0][name] == ends[1][name] for name in ("model", "ema", "optimizer", "random", "history"))


def test_histograms_hold_every_number_of_a_weight(seen: paths.Run) -> None:
    last = contents(seen)["weight/conv2.weight"][-1][1]
    assert last.num == sum(last.bucket) == 64 * 32 * 25
    assert last.min < 0 < last.max


def test_a_continued_run_shows_the_same_as_an_uninterrupted_one(
    seen: paths.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = play.born(tmp_path / "0")
    settings = play.small(see=ALL)
    whole = checkpoints.Checkpoints.save

    def broken(self: Any, content: dict[str, Any], best: int | None) -> None:
        if content["step"] == 7:
            raise KeyboardInterrupt  # after step 7 was seen, and before it was saved
        whole(self, content, best)

    monkeypatch.setattr(checkpoints.Checkpoints, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        play.train(run, settings)
    monkeypatch.undo()
    assert steps(contents(run)["images"]) == [1, 7]
    play.train(run, settings)
    assert contents(run) == contents(seen)


class Known(nn.Module):
    """Weights whose changes, and layers whose outputs, can be computed by hand."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((10,), 2.0))
        self.layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        fixed = torch.tensor([0.0] * 5 + [1.0] * 5)
        return self.layer(fixed.expand(len(x), 10)) * self.scale  # type: ignore[no-any-return]


def test_ratios_and_activations_are_what_their_names_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model.MODEL, "known", Known)
    run = play.born(tmp_path / "0")
    changes: dict[str, Any] = {"optimizer": {"name": "sgd", "lr": 0.1}, "scheduler": None, "ema": None, "accumulate": 3}
    see = {"ratios": 1, "activations": 1, "histograms": 1}
    play.train(run, play.small(model={"name": "known"}, see=see, epochs=1, **changes))
    found = contents(run)
    _, gradient = found["gradient/scale"][0]
    _, ratio = found["ratio/scale"][0]
    assert ratio == pytest.approx(0.1 * gradient.sum_squares**0.5 / 40**0.5, rel=1e-5)
    first = {kind: found[f"activation/layer/{kind}"][0][1] for kind in ("mean", "deviation", "zeros")}
    assert first == {"mean": 0.5, "deviation": 0.5, "zeros": 0.5}


def test_images_are_shown_as_the_model_gets_them(seen: paths.Run) -> None:
    encoded = contents(seen)["images"][0][1]
    shown = Image.open(io.BytesIO(encoded))
    assert shown.getextrema() in ((0, 255), ((0, 255),) * 3)
    assert shown.width > 8


def test_a_model_that_cannot_be_traced_is_named_and_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Untraceable(Known):
        def forward(self, x: Tensor) -> Tensor:
            if torch._C._is_tracing():
                raise RuntimeError("no\nof no use here")
            return super().forward(x)

    monkeypatch.setitem(model.MODEL, "untraceable", Untraceable)
    run = play.born(tmp_path / "0")
    play.train(run, play.small(model={"name": "untraceable"}, see={"graph": True}, epochs=1))
    assert "see.graph: this model can't be traced: of no use here\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"see": {"histogram": 3}}, "see: 'histogram' is unknown. Did you mean 'histograms'?"),
        ({"see": {"images": 0}}, "see.images = 0: must be a whole number at least 1 or None."),
        ({"see": {"ratios": 1}, "logger": []}, 'see: TensorBoard is not written. Add "tensorboard" to logger.'),
        ({"see": {"activations": 1}, "compiled": True}, "see.activations: compiled layers can't be looked into."),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    with pytest.raises(SystemExit):
        play.train(run, play.small(**changes))
    assert says in run.refused.read_text()
