"""The first layer whose output is not finite: looked for afterwards, so that training pays nothing for it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


class NotFinite(FloatingPointError):
    """A loss is NaN or infinite; `steps` were taken before it came about."""

    def __init__(self, text: str, steps: int) -> None:
        super().__init__(text)
        self.steps = steps


class Found(Exception):
    """What was the first not to be finite, in words."""


@contextlib.contextmanager
def watched(model: nn.Module, is_due: Callable[[], bool]) -> Iterator[None]:
    """Within the block, raise Found where a forward pass of `model` leaves finite numbers while `is_due()`.

    Weights, buffers and what goes in are looked at first, then every layer's output, in the order of computing. So it
    is of a deep copy of `model` that is made within the block.
    """
    handles = [model.register_forward_pre_hook(lambda one, given: _check_before(one, given) if is_due() else None)]
    for name, layer in model.named_modules():
        handles.append(layer.register_forward_hook(_checking(name or "the model itself", is_due)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def watched_targets(loss_of: nn.Module, is_due: Callable[[], bool]) -> Iterator[None]:
    """Within the block, raise Found where `loss_of` gets targets that are not finite while `is_due()`."""

    def check(_: nn.Module, given: Any) -> None:
        if is_due() and not _is_finite(given[1]):
            raise Found("the output of every layer is finite, but the targets are not")

    handle = loss_of.register_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _check_before(model: nn.Module, given: Any) -> None:
    kept = {"weight": model.named_parameters(), "buffer": model.named_buffers()}
    for kind, tensors in kept.items():
        for name, tensor in tensors:
            if not _is_finite(tensor):
                raise Found(f"before that step the {kind} {name!r} is not finite")
    if not _is_finite(given):
        raise Found("the images that go in are not finite")


def _checking(name: str, is_due: Callable[[], bool]) -> Callable[[nn.Module, Any, Any], None]:
    def check(layer: nn.Module, _: Any, output: Any) -> None:
        if is_due() and not _is_finite(output):
            raise Found(f"the first output that is not finite is that of {name!r} ({type(layer).__name__})")

    return check


def _is_finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(torch.isfinite(value).all())
    if isinstance(value, dict):
        value = list(value.values())
    return all(map(_is_finite, value)) if isinstance(value, list | tuple) else True
