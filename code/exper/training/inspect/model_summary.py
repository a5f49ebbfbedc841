"""A short table of a model's layers: name, type, shape of the output, weights. And what they can't be trained on."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from exper.training import random_state

LINES = 12  # of the table; what would be longer is summed up


def parameters(model: nn.Module) -> str:
    """Return how many numbers training changes: "1,234 parameters", "1,234 parameters, 10 of them trained"."""
    count, trained = _count(model), sum(one.numel() for one in model.parameters() if one.requires_grad)
    return f"{count:,} parameters" + (f", {trained:,} of them trained" if trained < count else "")


def summary(model: nn.Module, shape: tuple[int, ...]) -> str:
    """Return the table, for images of `shape` (C, H, W).

    Shapes come from a pass of a copy on torch's meta device, which computes nothing and leaves no trace. A model that
    this can't follow has a table without them.
    """
    modules = _rows(model)
    shapes = _shapes(model, list(modules), shape)
    rows = [(name, type(one).__name__, shapes.get(name, ""), f"{_count(one):,}") for name, one in modules.items()]
    names, types, outputs, counts = (max((len(row[column]) for row in rows), default=0) for column in range(4))
    return "\n".join(f"  {a:{names}}  {b:{types}}  {c:{outputs}}  {d:>{counts}}" for a, b, c, d in rows)


@torch.no_grad()
@random_state.kept()
def needs_two(model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Tell whether one image of `shape` is too few to train on, and two are not: for batch normalization of one pixel.

    This is tried on torch's meta device, with a copy. A model that this can't follow fails with both.
    """
    tried, is_fine = copy.deepcopy(model).to("meta").train(), []
    for images in (1, 2):
        try:
            tried(torch.empty(images, *shape, device="meta"))
            is_fine.append(True)
        except Exception:  # of any kind
            is_fine.append(False)
    return is_fine == [False, True]


def _count(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def _rows(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers to show: those at the top; one with more than half of the weights from inside, if short."""
    rows = dict(model.named_children())
    while True:
        name = max(rows, key=lambda name: _count(rows[name]), default="")
        inner = dict(rows[name].named_children()) if name else {}
        if not inner or 2 * _count(rows[name]) <= _count(model) or len(rows) - 1 + len(inner) > LINES:
            return rows
        opened = {f"{name}.{own}": one for own, one in inner.items()}
        rows = {key: one for row in rows for key, one in (opened if row == name else {row: rows[row]}).items()}


@torch.no_grad()
@random_state.kept()
def _shapes(model: nn.Module, names: list[str], shape: tuple[int, ...]) -> dict[str, str]:
    found: dict[str, str] = {}

    def note(name: str) -> Any:
        return lambda module, inputs, output: found.update({name: _text(output)})  # noqa: ARG005

    try:
        tried = copy.deepcopy(model).to("meta").eval()
        for name in names:
            tried.get_submodule(name).register_forward_hook(note(name))
        tried(torch.empty(1, *shape, device="meta"))
    except Exception as error:
        print(f"shapes of layers are not known: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    return found


def _text(output: Any) -> str:
    return " x ".join(map(str, output.shape[1:])) if isinstance(output, Tensor) else ""
