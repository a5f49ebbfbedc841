"""Runs that start from the weights of other runs, all under the same __result__, trained in this process."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from exper.core import paths
from exper.training import stopping
from tests.support import play

CONFIG = {"epochs": 2, "model": {"name": "mlp", "hidden": [16]}, "monitor": "max val/loss", "log_every_steps": None,
          "checkpoint": {"every": 1, "keep": None}}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> paths.Run:
    """Return a finished run, first/0, whose epoch 1 was best."""
    run = play.born(tmp_path_factory.mktemp("__result__") / "first" / "0")
    play.train(run, play.small(**CONFIG))
    assert play.statistic(run)["metric"]["best"]["epoch"] == 1
    return run


@pytest.fixture
def begun(source: paths.Run, tmp_path: Path) -> Callable[..., paths.Run]:
    """Return a function that trains second/0 beside a copy of first/0."""

    def begin(pretrained: Any, **changes: Any) -> paths.Run:
        result = tmp_path / "__result__"
        if not result.exists():
            shutil.copytree(source.folder.parent, result / "first", symlinks=True)
        run = play.born(result / "second" / str(len(list(result.glob("second/*")))), seed=2)
        play.train(run, play.small(**CONFIG) | {"pretrained": pretrained} | changes)
        return run

    return begin


def refusal(begun: Callable[..., paths.Run], tmp_path: Path, pretrained: Any, **changes: Any) -> str:
    with pytest.raises(SystemExit) as error:
        begun(pretrained, **changes)
    assert error.value.code == 2
    run = paths.Run(tmp_path / "__result__" / "second" / "0")
    assert sorted(os.listdir(run.folder)) == ["lock", "refused", "run.json", "seed"]
    return run.refused.read_text()


def weights(run: paths.Run, name: str, of: str = "model") -> Any:
    return play.plain(torch.load(run.checkpoint / f"epoch_{name}.path", weights_only=True)[of])


@pytest.mark.parametrize(
    ("pretrained", "file"),
    [("first/0", "1"), ("first/0@best", "1"), ("first/0@last", "2"), ("first/0@2", "2"), ({"from": "first/0@1"}, "1")],
)
def test_a_run_starts_from_the_average_of_anothers_weights(
    pretrained: Any, file: str, begun: Callable[..., paths.Run], source: paths.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(pretrained)
    assert weights(run, "0") == weights(source, file, "ema") != weights(source, file)
    path = source.checkpoint / f"epoch_{file}.path"
    assert play.statistic(run)["pretrained"] == {
        "from": pretrained["from"] if isinstance(pretrained, dict) else pretrained,
        "file": f"epoch_{file}.path",
        "epoch": int(file),
        "weights": "ema",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert f"epoch_{file}.path" in capsys.readouterr().out


def test_without_an_average_and_a_best_epoch_it_is_the_last_model(
    begun: Callable[..., paths.Run], tmp_path: Path
) -> None:
    plain = begun(None, ema=None, monitor=None)
    run = begun("second/0")
    assert weights(run, "0") == weights(plain, "2")
    assert play.statistic(run)["pretrained"]["weights"] == "model"
    assert "pretrained" not in play.statistic(plain)


def test_a_part_of_the_weights_is_enough(begun: Callable[..., paths.Run], source: paths.Run) -> None:
    run = begun({"from": "first/0", "only": "body"})
    fresh = begun(None)
    start = weights(run, "0")
    wanted = weights(source, "1", "ema")
    other = weights(fresh, "0")
    assert {name: weight == wanted[name] for name, weight in start.items()} == {
        "body.1.weight": True, "body.1.bias": True, "head.weight": False, "head.bias": False
    }  # fmt: skip
    assert start["head.weight"] == other["head.weight"]  # as without: to load draws nothing
    assert play.statistic(run)["pretrained"]["only"] == "body"


def test_a_continued_run_no_longer_needs_the_other_run(
    begun: Callable[..., paths.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = begun("first/0")
    monkeypatch.setattr(stopping, "_asked", (15, 0.0))
    with pytest.raises(SystemExit) as error:
        begun("first/0")
    assert error.value.code == 143
    monkeypatch.setattr(stopping, "_asked", None)
    shutil.rmtree(tmp_path / "__result__" / "first")
    broken = paths.Run(tmp_path / "__result__" / "second" / "1")
    play.train(broken, play.small(**CONFIG) | {"pretrained": "first/0"})
    assert play.end(broken) == play.end(unbroken)


def test_a_file_under_data_and_an_absolute_one(
    begun: Callable[..., paths.Run], source: paths.Run, tmp_path: Path
) -> None:
    wanted = torch.load(source.checkpoint / "epoch_2.path", weights_only=True)["model"]
    torch.save(wanted, tmp_path / "weights.pth")
    run = begun(str(tmp_path / "weights.pth"))
    assert weights(run, "0") == play.plain(wanted)
    assert set(play.statistic(run)["pretrained"]) == {"from", "file", "sha256"}
    assert weights(begun(str(source.checkpoint / "epoch_2.path")), "0") == weights(source, "2", "ema")
    third = play.born(tmp_path / "__result__" / "third" / "0")
    (third.folder / "data" / "own").mkdir(parents=True)  # what play hands over as __data__
    torch.save(wanted, third.folder / "data" / "own" / "net.pth")
    play.train(third, play.small(**CONFIG) | {"pretrained": "own/net.pth"})
    assert weights(third, "0") == play.plain(wanted)


def test_a_file_other_than_the_recorded_one_is_printed(
    begun: Callable[..., paths.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = {"pretrained": play.statistic(begun("first/0@1"))["pretrained"], "device": None}
    again = play.born(tmp_path / "__result__" / "again" / "0", recorded=recorded)
    play.train(again, play.small(**CONFIG) | {"pretrained": "first/0@1"})
    assert "not as recorded" not in capsys.readouterr().out
    source = paths.Run(tmp_path / "__result__" / "first" / "0").checkpoint
    shutil.copy(source / "epoch_2.path", source / "epoch_1.path")
    again = play.born(tmp_path / "__result__" / "again" / "1", recorded=recorded)
    play.train(again, play.small(**CONFIG) | {"pretrained": "first/0@1"})
    assert "not as recorded, so numbers may differ: pretrained sha256 was" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pretrained", "says"),
    [
        ("first/7", "pretrained = 'first/7': there is no run first/7 in "),
        ("frist/0", "there is no run frist/0 in "),
        ("first/0@9", "checkpoint/epoch_9.path. There is: @0, @1, @2."),
        ("first/0@worst", "pretrained = 'first/0@worst': there is no file "),
        ("../first/0", "pretrained = '../first/0': there is no file "),
        ("weights.pth", "pretrained = 'weights.pth': there is no file "),
        ({"only": "body"}, "pretrained lacks 'from'. Add it."),
        ({"from": 3}, "pretrained.from = 3: must be a string."),
        ({"from": "first/0", "only": 3}, "pretrained.only = 3: must be a string."),
        ({"from": "first/0", "onyl": "body"}, "pretrained: 'onyl' is unknown. Did you mean 'only'?"),
        ({"from": "first/0", "only": "bodi"}, "only: 'bodi' is unknown. Did you mean 'body'? Known: body, head."),
        ("torchvision", "pretrained = 'torchvision': only the model \"torchvision\" has such weights."),
        (3, "pretrained = 3: must be a string or a dict or None."),
    ],
)  # fmt: skip
def test_missing_weights_are_refused(
    pretrained: Any, says: str, begun: Callable[..., paths.Run], tmp_path: Path
) -> None:
    assert says in refusal(begun, tmp_path, pretrained)


def test_a_missing_run_is_refused_before_data_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = play.born(tmp_path / "second" / "0")
    run.checkpoint.mkdir()  # as the manager does
    with pytest.raises(SystemExit):
        play.train(run, play.small(**CONFIG) | {"pretrained": "first/0"})
    assert "there is no run first/0" in run.refused.read_text()
    assert capsys.readouterr().out == ""


def test_weights_that_do_not_fit_are_all_named_in_one_line(begun: Callable[..., paths.Run], tmp_path: Path) -> None:
    said = refusal(begun, tmp_path, "first/0", model={"name": "mlp", "hidden": [17, 5]})
    assert said == (
        "pretrained = 'first/0': the weights don't fit: body.4.weight is not there; body.4.bias is not there; "
        "body.1.weight is 16 x 64 there and 17 x 64 here; body.1.bias is 16 there and 17 here; and 1 more. "
        'For a part of them: {"from": "first/0", "only": "<beginning of names>"}.\n'
    )


def test_a_beginning_that_the_model_lacks_is_refused(begun: Callable[..., paths.Run], tmp_path: Path) -> None:
    said = refusal(begun, tmp_path, {"from": "first/0", "only": "body"}, model={"name": "mlp", "hidden": []})
    assert "'body' is unknown" in said


@pytest.mark.parametrize("content", [b"", b"no weights", b"hello", b"abc", b"0", [1, 2], {"a": 3}, Path("x")], ids=str)
def test_files_without_weights_are_refused(content: Any, begun: Callable[..., paths.Run], tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)  # a Path is code to unpickle
    said = refusal(begun, tmp_path, str(path))
    assert said.startswith(f"pretrained = '{path}': ")
    assert "torch can't read" in said or "holds no state dict" in said


def test_a_corrupt_checkpoint_is_refused(begun: Callable[..., paths.Run], tmp_path: Path) -> None:
    begun(None)
    path = tmp_path / "__result__" / "first" / "0" / "checkpoint" / "epoch_2.path"
    with open(path, "r+b") as file:
        file.seek(4000)
        file.write(b"flipped")
    with pytest.raises(SystemExit):
        begun("first/0@2")
    assert "epoch_2.path is corrupt" in (tmp_path / "__result__" / "second" / "1" / "refused").read_text()


def test_torchvisions_weights_start_the_body(
    begun: Callable[..., paths.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    url = models.get_model_weights("shufflenet_v2_x0_5")["DEFAULT"].url
    path = tmp_path / "torch" / "hub" / "checkpoints" / url.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    saved = models.shufflenet_v2_x0_5().state_dict()
    torch.save({name: one for name, one in saved.items() if "num_batches" not in name}, path)  # as of an old torch
    net = {"name": "torchvision", "net": "shufflenet_v2_x0_5", "freeze": True}
    run = begun("torchvision", model=net, epochs=1, ema=None)
    start, end = (torch.load(run.checkpoint / f"epoch_{n}.path", weights_only=True)["model"] for n in (0, 1))
    assert all(torch.equal(start[f"body.{name}"], one) for name, one in saved.items() if not name.startswith("fc."))
    changed = [name for name, one in start.items() if not torch.equal(end[name], one)]
    assert changed == ["head.1.weight", "head.1.bias"]  # and no running mean
    about = play.statistic(run)["pretrained"]
    assert about["file"] == path.name
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
