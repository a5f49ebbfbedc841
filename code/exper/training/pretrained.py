"""Weights to start from: those of another run or of a file, or torchvision's."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from exper.core import checkpoint_file, paths
from exper.core.errors import Refused, unknown_name
from exper.training.run import Run

Setting = str | dict[str, Any] | None
Weights = dict[str, Tensor]
_RUN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+=-]*)/([0-9]+)(?:@([0-9]+|best|last))?")
_EPOCH = re.compile(r"epoch_([0-9]+)\.path")
_MAX_NAMED = 4  # weights that an error names


class _Parsed(NamedTuple):
    source: str | None  # None: no weights to start from
    only: str | None  # the beginning of the names of the wanted weights; None: all


class _Loaded(NamedTuple):
    weights: Weights
    path: Path
    about: dict[str, Any]  # which weights of a run they are


def check(setting: Setting, run: Run) -> None:
    """Refuse a setting that names no weights, unless the run has begun: then it continues without them."""
    source = _parse(setting).source
    has_begun = any(run.files.checkpoint.glob("epoch_*.path"))
    if source not in (None, "torchvision") and not has_begun:
        _read(source, run)


def load(model: nn.Module, setting: Setting, run: Run) -> dict[str, Any] | None:
    """Copy the weights into `model`; return statistic.json's `pretrained`: their source and the file's sha256.

    Raises:
        Refused: there is no such file, or a weight does not fit; nothing was changed.
    """
    source, only = _parse(setting)
    if source is None:
        return None
    if source != "torchvision":
        loaded = _read(source, run)
    elif callable(start_weights := getattr(model, "start_weights", None)):
        weights, path = start_weights()
        loaded = _Loaded(weights, path, about={})
        only = "body"
    else:
        raise Refused("pretrained = 'torchvision': only the model \"torchvision\" has such weights.")
    _copy(loaded.weights, model, source, only)
    about = {"from": source, "file": loaded.path.name, **loaded.about, "sha256": _sha256(loaded.path)}
    about |= {} if only is None else {"only": only}
    run.compare(pretrained=about)
    print(f"starts with the weights of {source}, {loaded.path.name}" + ("" if only is None else f", {only} only"))
    return about


def _parse(setting: Setting) -> _Parsed:
    arguments = setting if isinstance(setting, dict) else {"from": setting}
    for name, value in arguments.items():
        if name not in ("from", "only"):
            raise unknown_name("pretrained", name, ("from", "only"))
        if value is not setting and not isinstance(value, str):
            raise Refused(f"pretrained.{name} = {value!r}: must be a string.")
    if "from" not in arguments:
        raise Refused("pretrained lacks 'from'. Add it.")
    return _Parsed(arguments["from"], arguments.get("only"))


def _read(source: str, run: Run) -> _Loaded:
    match = _RUN.fullmatch(source)
    path = _of_run(run, source, *match.groups()) if match else run.data / source
    if not path.is_file():
        raise Refused(f"pretrained = {source!r}: there is no file {path}.{_epochs(path.parent) if match else ''}")
    path = path.resolve()  # of a link, the file: the link moves on
    if match and not checkpoint_file.is_whole(path):
        raise Refused(f"pretrained = {source!r}: {path} is corrupt.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any type: torch unpickles a file that is not its own until that fails
        reason = str(error).partition(".")[0] or type(error).__name__
        raise Refused(f"pretrained = {source!r}: torch can't read {path}: {reason}.") from None
    about: dict[str, Any] = {}
    if isinstance(content, dict) and {"format", "epoch", "model"} <= set(content):  # a checkpoint
        about = {"epoch": content["epoch"], "weights": "ema" if "ema" in content else "model"}
        content = content[about["weights"]]
    if not isinstance(content, dict) or not all(isinstance(weight, Tensor) for weight in content.values()):
        raise Refused(f"pretrained = {source!r}: {path} holds no state dict, such as torch.save(model.state_dict()).")
    return _Loaded(content, path, about)


def _of_run(run: Run, source: str, tag: str, number: str, epoch: str | None) -> Path:
    """Return a checkpoint of another run of the project; without an epoch, the best, or the last if none is best."""
    folder = run.files.folder.parent.parent / tag / str(int(number))
    if not folder.is_dir():
        raise Refused(f"pretrained = {source!r}: there is no run {tag}/{number} in {folder.parent.parent}.")
    checkpoints = paths.Run(folder).checkpoint
    if epoch is None:
        epoch = "best" if (checkpoints / "epoch_best.path").exists() else "last"
    return checkpoints / f"epoch_{epoch}.path"


def _epochs(folder: Path) -> str:
    names = os.listdir(folder) if folder.is_dir() else []
    numbers = sorted(int(match[1]) for match in map(_EPOCH.fullmatch, names) if match)
    return f" There is: @{', @'.join(map(str, numbers))}." if numbers else ""


def _copy(weights: Weights, model: nn.Module, source: str, only: str | None) -> None:
    own = _selected(model.state_dict(), only)
    weights = _selected(weights, only)
    if not own:
        raise unknown_name("pretrained.only", str(only), {name.partition(".")[0] for name in model.state_dict()})
    problems = _differences(weights, own)
    if problems:
        more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
        hint = f'For a part of them: {{"from": "{source}", "only": "<beginning of names>"}}.'
        listed = "; ".join(problems[:_MAX_NAMED])
        raise Refused(f"pretrained = {source!r}: the weights don't fit: {listed}{more}. {hint}")
    model.load_state_dict(weights, strict=False)


def _selected(weights: Weights, only: str | None) -> Weights:
    return {
        name: weight for name, weight in weights.items() if only is None or name == only or name.startswith(f"{only}.")
    }


def _differences(weights: Weights, own: Weights) -> list[str]:
    # Files older than the counter num_batches_tracked of batch normalization lack it.
    missing = [f"{name} is not there" for name in own if name not in weights and "num_batches" not in name]
    unexpected = [f"{name} is only there" for name in weights if name not in own]
    reshaped = [
        f"{name} is {_shape(weights[name])} there and {_shape(weight)} here"
        for name, weight in own.items()
        if name in weights and weights[name].shape != weight.shape
    ]
    return missing + unexpected + reshaped


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def _sha256(path: Path) -> str:
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
    return sha256.hexdigest()
