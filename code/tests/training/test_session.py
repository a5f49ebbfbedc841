"""The session: settings that it changes, refuses or compares with the record."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import loss
from exper.core import paths
from tests.support import play


def test_debug_is_a_flag_of_main_py_as_well(tmp_path: Path) -> None:
    shutil.copytree(play.CODE, tmp_path / "code", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    done = subprocess.run([sys.executable, "code/main.py", "--debug"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    run = paths.Run(tmp_path / "__result__" / "untagged" / "0")
    assert json.loads(run.record.read_text())["command"] == ["python", "code/main.py", "--debug"]
    assert play.statistic(run)["hparam"]["debug"] is True
    assert play.statistic(run)["metric"]["last"]["epoch"] == 2


def test_debug_checks_every_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss.LOSS, "root", Root)
    run = play.born(tmp_path / "0")
    with (
        pytest.warns(UserWarning, match="Traceback of forward call"),
        pytest.raises(RuntimeError, match="MulBackward"),
    ):
        play.train(run, play.config(debug=True, loss={"name": "root"}))
    assert not torch.is_anomaly_enabled()


class Root(nn.Module):
    """A finite loss whose gradient is not: of the square root at 0, times 0."""

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        return (output_BK.sum() * 0).sqrt()


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"name": "lenet"}},
        {"model": {"name": "resnet18", "width": 2}, "epoch_length": 3},  # the last batch of the data is not reached
        {"model": {"name": "resnet18", "width": 2}, "debug": True},  # nor left, as samples are taken by batches
        {"model": {"name": "resnet18", "width": 2}, "transform": [{"name": "v2.Pad", "padding": 2}]},
    ],
    ids=["no batch normalization", "few steps", "debug", "larger images"],
)
def test_an_image_alone_is_refused_only_where_it_would_be_too_few(changes: dict[str, Any], tmp_path: Path) -> None:
    settings = play.small(epochs=2, data=play.small()["data"] | {"batch_size": 8})
    play.train(play.born(tmp_path / "0"), settings | changes)  # of 57 samples


def test_images_that_training_cuts_smaller_are_refused_alone(tmp_path: Path) -> None:
    settings = play.small(
        data=play.small()["data"] | {"batch_size": 8}, model={"name": "resnet18", "width": 2},
        transform=[{"name": "v2.Pad", "padding": 2}, {"name": "v2.RandomCrop", "size": 8}],
    )  # fmt: skip
    with pytest.raises(SystemExit):
        play.train(play.born(tmp_path / "0"), settings)


@pytest.mark.parametrize("is_exact", [False, True])
def test_differences_from_the_recorded_run_are_said_or_refused(
    is_exact: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = play.born(tmp_path / "0")
    play.train(first, play.small(epochs=1))
    recorded = {part: play.statistic(first)[part] for part in ("device", "data")}
    same = play.born(tmp_path / "1", recorded=recorded, exact=is_exact)
    play.train(same, play.small(epochs=1))
    assert "not as recorded" not in capsys.readouterr().out

    recorded["device"]["threads"] = 64
    recorded["data"]["fingerprint"] = "other"
    other = play.born(tmp_path / "2", recorded=recorded, exact=is_exact)
    if is_exact:
        with pytest.raises(SystemExit):
            play.train(other, play.small(epochs=1))
        said = other.refused.read_text()
    else:
        play.train(other, play.small(epochs=1))
        said = capsys.readouterr().out
    assert "device threads was 64 and is 1" in said
    assert "data fingerprint was 'other'" in said


def test_deterministic_algorithms_are_a_setting(tmp_path: Path) -> None:
    run = play.born(tmp_path / "0")
    try:
        play.train(run, play.small(epochs=1, deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
