"""Weights to start from: those of another run, of a file, or what a model offers itself."""

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from exper.core import checkpoint_file, paths
from exper.core.errors import Refused, unknown_name
from exper.training.run import Run

Setting = str | dict[str, Any] | None
Weights = dict[str, Tensor]
_RUN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._+=-]*)/([0-9]+)(?:@([0-9]+|best|last))?")
_EPOCH = re.compile(r"epoch_([0-9]+)\.path")
_SHOWN = 4  # weights that an error names


def check(setting: Setting, run: Run) -> None:
    """Refuse what names no weights; a run that has begun goes on without them."""
    source, _ = _parsed(setting)
    has_begun = any(run.files.checkpoint.glob("epoch_*.path"))
    if source not in (None, "torchvision") and not has_begun:
        _read(source, run)


def load(model: nn.Module, setting: Setting, run: Run) -> dict[str, Any] | None:
    """Give `model` the weights; return statistic.json's `pretrained`: where from, and the sha256 of that file.

    Raises:
        Refused: there is no such file, or a weight does not fit; nothing was changed.
    """
    source, only = _parsed(setting)
    if source is None:
        return None
    if source != "torchvision":
        weights, path, about = _read(source, run)
    elif callable(start := getattr(model, "start_weights", None)):
        (weights, path), about, only = start(), {}, "body"
    else:
        raise Refused("pretrained = 'torchvision': only the model \"torchvision\" has such weights.")
    _copy(weights, model, source, only)
    about = {"from": source, "file": path.name, **about, "sha256": _sha256(path)}
    about |= {} if only is None else {"only": only}
    run.compare(pretrained=about)
    print(f"starts with the weights of {source}, {path.name}" + ("" if only is None else f", {only} only"))
    return about


def _parsed(setting: Setting) -> tuple[str | None, str | None]:
    """Return where from, and the beginning of the names of the weights that are wanted; None: all."""
    given = setting if isinstance(setting, dict) else {"from": setting}
    for name, value in given.items():
        if name not in ("from", "only"):
            raise unknown_name("pretrained", name, ("from", "only"))
        if value is not setting and not isinstance(value, str):
            raise Refused(f"pretrained.{name} = {value!r}: must be a string.")
    if "from" not in given:
        raise Refused("pretrained lacks 'from'. Add it.")
    return given["from"], given.get("only")


def _read(source: str, run: Run) -> tuple[Weights, Path, dict[str, Any]]:
    """Return weights, their file, and what of a run they are."""
    match = _RUN.fullmatch(source)
    path = _of_run(run, source, *match.groups()) if match else run.data / source
    if not path.is_file():
        raise Refused(f"pretrained = {source!r}: there is no file {path}.{_epochs(path.parent) if match else ''}")
    path = path.resolve()  # of a link, the file: the link moves on
    if match and not checkpoint_file.is_whole(path):
        raise Refused(f"pretrained = {source!r}: {path} is corrupt.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind: what is not torch's is unpickled until that fails
        why = str(error).partition(".")[0] or type(error).__name__
        raise Refused(f"pretrained = {source!r}: torch can't read {path}: {why}.") from None
    is_checkpoint = isinstance(content, dict) and {"format", "epoch", "model"} <= set(content)
    about = {"epoch": content["epoch"], "weights": "ema" if "ema" in content else "model"} if is_checkpoint else {}
    weights = content[about["weights"]] if about else content
    if not isinstance(weights, dict) or not all(isinstance(one, Tensor) for one in weights.values()):
        raise Refused(f"pretrained = {source!r}: {path} holds no state dict, such as torch.save(model.state_dict()).")
    return weights, path, about


def _of_run(run: Run, source: str, tag: str, number: str, which: str | None) -> Path:
    """Return the checkpoint of a run beside this one; the best, unless none is best."""
    folder = run.files.folder.parent.parent / tag / str(int(number))
    if not folder.is_dir():
        raise Refused(f"pretrained = {source!r}: there is no run {tag}/{number} in {folder.parent.parent}.")
    checkpoints = paths.Run(folder).checkpoint
    if which is None:
        which = "best" if (checkpoints / "epoch_best.path").exists() else "last"
    return checkpoints / f"epoch_{which}.path"


def _epochs(folder: Path) -> str:
    names = os.listdir(folder) if folder.is_dir() else []
    numbers = sorted(int(match[1]) for match in map(_EPOCH.fullmatch, names) if match)
    return f" There is: @{', @'.join(map(str, numbers))}." if numbers else ""


def _copy(weights: Weights, model: nn.Module, source: str, only: str | None) -> None:
    own = {name: one for name, one in model.state_dict().items() if _begins(name, only)}
    weights = {name: one for name, one in weights.items() if _begins(name, only)}
    if not own:
        raise unknown_name("pretrained.only", str(only), {name.partition(".")[0] for name in model.state_dict()})
    # Files older than this counter of batch normalization lack it.
    wrong = [f"{name} is not there" for name in own if name not in weights and "num_batches" not in name]
    wrong += [f"{name} is only there" for name in weights if name not in own]
    wrong += [
        f"{name} is {_shape(weights[name])} there and {_shape(one)} here"
        for name, one in own.items()
        if name in weights and weights[name].shape != one.shape
    ]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        hint = f'For a part of them: {{"from": "{source}", "only": "<beginning of names>"}}.'
        raise Refused(f"pretrained = {source!r}: the weights don't fit: {'; '.join(wrong[:_SHOWN])}{more}. {hint}")
    model.load_state_dict(weights, strict=False)


def _begins(name: str, only: str | None) -> bool:
    return only is None or name == only or name.startswith(f"{only}.")


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def _sha256(path: Path) -> str:
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            sha256.update(piece)
    return sha256.hexdigest()
