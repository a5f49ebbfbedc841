"""A short table of a model's layers (name, type, shape of the output, weights), and the smallest batch they accept."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from exper.training import random_state

MAX_LINES = 12  # of the table; a longer table is summed up


def parameters(model: nn.Module) -> str:
    """Return the number of parameters: "1,234 parameters", or "1,234 parameters, 10 of them trained"."""
    count = _count(model)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return f"{count:,} parameters" + (f", {trained:,} of them trained" if trained < count else "")


def summary(model: nn.Module, shape: tuple[int, ...]) -> str:
    """Return the table for images of `shape` (C, H, W).

    The shapes come from a forward pass of a copy on torch's meta device, which computes nothing and has no side
    effects. The table of a model that can't run there has no shapes.
    """
    layers = _layers(model)
    shapes = _shapes(model, list(layers), shape)
    rows = [(name, type(layer).__name__, shapes.get(name, ""), f"{_count(layer):,}") for name, layer in layers.items()]
    names, types, outputs, counts = (max((len(row[column]) for row in rows), default=0) for column in range(4))
    return "\n".join(f"  {a:{names}}  {b:{types}}  {c:{outputs}}  {d:>{counts}}" for a, b, c, d in rows)


@torch.no_grad()
@random_state.kept()
def needs_two(model: nn.Module, shape: tuple[int, ...]) -> bool:
    """Tell whether training accepts two images of `shape`, but not one: batch normalization of one pixel.

    A copy on torch's meta device tries both. A model that can't run there fails with both.
    """
    tried = copy.deepcopy(model).to("meta").train()
    is_accepted = []
    for images in (1, 2):
        try:
            tried(torch.empty(images, *shape, device="meta"))
            is_accepted.append(True)
        except Exception:  # of any type
            is_accepted.append(False)
    return is_accepted == [False, True]


def _count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers of the table: the model's children, with the largest replaced by its own while that fits.

    A layer is replaced only if it has more than half of the model's weights.
    """
    layers = dict(model.named_children())
    while True:
        largest = max(layers, key=lambda name: _count(layers[name]), default="")
        inner = dict(layers[largest].named_children()) if largest else {}
        if not inner or 2 * _count(layers[largest]) <= _count(model) or len(layers) - 1 + len(inner) > MAX_LINES:
            return layers
        opened = {f"{largest}.{name}": layer for name, layer in inner.items()}
        replaced: dict[str, nn.Module] = {}
        for name, layer in layers.items():
            replaced |= opened if name == largest else {name: layer}
        layers = replaced


@torch.no_grad()
@random_state.kept()
def _shapes(model: nn.Module, names: list[str], shape: tuple[int, ...]) -> dict[str, str]:
    shapes: dict[str, str] = {}

    def note(name: str) -> Any:
        return lambda module, inputs, output: shapes.update({name: _text(output)})  # noqa: ARG005

    try:
        tried = copy.deepcopy(model).to("meta").eval()
        for name in names:
            tried.get_submodule(name).register_forward_hook(note(name))
        tried(torch.empty(1, *shape, device="meta"))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        print(f"shapes of layers are not known: {reason}")
    return shapes


def _text(output: Any) -> str:
    return " x ".join(map(str, output.shape[1:])) if isinstance(output, Tensor) else ""
